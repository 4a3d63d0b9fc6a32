"""Activation ranges: calibration images, histograms, range tables, TensorRT caches."""
