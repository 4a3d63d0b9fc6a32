"""Engines on TensorRT and TensorRT-RTX: plans, CUDA memory, streams and graphs."""
