"""The state of an unfinished training, enough to go on to the same weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from edge_ad.errors import DataError, UsageError
from edge_ad.methods.weights import write_tensors

FORMAT = "edge-ad checkpoint 1"


@dataclass
class Checkpoint:
    """`step` steps are done, `phase_step` of them in phase number `phase`.

    `identity` is what must be equal for the training to be the same one. Batches depend on seed
    and step alone; `rng` is torch's own generator.
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
    steps_made: dict[str, int] = field(default_factory=dict)


def checkpoint_path(output: Path) -> Path:
    """`destseg.pt` -> `destseg.checkpoint.pt`."""
    return output.with_suffix(".checkpoint" + output.suffix)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write it in one step, so that a kill leaves the old one or the new one.

    Raises OutletLost when it cannot be written; the old one stays then, too.
    """
    write_tensors(path, {"format": FORMAT, **vars(checkpoint)})


def load_checkpoint(path: Path, identity: dict[str, str]) -> Checkpoint:
    """Read it back; raises UsageError when there is none or it belongs to another training."""
    if not path.is_file():
        raise UsageError(f"nothing to resume: no checkpoint at {path}. Leave --resume out.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        assert content.pop("format") == FORMAT
        found = Checkpoint(**content)
    except Exception as error:  # torch raises many kinds for foreign bytes
        raise DataError(
            f"{path}: not a checkpoint of edge-ad train. Remove it, start anew."
        ) from error
    _check_identity(path, found.identity, identity)
    return found


def _check_identity(path: Path, found: dict[str, str], wanted: dict[str, str]) -> None:
    differ = [key for key in wanted if found.get(key) != wanted[key]]
    if differ:
        told = "; ".join(f"{key} was {found.get(key)}, now {wanted[key]}" for key in differ)
        raise UsageError(
            f"{path} belongs to another training: {told}. Give the same options to resume, or "
            "leave --resume out to start anew."
        )
