"""DRAEM as its authors (github.com/VitjanZ/DRAEM, two files) and anomalib save it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from edge_ad.errors import UsageError
from edge_ad.methods.draem.network import DRAEMConfig
from edge_ad.methods.foreign import Foreign, Reader, Rules, below, translate_all
from edge_ad.methods.pretrained import State

DRAEM_RECONSTRUCTIVE: Rules = (
    (r"encoder\.block(\d)\.", r"reconstructive.encoder.{0}."),
    (r"decoder\.up(\d)\.1\.", r"reconstructive.decoder.{0}.up.0."),
    (r"decoder\.up(\d)\.2\.", r"reconstructive.decoder.{0}.up.1."),
    (r"decoder\.db(\d)\.", r"reconstructive.decoder.{0}.merge."),
    (r"decoder\.fin_out\.0\.", r"reconstructive.out."),
)
DRAEM_DISCRIMINATIVE: Rules = (
    (r"encoder_segment\.block(\d)\.", r"discriminative.encoder.{0}."),
    (r"decoder_segment\.up_b\.1\.", r"discriminative.decoder.0.up.0."),
    (r"decoder_segment\.up_b\.2\.", r"discriminative.decoder.0.up.1."),
    (r"decoder_segment\.db_b\.", r"discriminative.decoder.0.merge."),
    (r"decoder_segment\.up(\d)\.1\.", r"discriminative.decoder.{1}.up.0."),
    (r"decoder_segment\.up(\d)\.2\.", r"discriminative.decoder.{1}.up.1."),
    (r"decoder_segment\.db(\d)\.", r"discriminative.decoder.{1}.merge."),
    (r"decoder_segment\.fin_out\.0\.", r"discriminative.out."),
)
_MARKS = {"rec": "decoder.fin_out.0.bias", "seg": "decoder_segment."}
_ANOMALIB = ("reconstructive", "discriminative")


def read_official(states: Sequence[State]) -> Foreign | None:
    """Recognise the authors' two files, reconstructive and discriminative, in any order."""
    networks: dict[str, State] = {}
    for state in states:
        for network, mark in _MARKS.items():
            if any(key.startswith(mark) for key in state):
                networks[network] = state
    if not networks:
        return None
    if len(networks) < 2 or len(states) != 2:
        missing = "discriminative network (..._seg.pckl)" if "rec" in networks else "reconstructive"
        raise UsageError(
            f"DRAEM's authors keep two files; the {missing} is missing. Name both, in any order."
        )
    return _draem(networks["rec"], networks["seg"], "its authors' code", color="bgr", filter_px=21)


def read_anomalib(states: Sequence[State]) -> Foreign | None:
    """Recognise a Lightning checkpoint: image before repair, and a maximum as score."""
    rec, seg = (below(states[0], f"model.{network}_subnetwork.") for network in _ANOMALIB)
    if len(states) != 1 or not rec or not seg:
        return None
    first = seg["encoder_segment.block1.0.weight"]
    seg["encoder_segment.block1.0.weight"] = torch.cat([first[:, 3:], first[:, :3]], dim=1)
    return _draem(rec, seg, "anomalib", color="rgb", filter_px=1)


def _draem(
    rec: State, seg: State, origin: str, *, color: Literal["bgr", "rgb"], filter_px: int
) -> Foreign:
    state = translate_all(rec, DRAEM_RECONSTRUCTIVE, "DRAEM's reconstructive network")
    state |= translate_all(seg, DRAEM_DISCRIMINATIVE, "DRAEM's discriminative network")
    config = DRAEMConfig(
        rec_base=state["reconstructive.out.weight"].shape[1],
        seg_base=state["discriminative.out.weight"].shape[1],
        color=color,
        mean_filter_px=filter_px,
    )
    return Foreign("draem", origin, config, state)


READERS: tuple[Reader, ...] = (
    Reader("DRAEM of its authors (two files)", read_official),
    Reader("DRAEM of anomalib", read_anomalib),
)
