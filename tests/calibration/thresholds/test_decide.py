"""What a threshold is refused for, and what is recorded beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_ad.calibration.thresholds.anomalies import AnomalyScores
from edge_ad.calibration.thresholds.decide import Request, decide
from edge_ad.calibration.thresholds.guarantee import Guarantee
from edge_ad.calibration.thresholds.images import ImageFolder
from edge_ad.calibration.thresholds.normal_input import NormalInput
from edge_ad.calibration.thresholds.scores import NormalScores
from edge_ad.errors import GateFailed
from edge_ad.frame_light import FrameLight

NAMES = [f"{number:03d}.png" for number in range(60)]
SCORES = list(np.random.default_rng(2).random(60))
ANOMALIES = AnomalyScores("synthetic", ["x"], [9.0], [9.0])


def given(folder: Path, **facts: object) -> NormalInput:
    return NormalInput(ImageFolder(folder), str, "each", **facts)  # type: ignore[arg-type]


def request(rate: float = 0.05) -> Request:
    return Request(Guarantee(rate, 0.95))


@pytest.mark.parametrize("doubt", ["", "the images look all alike."])
def test_a_refusal_says_why_the_parts_may_be_wrong(
    doubt: str, make_folder: Callable[..., Path]
) -> None:
    scores = NormalScores(NAMES[:9], SCORES[:9], SCORES[:9])
    with pytest.raises(GateFailed, match="needs 59 of them") as refusal:
        decide(request(), given(make_folder("good", 2), doubt=doubt), scores, ANOMALIES)
    assert str(refusal.value).endswith(f" Note: {doubt}" if doubt else "leave the rate out.")
    assert refusal.value.facts["parts"] == 9


def test_a_drift_is_tested_only_where_the_order_in_time_is_known(
    make_folder: Callable[..., Path],
) -> None:
    scores, folder = NormalScores(NAMES, SCORES, SCORES, parts=NAMES), make_folder("good", 2)
    unordered = decide(request(), given(folder), scores, ANOMALIES)
    assert unordered.drift is None and unordered.image == max(SCORES)
    ordered = given(folder, ordered_by="file times", order=tuple(NAMES))
    drift = decide(request(), ordered, scores, ANOMALIES).drift
    assert drift is not None and drift.order == "file times" and not drift.accepted
    rising = tuple(name for _, name in sorted(zip(SCORES, NAMES, strict=True)))
    with pytest.raises(GateFailed, match="drift over time"):
        decide(request(), given(folder, ordered_by="file times", order=rising), scores, ANOMALIES)


def test_light_that_changes_is_recorded_where_scores_do_not_drift_yet(
    make_folder: Callable[..., Path],
) -> None:
    darker = [FrameLight(120.0 - number, 5.0) for number in range(60)]
    scores = NormalScores(NAMES, SCORES, SCORES, parts=NAMES, light=darker, size_hw=(8, 8))
    folder, rng = make_folder("good", 2), np.random.default_rng(0)
    drift = decide(
        request(), given(folder, ordered_by="file times", order=tuple(NAMES)), scores, ANOMALIES
    ).drift
    assert drift is not None and drift.p > drift.level
    assert drift.brightness == (110.5, 70.5) and drift.brightness_p == pytest.approx(1 / 5000)
    shuffled = tuple(str(name) for name in rng.permutation(NAMES))
    drift = decide(
        request(), given(folder, ordered_by="file times", order=shuffled), scores, ANOMALIES
    ).drift
    assert drift is not None and drift.brightness_p is not None and drift.brightness_p > 0.01
