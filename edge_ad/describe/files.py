"""Describe a file by its suffix: weights, ONNX engine or plan, with the threshold beside it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edge_ad.describe.plan import plan_facts
from edge_ad.engine import open_engine
from edge_ad.errors import IncompatibleError, MissingExtra, UsageError
from edge_ad.files import sha256
from edge_ad.manifest import Threshold
from edge_ad.sidecar import load_sidecar, sidecar_path
from edge_ad.wording import counted

SIDECAR = ".yaml"


def inspect_file(path: Path) -> dict[str, Any]:
    """Return all that is known of a file; a sidecar stands for the engine it lies beside.

    Raises UsageError for a missing file or unknown suffix, IncompatibleError or DataError for a
    file whose content does not match its suffix.
    """
    if path.is_dir():
        raise UsageError(_describe_folder(path))
    path = _described_file(path)
    if not path.is_file():
        raise UsageError(f"no file at {path}. Expected a {', '.join(KINDS)} file, or a sidecar.")
    if path.suffix not in KINDS:
        known = ", ".join((*KINDS, SIDECAR))
        raise UsageError(f"{path}: unknown suffix '{path.suffix}', expected one of {known}.")
    facts = KINDS[path.suffix](path)
    return {"file": str(path), "bytes": path.stat().st_size, "sha256": sha256(path), **facts}


def _describe_folder(folder: Path) -> str:
    """Say which files of a folder can be inspected, or which verbs take a folder of images."""
    names = sorted(path.name for path in folder.iterdir() if path.suffix in KINDS)
    if names:
        rest = f" and {len(names) - 10} more" if len(names) > 10 else ""
        return (
            f"{folder} is a folder. Name one of its files, like edge-ad inspect "
            f"{folder / names[0]}. It has: {', '.join(names[:10])}{rest}."
        )
    return (
        f"{folder} is a folder, and none of its files is a {', '.join(KINDS)} file. Images of good "
        f"parts are for edge-ad train --data {folder}, frames for edge-ad run --camera {folder}."
    )


def weights_facts(path: Path) -> dict[str, Any]:
    """Return method, configuration and size of a weights file; raises as `load_detector`."""
    try:
        from edge_ad.methods.weights import load_detector
    except ModuleNotFoundError as error:
        raise MissingExtra(f"reading {path.name}", str(error.name), "train") from error
    module, manifest, config = load_detector(path)
    return {
        "kind": "weights",
        "manifest": manifest.to_dict(),
        "config": config,
        "graph": {"parameters": sum(tensor.numel() for tensor in module.parameters())},
    }


def engine_facts(path: Path) -> dict[str, Any]:
    """Return contract, manifest, threshold and, where the package onnx is installed, the graph.

    Foreign graphs are described too. Raises IncompatibleError for a file that is not ONNX.
    """
    graph = _graph(path)
    return {"kind": "engine", **_contract(path, graph), "graph": graph, **threshold_facts(path)}


def threshold_facts(engine: Path) -> dict[str, Any]:
    """Return `threshold` with its `guarantee`, or the reason why there is none."""
    try:
        sidecar = load_sidecar(engine)
    except IncompatibleError as error:
        return {"threshold": None, "sidecar_problem": str(error)}
    if sidecar is None or sidecar.threshold is None:
        return {"threshold": None}
    threshold = sidecar.threshold.to_dict()
    threshold["guarantee"] = _guarantee(sidecar.threshold)
    return {"threshold": threshold, "sidecar": str(sidecar_path(engine))}


# suffix -> facts of such a file
KINDS: dict[str, Callable[[Path], dict[str, Any]]] = {
    ".pt": weights_facts,
    ".onnx": engine_facts,
    ".plan": lambda path: plan_facts(path) | threshold_facts(path),
}


def _described_file(path: Path) -> Path:
    """Return the engine that a sidecar describes, or any other file itself."""
    if path.suffix != SIDECAR or not path.is_file():
        return path
    engine = path.with_suffix("")
    if not engine.is_file():
        raise UsageError(
            f"{path}: a sidecar describes the engine {engine.name}, which is not beside it. "
            "Put both into one folder."
        )
    return engine


def _contract(path: Path, graph: dict[str, Any] | None) -> dict[str, Any]:
    """Return `manifest` and `contract` by loading the engine; `met` is None where that fails."""
    try:
        with open_engine(path) as engine:
            manifest = engine.manifest.to_dict()
        return {"manifest": manifest, "contract": {"met": True, "problem": ""}}
    except MissingExtra as error:
        return {"manifest": None, "contract": {"met": None, "problem": str(error)}}
    except IncompatibleError as error:
        if graph is None:  # nothing else can tell what this file is
            raise
        return {"manifest": None, "contract": {"met": False, "problem": str(error)}}


def _graph(path: Path) -> dict[str, Any] | None:
    if find_spec("onnx") is None:
        return None
    from edge_ad.describe.onnx_graph import graph_facts

    return graph_facts(path)


def _guarantee(threshold: Threshold) -> str:
    parts = threshold.images if threshold.parts is None else threshold.parts
    images = "" if parts == threshold.images else f" ({threshold.images} images)"
    estimate = "an estimate, not a guarantee: " if threshold.folds else ""
    return (
        f"{estimate}with {threshold.confidence:.4g} confidence at most "
        f"{threshold.false_alarm_rate:.4g} of normal {threshold.by}s are rejected, measured on "
        f"{counted(parts, 'part')}{images}"
    )
