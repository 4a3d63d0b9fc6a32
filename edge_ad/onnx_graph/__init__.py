"""ONNX graphs: loading, indexing, the manifest inside, provenance."""
