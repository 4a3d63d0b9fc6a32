"""The engine contract: uint8 images in, one anomaly map and one score each out.

image          in   uint8   (N, H, W, 3)  BGR
anomaly_map    out  float32 (N, H, W)     higher is more anomalous, raw units
anomaly_score  out  float32 (N,)          same direction
"""

from edge_ad.engine.base import Engine, OverlappingEngine, Prediction
from edge_ad.engine.batcher import Batcher
from edge_ad.engine.open import open_engine
from edge_ad.engine.options import EngineOptions
from edge_ad.engine.scripted import ScriptedEngine

__all__ = [
    "Batcher",
    "Engine",
    "EngineOptions",
    "OverlappingEngine",
    "Prediction",
    "ScriptedEngine",
    "open_engine",
]
