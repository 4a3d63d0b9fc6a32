"""Checkpoints that others trained, as detectors of ours: their names, layouts and habits."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from edge_ad.errors import DataError, UsageError
from edge_ad.methods.catalogue import titled
from edge_ad.methods.clflow.network import CHANNELS, CLFlow, CLFlowConfig
from edge_ad.methods.destseg.network import DeSTSegConfig, default_top_k
from edge_ad.methods.draem.network import DRAEMConfig
from edge_ad.methods.method import Config, method_named
from edge_ad.methods.parameter_names import (
    DESTSEG,
    DRAEM_DISCRIMINATIVE,
    DRAEM_RECONSTRUCTIVE,
    Rules,
    translated,
)
from edge_ad.methods.pretrained import State, fill, listed, looks_like, read_state

SizeHW = tuple[int, int]
_COUNTERS = "num_batches_tracked"


@dataclass(frozen=True)
class Foreign:
    """A foreign checkpoint in our words; `size_hw` None takes the size that is asked for."""

    method: str
    origin: str
    config: Callable[[SizeHW], Config]
    state: State
    size_hw: SizeHW | None = None


Reader: TypeAlias = Callable[[Sequence[State]], Foreign | None]


@dataclass(frozen=True)
class Imported:
    """A network filled from a checkpoint."""

    module: nn.Module
    config: Config
    method: str
    origin: str
    size_hw: SizeHW


def import_checkpoint(paths: Sequence[Path], size_hw: SizeHW) -> Imported:
    """Recognise and load one checkpoint, which DRAEM's authors keep in two files.

    Raises DataError for files that cannot be read, that nothing knows, or whose parameters do not
    fit; UsageError for a size the checkpoint was not made for.
    """
    states = [read_state(path, "a checkpoint") for path in paths]
    name = " and ".join(str(path) for path in paths)
    for reader in READERS:
        if found := reader(states):
            return _built(found, size_hw, Path(name))
    raise DataError(
        f"{name}: {' and '.join(looks_like(state) for state in states)}. Known are: DRAEM of its "
        "authors (two files), DeSTSeg of its authors, DRAEM and FastFlow of anomalib."
    )


def _built(found: Foreign, size_hw: SizeHW, name: Path) -> Imported:
    if found.size_hw not in (None, size_hw):
        height, width = found.size_hw or size_hw
        raise UsageError(
            f"{name}: made for {height}x{width}, its layer norms take no other size. "
            f"Import it with --size {height}x{width}."
        )
    config, method = found.config(size_hw), method_named(found.method)
    module = method.build(config, size_hw)
    if isinstance(module, CLFlow):  # its head only ever helps training
        found.state.update({f"head.{k}": v for k, v in module.head.state_dict().items()})
    fill(module, found.state, name, f"{titled(found.method)} as {found.origin} keeps it")
    return Imported(module.eval(), config, found.method, found.origin, size_hw)


def official_draem(states: Sequence[State]) -> Foreign | None:
    """Two files, in any order: the reconstructive and the discriminative network."""
    halves: dict[str, State] = {}
    for state in states:
        for half, sign in (("rec", "decoder.fin_out.0.bias"), ("seg", "decoder_segment.")):
            if any(key.startswith(sign) for key in state):
                halves[half] = state
    if not halves:
        return None
    if len(halves) < 2 or len(states) != 2:
        lacking = "discriminative network (..._seg.pckl)" if "rec" in halves else "reconstructive"
        raise UsageError(
            f"DRAEM's authors keep two files; the {lacking} is missing. Name both, in any order."
        )
    return _draem(halves["rec"], halves["seg"], "its authors' code", color="bgr", mean_filter=21)


def anomalib_draem(states: Sequence[State]) -> Foreign | None:
    """One Lightning checkpoint; the image comes before the repair, and the score is a maximum."""
    parts = [_below(states[0], f"model.{half}_subnetwork.") for half in _HALVES]
    if len(states) != 1 or not all(parts):
        return None
    rec, seg = parts
    first = seg["encoder_segment.block1.0.weight"]
    seg["encoder_segment.block1.0.weight"] = torch.cat([first[:, 3:], first[:, :3]], dim=1)
    return _draem(rec, seg, "anomalib", color="rgb", mean_filter=1)


def official_destseg(states: Sequence[State]) -> Foreign | None:
    if len(states) != 1 or not any(key.startswith("segmentation_net.") for key in states[0]):
        return None
    return Foreign(
        "destseg",
        "its authors' code",
        lambda size_hw: DeSTSegConfig(top_k=default_top_k(size_hw)),
        _known(states[0], DESTSEG, "DeSTSeg"),
    )


def anomalib_fastflow(states: Sequence[State]) -> Foreign | None:
    """One Lightning checkpoint of FastFlow on a ResNet; CL-Flow's base is the same network."""
    state = _below(states[0], "model.")
    steps = [m for key in state if (m := re.match(_STEP + r"\.w_perm$", key))]
    if len(states) != 1 or not steps or "norms.0.weight" not in state:
        return None
    channels, height, width = state["norms.0.weight"].shape
    backbone = next((name for name, c in CHANNELS.items() if c[0] == channels), None)
    if backbone is None:
        raise DataError(f"a FastFlow on features of {channels} channels; known are ResNets alone.")
    ours: State = {}
    for key, value in state.items():
        if name := _fastflow_name(key):
            ours[name] = value.flatten(1).argmax(dim=1) if key.endswith("w_perm") else value
    config = CLFlowConfig(
        backbone=backbone,  # type: ignore[arg-type]  # a key of CHANNELS
        flow_steps=1 + max(int(found[2]) for found in steps),
        kernels="alternate" if ours["flows.0.steps.1.subnet.0.weight"].shape[2] == 1 else "3x3",
        hidden_ratio=_ratio(ours["flows.2.steps.0.subnet.0.weight"]),
    )
    return Foreign("clflow", "anomalib", lambda size: config, ours, (height * 4, width * 4))


