"""ONNX graphs: loading with the manifest inside, simplifying, indexing."""
