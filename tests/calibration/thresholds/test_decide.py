"""What a threshold is refused for, and what is recorded beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_ad.calibration.thresholds.anomalies import AnomalyScores
from edge_ad.calibration.thresholds.decide import Request, decide, refuse_training_set
from edge_ad.calibration.thresholds.guarantee import Guarantee
from edge_ad.calibration.thresholds.images import ImageFolder
from edge_ad.calibration.thresholds.normal_input import NormalInput
from edge_ad.calibration.thresholds.scores import NormalScores
from edge_ad.data_split import DataSplit
from edge_ad.errors import GateFailed
from edge_ad.files import sha256_of
from edge_ad.manifest import Manifest, Provenance

NAMES = [f"{number:03d}.png" for number in range(60)]
SCORES = list(np.random.default_rng(2).random(60))
ANOMALIES = AnomalyScores("synthetic", ["x"], [9.0], [9.0])


def given(folder: Path, **facts: object) -> NormalInput:
    return NormalInput(ImageFolder(folder), str, "each", **facts)  # type: ignore[arg-type]


def request(rate: float = 0.05) -> Request:
    return Request(Guarantee(rate, 0.95))


def manifest(folder: Path, split: DataSplit | None = None) -> Manifest:
    trained = Provenance(data_sha256=sha256_of(sorted(folder.iterdir())))
    return Manifest(method="green", size_hw=(32, 32), provenance=trained, data_split=split)


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


@pytest.mark.parametrize("read", [False, True], ids=["before they are read", "afterwards"])
def test_the_images_of_a_training_without_lists_are_refused(
    read: bool,  # noqa: FBT001
    make_folder: Callable[..., Path],
) -> None:
    folder = make_folder("good", 3)
    images = given(folder)
    if read:
        list(images.images)
    with pytest.raises(GateFailed, match="was trained on these images"):
        refuse_training_set(images, manifest(folder))
    refuse_training_set(images, manifest(folder, DataSplit()))  # lists decide, image by image
    refuse_training_set(given(make_folder("other", 4)), manifest(folder))
