"""Anomaly detection for inspection cameras: from images of good parts to an alarm on the line.

The names below are the public interface. Each is imported on first use, so that `import edge_ad`
loads neither NumPy nor OpenCV.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_ad.detector import Detector
    from edge_ad.engine import EngineOptions, open_engine
    from edge_ad.errors import EdgeAdError, Refused
    from edge_ad.inspection import Inspection
    from edge_ad.line.config import CameraConfig, LineConfig
    from edge_ad.line.open import open_line
    from edge_ad.outlet.base import Outlet
    from edge_ad.outlet.durable import DurableOutlet
    from edge_ad.source import open_source

__version__ = "0.1.0"

# ONNX Runtime's Linux packages send facts about models to Microsoft, from 1.29 on, unless the
# environment says otherwise before they are imported. It takes a thread and 10 MiB, too.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "CameraConfig",
    "Detector",
    "DurableOutlet",
    "EdgeAdError",
    "EngineOptions",
    "Inspection",
    "LineConfig",
    "Outlet",
    "Refused",
    "__version__",
    "open_engine",
    "open_line",
    "open_source",
]

_MODULES = {
    "CameraConfig": "edge_ad.line.config",
    "Detector": "edge_ad.detector",
    "DurableOutlet": "edge_ad.outlet.durable",
    "EdgeAdError": "edge_ad.errors",
    "EngineOptions": "edge_ad.engine.options",
    "Inspection": "edge_ad.inspection",
    "LineConfig": "edge_ad.line.config",
    "Outlet": "edge_ad.outlet.base",
    "Refused": "edge_ad.errors",
    "open_engine": "edge_ad.engine.open",
    "open_line": "edge_ad.line.open",
    "open_source": "edge_ad.source.open",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
