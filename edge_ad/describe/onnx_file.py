"""An ONNX file: contract, manifest and threshold, and the graph where the package onnx is there."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edge_ad.describe.sidecar import threshold_facts
from edge_ad.engine import open_engine
from edge_ad.errors import IncompatibleError, MissingExtra


def facts(path: Path) -> dict[str, Any]:
    """What an engine file is. A foreign graph is described too, where onnx can read it.

    Raises IncompatibleError for a file that is no ONNX.
    """
    graph = _graph(path)
    return {"kind": "engine", **_contract(path, graph), "graph": graph, **threshold_facts(path)}


def _contract(path: Path, graph: dict[str, Any] | None) -> dict[str, Any]:
    """`manifest` and `contract`, by loading the engine; `kept` is None where nothing can."""
    try:
        with open_engine(path) as engine:
            manifest = engine.manifest.model_dump(mode="json")
        return {"manifest": manifest, "contract": {"kept": True, "fault": ""}}
    except MissingExtra as error:
        return {"manifest": None, "contract": {"kept": None, "fault": str(error)}}
    except IncompatibleError as error:
        if graph is None:  # nothing else can say what this file is
            raise
        return {"manifest": None, "contract": {"kept": False, "fault": str(error)}}


def _graph(path: Path) -> dict[str, Any] | None:
    if find_spec("onnx") is None:
        return None
    from edge_ad.describe.graph_facts import graph_facts

    return graph_facts(path)
