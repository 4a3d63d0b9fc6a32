"""Our networks give the outputs of the authors' own networks under the same weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from edge_ad.methods.destseg.network import DeSTSeg, DeSTSegConfig
from edge_ad.methods.draem.network import DRAEM, DRAEMConfig
from edge_ad.methods.layers.efficientnet import EfficientNet, EfficientNetLite
from tests.golden.golden_formula import part_image, state_of, summary

HERE = Path(__file__).parent
TOLERANCE = 1e-5


@pytest.mark.parametrize("name", ["draem-small", pytest.param("draem", marks=pytest.mark.slow)])
def test_draem_equals_the_official_code(name: str) -> None:
    case, official = frozen(name)
    rec_base, seg_base = case["widths"]
    net = DRAEM(DRAEMConfig(rec_base=rec_base, seg_base=seg_base), tuple(case["size"]))
    rgb = _filled(net, case)
    with torch.no_grad():
        repair, logits = net.logits(net.coloured(rgb))
        anomaly_map, score = net(rgb)
    ours = {"repair": repair, "logits": logits, "map": anomaly_map, "score": score}
    check(ours, official)


def test_destseg_equals_the_official_code() -> None:
    case, official = frozen("destseg")
    net = DeSTSeg(DeSTSegConfig(), tuple(case["size"]))
    rgb = _filled(net, case)
    with torch.no_grad():
        teacher, student = net.features(rgb)
        anomaly_map, score = net(rgb)
    levels = [1 - (t * s).sum(1, keepdim=True) for t, s in zip(teacher, student, strict=True)]
    distances = {f"distance{k}": level for k, level in enumerate(levels, 1)}
    check({"map": anomaly_map, "score": score, **distances}, official)


@pytest.mark.parametrize("name", get_args(EfficientNet))
def test_efficientnet_lite_equals_timms(name: EfficientNet) -> None:
    case, official = frozen(name)
    net = EfficientNetLite(name)
    rgb = _filled(net, case)
    with torch.no_grad():
        levels = net(2 * rgb - 1)
    ours = {f"level{number}": level for number, level in enumerate(levels, 1)}
    check(ours, official, 1e-4)  # values of up to 20 behind 15 blocks, added in another order


def test_a_changed_weight_is_detected() -> None:
    case, official = frozen("draem-small")
    rec_base, seg_base = case["widths"]
    net = DRAEM(DRAEMConfig(rec_base=rec_base, seg_base=seg_base), tuple(case["size"]))
    rgb = _filled(net, case)
    with torch.no_grad():
        net.reconstructive.out.weight[0, 0, 0, 0] += 1
        anomaly_map, _ = net(rgb)
    with pytest.raises(AssertionError):
        check({"map": anomaly_map}, official)


def frozen(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    content = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    return content["case"], content["official"]


def _filled(net: nn.Module, case: dict[str, Any]) -> Tensor:
    """Fill the network by the formula; return the formula's image."""
    net.load_state_dict(state_of(net.state_dict()))
    net.eval()
    return part_image(case["count"], *case["size"])


def check(ours: dict[str, Tensor], official: dict[str, Any], tolerance: float = TOLERANCE) -> None:
    for name, tensor in ours.items():
        observed, expected = summary(tensor), official[name]
        assert observed.pop("shape") == expected["shape"], name
        for figure, value in observed.items():
            close = pytest.approx(expected[figure], abs=tolerance, rel=tolerance)
            assert value == close, (name, figure)
