"""The near-duplicate detector that thresholds, calibration and capture share."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.dedup import Deduplicator, Thumbnailer, near_duplicates
from edge_ad.geometry import Geometry
from tests.part_images import part


def noisy(image: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    noise = np.random.default_rng(9).normal(0, sigma, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)


def recompressed(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 70])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        pytest.param(part(1), True, id="the same image"),
        pytest.param(noisy(part(1), 3), True, id="the same image with sensor noise"),
        pytest.param(recompressed(part(1)), True, id="a recompressed copy"),
        pytest.param(part(2), False, id="another part"),
        pytest.param(np.roll(part(1), 8, axis=1), False, id="the part moved on"),
        pytest.param(part(1) // 2 + 10, False, id="the part in other light"),
    ],
)
def test_copies_of_a_part_are_repeats_and_other_views_are_not(
    other: NDArray[np.uint8], *, same: bool
) -> None:
    deduplicator = Deduplicator(Geometry())
    assert deduplicator.repeats(part(1)) is None
    assert (deduplicator.repeats(other) == 0) is same


def test_a_repeat_is_found_among_many_images() -> None:
    deduplicator = Deduplicator(Geometry())
    assert [deduplicator.repeats(part(seed)) for seed in range(150)] == [None] * 150
    assert [deduplicator.repeats(part(seed)) for seed in (149, 0, 77)] == [149, 0, 77]


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry(roi_xywh=(0, 0, 160, 60)),
        Geometry(ignore=(((0, 60), (160, 60), (160, 120), (0, 120)),)),
    ],
    ids=["region of interest", "ignored polygon"],
)
def test_changes_in_areas_that_are_not_judged_do_not_count(geometry: Geometry) -> None:
    """Otherwise a clock or a belt in the image would make every frame new."""
    changed = part(1)
    changed[70:] = part(2)[70:]
    deduplicator = Deduplicator(geometry)
    assert deduplicator.repeats(part(1)) is None and deduplicator.repeats(changed) == 0
    assert Deduplicator(Geometry()).repeats(changed) is None


@pytest.mark.parametrize(("power", "limit"), [(2, 9.0), (1, 7.0)])
def test_the_nearest_image_within_the_limit_is_taken(power: Literal[1, 2], limit: float) -> None:
    """Images are given up before all of them is compared; the answer must not change by that."""
    rng, known, answers = np.random.default_rng(0), list[NDArray[np.uint8]](), set[int | None]()
    deduplicator = Deduplicator(power=power, limit=limit)
    for _ in range(60):
        image = noisy(np.full((32, 32, 3), 120, np.uint8), rng.uniform(0, 12))
        image = rng.permutation(image.reshape(-1)).reshape(image.shape)
        gaps = [(abs(one - image.astype(float)) ** power).mean() ** (1 / power) for one in known]
        expected = int(np.argmin(gaps)) if gaps and min(gaps) < limit else None
        assert deduplicator.repeats(image) == expected
        known += [image] if expected is None else []
        answers.add(expected)
    assert len(answers) >= 3, "new images, and repeats of more than one"


@pytest.mark.parametrize("change", [noisy(part(1), 3), recompressed(part(1))])
def test_pairs_between_two_sets_agree_with_the_deduplicator(change: NDArray[np.uint8]) -> None:
    thumbnailer = Thumbnailer()
    some = np.stack([thumbnailer(image) for image in (part(1), part(2), part(3))])
    others = np.stack([thumbnailer(image) for image in (part(3), change)])
    assert np.argwhere(near_duplicates(some, others)).tolist() == [[0, 1], [2, 0]]
    assert near_duplicates(some, others[:0]).shape == (3, 0)


def test_a_larger_limit_and_another_distance_keep_only_clear_differences() -> None:
    deduplicator = Deduplicator(size_hw=(48, 64), power=1, limit=2.0)
    assert deduplicator.repeats(part(1)) is None
    assert deduplicator.repeats(np.clip(part(1) + 1, 0, 255).astype(np.uint8)) == 0
    assert deduplicator.repeats(part(2)) is None
