"""TensorRT plans: building, builder configuration, precision selection."""
