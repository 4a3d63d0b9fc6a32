"""Weights files: network, configuration and manifest of a trained detector, read without pickle."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from edge_ad.errors import DataError, OutletLost, UsageError
from edge_ad.files import replacing
from edge_ad.manifest import Manifest, manifest_from_json
from edge_ad.methods.method import Config, load_method, parse_config
from edge_ad.methods.pretrained import first_few, looks_like, read_safely, tensors_in
from edge_ad.methods.registry import METHODS, find_method

FORMAT = "edge-ad weights 2"
_OF_ENGINES = (".onnx", ".plan")
_RETRAIN = "Train it again with: edge-ad train --data GOOD_DIR -o WEIGHTS.pt"


class TrainedDetector(NamedTuple):
    """A network in eval mode, its manifest, and the configuration it was built with."""

    module: nn.Module
    manifest: Manifest
    config: dict[str, Any]


def build_module(manifest: Manifest, config: dict[str, Any], name: str = "config") -> nn.Module:
    """Build the untrained network that manifest and configuration describe."""
    method = load_method(manifest.method)
    return method.build(parse_config(method, config, name), manifest.size_hw)


def save_detector(path: Path, module: nn.Module, manifest: Manifest, config: Config) -> None:
    """Write the file in one step; parameters are stored on the CPU."""
    state = {key: value.detach().cpu() for key, value in module.state_dict().items()}
    content = {
        "format": FORMAT,
        "manifest": manifest.to_json(),
        "config": config.model_dump(mode="json"),
        "state": state,
    }
    write_tensors(path, content)


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values in one step; raises OutletLost when they cannot be written.

    torch reports a full disk as RuntimeError, which looks like a bug.
    """
    try:
        with replacing(path) as temporary:
            torch.save(content, temporary)
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise OutletLost(f"{path}: cannot be written ({reason}). Is the disk full?") from error


def load_detector(path: Path) -> TrainedDetector:
    """Read a weights file into a network in eval mode on the CPU.

    Raises UsageError for a missing file, DataError for one that is not an edge-ad weights file, is
    of a method this version does not have, or whose parameters do not fit.
    """
    content = _read(path)
    manifest = manifest_from_json(content["manifest"], str(path))
    if find_method(manifest.method) is None:
        raise DataError(
            f"{path}: weights of the method '{manifest.method}', which this version does not "
            f"have; it has: {', '.join(METHODS)}. Update edge-ad, or install the package "
            "that brings the method."
        )
    module = build_module(manifest, content["config"], str(path))
    _check_state(module.state_dict(), content["state"], path)
    module.load_state_dict(content["state"])
    return TrainedDetector(module.eval(), manifest, content["config"])


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UsageError(f"no weights at {path}. {_RETRAIN}")
    if path.suffix.lower() in _OF_ENGINES:
        raise DataError(
            f"{path}: an engine file, expected weights (.pt). Name those that it was exported "
            "from. An engine of another precision is made with: edge-ad convert, edge-ad calibrate"
        )
    try:
        content = read_safely(path)
    except DataError as error:
        raise DataError(f"{error} {_RETRAIN}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(
            f"{path}: not an edge-ad weights file: expected format '{FORMAT}', got "
            f"{_kind(content)}. {_RETRAIN}"
        )
    _check_parts(content, path)
    _check_sums(path)
    return content


def _check_sums(path: Path) -> None:
    """Raise DataError for a file with a changed byte, which torch reads without a word."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # zipfile raises many kinds for damaged directories
        raise DataError(f"{path}: the file is damaged ({error}). Copy it again.") from error
    if damaged:
        raise DataError(
            f"{path}: the file is damaged: the checksum of its part {damaged} differs. Copy it "
            "again."
        )


def _kind(content: Any) -> str:
    """Describe what was stored instead of a detector."""
    if isinstance(content, dict) and "format" in content:
        return repr(content["format"])
    if state := tensors_in(content):
        return f"tensors of {looks_like(state)} (edge-ad import takes the known ones)"
    return f"a {type(content).__name__}"


def _check_parts(content: dict[str, Any], path: Path) -> None:
    parts = {"manifest": str, "config": dict, "state": dict}
    missing = [part for part, kind in parts.items() if not isinstance(content.get(part), kind)]
    if missing:
        raise DataError(f"{path}: the weights file has no {', '.join(missing)}. {_RETRAIN}")


def _check_state(expected: dict[str, Tensor], stored: dict[str, Tensor], path: Path) -> None:
    """Raise DataError naming the first parameters that are missing, unknown or misshapen."""
    problems = {
        "missing": sorted(expected.keys() - stored.keys()),
        "unknown": sorted(stored.keys() - expected.keys()),
        "of another shape": sorted(
            k for k in expected.keys() & stored.keys() if expected[k].shape != stored[k].shape
        ),
    }
    texts = [f"{len(keys)} {what} ({first_few(keys)})" for what, keys in problems.items() if keys]
    if texts:
        raise DataError(
            f"{path}: its parameters do not fit its configuration: {'; '.join(texts)}. They look "
            f"like {looks_like(stored)}. {_RETRAIN}"
        )