READERS: tuple[Reader, ...] = (
    official_draem,
    anomalib_draem,
    official_destseg,
    anomalib_fastflow,
)
_HALVES = ("reconstructive", "discriminative")
_STEP = r"fast_flow_blocks\.(\d+)\.module_list\.(\d+)"
_FASTFLOW = (
    (r"feature_extractor\.(.+)", "backbone.{0}"),
    (r"norms\.(\d+)\.(.+)", "flows.{0}.norm.{1}"),
    (_STEP + r"\.w_perm$", "flows.{0}.steps.{1}.order"),
    (_STEP + r"\.global_(scale|offset)$", "flows.{0}.steps.{1}.{2}"),
    (_STEP + r"\.subnet\.[01]\.(weight|bias)$", "flows.{0}.steps.{1}.subnet.0.{2}"),
    (_STEP + r"\.subnet\.[24]\.(weight|bias)$", "flows.{0}.steps.{1}.subnet.2.{2}"),
)


def _fastflow_name(key: str) -> str | None:
    for pattern, ours in _FASTFLOW:
        if found := re.match(pattern, key):
            return ours.format(*found.groups())
    return None


def _ratio(weight: Tensor) -> float:
    """The hidden ratio of a step whose first convolution has this weight."""
    return (weight.shape[0] + 0.5) / weight.shape[1] if weight.shape[0] != weight.shape[1] else 1.0


def _draem(rec: State, seg: State, origin: str, *, color: str, mean_filter: int) -> Foreign:
    state = _known(rec, DRAEM_RECONSTRUCTIVE, "DRAEM's reconstructive network")
    state |= _known(seg, DRAEM_DISCRIMINATIVE, "DRAEM's discriminative network")
    config = DRAEMConfig(
        rec_base=state["reconstructive.out.weight"].shape[1],
        seg_base=state["discriminative.out.weight"].shape[1],
        color="bgr" if color == "bgr" else "rgb",
        mean_filter_px=mean_filter,
    )
    return Foreign("draem", origin, lambda size: config, state)


def _known(state: State, rules: Rules, what: str) -> State:
    """The state under our names; raises DataError naming parameters that belong to no rule."""
    ours, unknown = translated(state, rules)
    unknown = [name for name in unknown if not name.endswith(_COUNTERS)]
    if unknown:
        raise DataError(f"{what}: the file holds {listed(unknown)} that it does not have.")
    return ours


def _below(state: State, prefix: str) -> State:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
