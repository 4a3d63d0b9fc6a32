"""Export: weights to ONNX, fp16 conversion, TensorRT plans, parity checks."""
