"""DRAEM: reconstruction, then segmentation of what it changed."""
