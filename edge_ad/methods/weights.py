"""A trained detector as one file: network, configuration and manifest, loadable without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from edge_ad.errors import DataError, OutletLost, UsageError
from edge_ad.files import replacing
from edge_ad.manifest import Manifest, manifest_from_json
from edge_ad.methods.method import METHODS, Config, method_named, parse_config
from edge_ad.methods.pretrained import first_few, looks_like, read_safely, tensors_in

FORMAT = "edge-ad weights 1"
_RETRAIN = "Train it anew with: edge-ad train --data GOOD_DIR -o WEIGHTS.pt"


class Detector(NamedTuple):
    """A network in eval mode, what its file promises, and the configuration that shaped it."""

    module: nn.Module
    manifest: Manifest
    config: dict[str, Any]


def build_module(manifest: Manifest, config: dict[str, Any], name: str = "config") -> nn.Module:
    """The network that manifest and configuration describe, untrained."""
    method = method_named(manifest.method)
    return method.build(parse_config(method, config, name), manifest.size_hw)


def save_detector(path: Path, module: nn.Module, manifest: Manifest, config: Config) -> None:
    """Write the file in one step; parameters are stored on the CPU."""
    state = {key: value.detach().cpu() for key, value in module.state_dict().items()}
    content = {
        "format": FORMAT,
        "manifest": manifest.model_dump_json(),
        "config": config.model_dump(mode="json"),
        "state": state,
    }
    write_tensors(path, content)


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values in one step; raises OutletLost when the disk is full.

    torch reports a full disk as RuntimeError, which nobody could tell from a bug.
    """
    try:
        with replacing(path) as temporary:
            torch.save(content, temporary)
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise OutletLost(f"{path}: cannot be written ({reason}). Is the disk full?") from error


def load_detector(path: Path) -> Detector:
    """Read a weights file into a network in eval mode on the CPU.

    Raises UsageError for a missing file, DataError for one that is not ours, of a method this
    version lacks, or whose parameters do not fit.
    """
    content = _read(path)
    manifest = manifest_from_json(content["manifest"], str(path))
    if manifest.method not in METHODS:
        raise DataError(
            f"{path}: weights of the method '{manifest.method}', which this version lacks; "
            f"it has: {', '.join(METHODS)}."
        )
    module = build_module(manifest, content["config"], str(path))
    _check_state(module.state_dict(), content["state"], path)
    module.load_state_dict(content["state"])
    return Detector(module.eval(), manifest, content["config"])


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UsageError(f"no weights at {path}. {_RETRAIN}")
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
    return content


def _kind(content: Any) -> str:
    """What was stored instead of a detector."""
    if isinstance(content, dict) and "format" in content:
        return repr(content["format"])
    if state := tensors_in(content):
        return f"tensors of {looks_like(state)} (edge-ad import takes the known ones)"
    return f"a {type(content).__name__}"


def _check_parts(content: dict[str, Any], path: Path) -> None:
    parts = {"manifest": str, "config": dict, "state": dict}
    absent = [part for part, kind in parts.items() if not isinstance(content.get(part), kind)]
    if absent:
        raise DataError(f"{path}: a weights file that lacks its {', '.join(absent)}. {_RETRAIN}")


def _check_state(wanted: dict[str, Tensor], found: dict[str, Tensor], path: Path) -> None:
    """Name the first parameters that are missing, unknown or misshapen."""
    problems = {
        "missing": sorted(wanted.keys() - found.keys()),
        "unknown": sorted(found.keys() - wanted.keys()),
        "of another shape": sorted(
            key for key in wanted.keys() & found.keys() if wanted[key].shape != found[key].shape
        ),
    }
    told = [f"{len(keys)} {how} ({first_few(keys)})" for how, keys in problems.items() if keys]
    if told:
        raise DataError(
            f"{path}: its parameters do not fit its configuration: {'; '.join(told)}. They look "
            f"like {looks_like(found)}. {_RETRAIN}"
        )
