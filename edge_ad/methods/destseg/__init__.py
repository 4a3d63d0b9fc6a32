"""DeSTSeg: denoising student, frozen teacher, segmentation network."""
