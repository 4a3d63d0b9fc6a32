"""anomalib's FastFlow on a ResNet, which is the base of CL-Flow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import get_args

from torch import Tensor

from edge_ad.errors import DataError
from edge_ad.methods.clflow.network import Backbone, CLFlowConfig
from edge_ad.methods.foreign import Foreign, Reader, below
from edge_ad.methods.layers.backbone import CHANNELS
from edge_ad.methods.pretrained import State

_STEP = r"fast_flow_blocks\.(\d+)\.module_list\.(\d+)"
_FASTFLOW = (
    (r"feature_extractor\.(.+)", "backbone.{0}"),
    (r"norms\.(\d+)\.(.+)", "flows.{0}.norm.{1}"),
    (_STEP + r"\.w_perm$", "flows.{0}.steps.{1}.order"),
    (_STEP + r"\.global_(scale|offset)$", "flows.{0}.steps.{1}.{2}"),
    (_STEP + r"\.subnet\.[01]\.(weight|bias)$", "flows.{0}.steps.{1}.subnet.0.{2}"),
    (_STEP + r"\.subnet\.[24]\.(weight|bias)$", "flows.{0}.steps.{1}.subnet.2.{2}"),
)


def read_anomalib(states: Sequence[State]) -> Foreign | None:
    """Recognise a Lightning checkpoint of FastFlow; CL-Flow's head is not in it."""
    state = below(states[0], "model.")
    steps = [match for key in state if (match := re.match(_STEP + r"\.w_perm$", key))]
    if len(states) != 1 or not steps or "norms.0.weight" not in state:
        return None
    channels, height, width = state["norms.0.weight"].shape
    backbone = next((name for name in get_args(Backbone) if CHANNELS[name][0] == channels), None)
    if backbone is None:
        raise DataError(f"a FastFlow on features of {channels} channels; known are ResNets alone.")
    ours: State = {}
    for key, value in state.items():
        if name := _fastflow_name(key):
            ours[name] = value.flatten(1).argmax(dim=1) if key.endswith("w_perm") else value
    config = CLFlowConfig(
        backbone=backbone,
        flow_steps=1 + max(int(match[2]) for match in steps),
        kernels="alternate" if ours["flows.0.steps.1.subnet.0.weight"].shape[2] == 1 else "3x3",
        hidden_ratio=_ratio(ours["flows.2.steps.0.subnet.0.weight"]),
    )
    size_hw = (height * 4, width * 4)
    return Foreign("clflow", "anomalib", config, ours, size_hw, untrained="head.")


def _fastflow_name(key: str) -> str | None:
    for pattern, ours in _FASTFLOW:
        if match := re.match(pattern, key):
            return ours.format(*match.groups())
    return None


def _ratio(weight: Tensor) -> float:
    """Return the hidden ratio of a step whose first convolution has this weight."""
    return (weight.shape[0] + 0.5) / weight.shape[1] if weight.shape[0] != weight.shape[1] else 1.0


READERS: tuple[Reader, ...] = (Reader("FastFlow of anomalib", read_anomalib),)
