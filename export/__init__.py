"""Weights become graphs: ONNX with the engine contract."""
