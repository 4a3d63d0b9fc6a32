"""Checkpoints: the state of an unfinished training, from which it resumes to the same weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from edge_ad.errors import DataError, UsageError
from edge_ad.methods.weights import write_tensors

FORMAT = "edge-ad checkpoint 2"


@dataclass
class Checkpoint:
    """State after `step` steps, `phase_step` of them in phase number `phase`.

    `identity` must be equal for two trainings to be the same. Batches depend on seed and step
    alone; `rng` is the state of torch's generator.
    """

    identity: dict[str, str]
    step: int
    phase: int
    phase_step: int
    elapsed_s: float
    phase_elapsed_s: float
    module: dict[str, Any]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    rng: torch.Tensor
    history: list[dict[str, Any]] = field(default_factory=list)
    steps_done: dict[str, int] = field(default_factory=dict)
    average: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)


def checkpoint_path(output: Path) -> Path:
    """Return the checkpoint's path: `destseg.pt` -> `destseg.checkpoint.pt`."""
    return output.with_suffix(".checkpoint" + output.suffix)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint in one step, so that a kill leaves either the old or the new one.

    Raises OutletLost when it cannot be written; the old one stays then, too.
    """
    write_tensors(path, {"format": FORMAT, **vars(checkpoint)})


def load_checkpoint(path: Path, identity: dict[str, str]) -> Checkpoint:
    """Read a checkpoint; raises UsageError when there is none or it is of another training."""
    if not path.is_file():
        raise UsageError(f"nothing to resume: no checkpoint at {path}. Leave --resume out.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        assert content.pop("format") == FORMAT
        checkpoint = Checkpoint(**content)
    except Exception as error:  # torch raises many kinds for foreign bytes
        raise DataError(
            f"{path}: not a checkpoint of edge-ad train. Remove it and start again."
        ) from error
    _check_identity(path, checkpoint.identity, identity)
    return checkpoint


def _check_identity(path: Path, stored: dict[str, str], expected: dict[str, str]) -> None:
    differing = [key for key in expected if stored.get(key) != expected[key]]
    if differing:
        changes = "; ".join(
            f"{key} was {stored.get(key)}, now {expected[key]}" for key in differing
        )
        raise UsageError(
            f"{path} belongs to another training: {changes}. Give the same options to resume, or "
            "leave --resume out to start again."
        )
