"""Our networks answer what the authors' own networks answer, given the same weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edge_ad.methods.destseg.network import DeSTSeg, DeSTSegConfig
from edge_ad.methods.draem.network import DRAEM, DRAEMConfig
from tests.golden.golden_formula import part_image, state_of, summary

HERE = Path(__file__).parent
TOLERANCE = 1e-5


@pytest.mark.parametrize("name", ["draem-small", "draem"])
def test_draem_answers_what_the_official_code_answers(name: str) -> None:
    case, official = _frozen(name)
    rec_base, seg_base = case["widths"]
    net = DRAEM(DRAEMConfig(rec_base=rec_base, seg_base=seg_base), tuple(case["size"]))
    rgb = _filled(net, case)
    with torch.no_grad():
        repair, logits = net.logits(net.coloured(rgb))
        anomaly_map, score = net(rgb)
    ours = {"repair": repair, "logits": logits, "map": anomaly_map, "score": score}
    _check(ours, official)


def test_destseg_answers_what_the_official_code_answers() -> None:
    case, official = _frozen("destseg")
    net = DeSTSeg(DeSTSegConfig(), tuple(case["size"]))
    rgb = _filled(net, case)
    with torch.no_grad():
        teacher, student = net.features(rgb)
        anomaly_map, score = net(rgb)
    levels = [1 - (t * s).sum(1, keepdim=True) for t, s in zip(teacher, student, strict=True)]
    distances = {f"distance{k}": level for k, level in enumerate(levels, 1)}
    _check({"map": anomaly_map, "score": score, **distances}, official)


def test_a_changed_weight_is_noticed() -> None:
    case, official = _frozen("draem-small")
    rec_base, seg_base = case["widths"]
    net = DRAEM(DRAEMConfig(rec_base=rec_base, seg_base=seg_base), tuple(case["size"]))
    rgb = _filled(net, case)
    with torch.no_grad():
        net.reconstructive.out.weight[0, 0, 0, 0] += 1
        anomaly_map, _ = net(rgb)
    with pytest.raises(AssertionError):
        _check({"map": anomaly_map}, official)


def _frozen(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    content = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    return content["case"], content["official"]


def _filled(net: nn.Module, case: dict[str, Any]) -> Tensor:
    """Fill the network by the formula; answer the formula's image."""
    net.load_state_dict(state_of(net.state_dict()))
    net.eval()
    return part_image(case["count"], *case["size"])


def _check(ours: dict[str, Tensor], official: dict[str, Any]) -> None:
    for name, tensor in ours.items():
        found, wanted = summary(tensor), official[name]
        assert found.pop("shape") == wanted["shape"], name
        for figure, value in found.items():
            expected = wanted[figure]
            assert value == pytest.approx(expected, abs=TOLERANCE, rel=TOLERANCE), (name, figure)
