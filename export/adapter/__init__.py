"""Foreign ONNX graphs: brought to one form, wrapped in edge-ad's contract, compared with before."""

from edge_ad.export.adapter.description import ADAPTERS, Adapter
from edge_ad.export.adapter.imported import adapt_onnx

__all__ = ["ADAPTERS", "Adapter", "adapt_onnx"]
