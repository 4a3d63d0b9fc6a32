"""Maps and scores of foreign graphs, in the shapes that they come in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.errors import IncompatibleError
from edge_ad.export.adapter.outputs import read_outputs

MAPS = np.random.default_rng(0).random((2, 8, 12)).astype(np.float32)
SCORES = np.array([3.0, 4.0], np.float64)


@pytest.mark.parametrize("shape", [(2, 8, 12), (2, 1, 8, 12), (2, 8, 12, 1)])
@pytest.mark.parametrize("score", [(2,), (2, 1)])
def test_a_map_and_a_score_an_image_are_read(
    shape: tuple[int, ...], score: tuple[int, ...]
) -> None:
    outputs: list[NDArray[Any]] = [MAPS.reshape(shape), SCORES.reshape(score)]
    prediction, shapes = read_outputs(outputs, ("map", "score"), 2, (8, 12))
    np.testing.assert_array_equal(prediction.maps, MAPS)
    assert prediction.scores.tolist() == [3, 4] and prediction.scores.dtype == np.float32
    assert (shapes.map, shapes.score, shapes.map_hw) == (shape, score, (8, 12))


def test_without_a_score_it_is_the_maps_maximum_and_one_image_needs_no_axis() -> None:
    prediction, shapes = read_outputs([MAPS[0]], ("map", None), 1, (8, 12))
    assert prediction.scores.tolist() == [MAPS[0].max()] and shapes.score is None


def test_maps_become_as_large_as_the_image() -> None:
    """A smaller one is enlarged; of a larger one each pixel is the maximum of its block."""
    coarse, _ = read_outputs([MAPS], ("map", None), 2, (16, 24))
    assert coarse.maps.shape == (2, 16, 24)
    assert MAPS.min() <= coarse.maps.min() and coarse.maps.max() <= MAPS.max()
    fine, _ = read_outputs([MAPS], ("map", None), 2, (4, 6))
    assert fine.maps[1, 3, 5] == MAPS[1, 6:8, 10:12].max()
    np.testing.assert_array_equal(fine.scores, MAPS.max(axis=(1, 2)))


@pytest.mark.parametrize(
    ("maps", "size_hw", "message"),
    [
        (MAPS, (4, 24), "a map of 8x12 for an image of 4x24"),  # larger one way, smaller the other
        (MAPS, (16, 7), "a map of 8x12 for an image of 16x7"),
        (MAPS, (5, 12), "a map of 8x12 for an image of 5x12"),
        (MAPS[:1], (8, 12), r"\(1, 8, 12\) for 2 images"),
        (MAPS.reshape(2, 2, 4, 12), (8, 12), "2 or 12 maps an image"),
        (MAPS.reshape(2, 1, 1, 96), (8, 12), "for 2 images"),
        (MAPS.reshape(2, 96), (8, 12), "for 2 images"),
        (SCORES, (8, 12), "for 2 images.* a model of scores alone .* export it with its map"),
    ],
)
def test_what_is_not_one_map_an_image_is_refused(
    maps: NDArray[np.float32], size_hw: tuple[int, int], message: str
) -> None:
    with pytest.raises(IncompatibleError, match=message):
        read_outputs([maps], ("map", None), 2, size_hw)


@pytest.mark.parametrize("shape", [(4,), (1, 2), (2, 2)])
def test_what_is_not_one_score_an_image_is_refused(shape: tuple[int, ...]) -> None:
    scores = np.resize(SCORES, shape)
    with pytest.raises(IncompatibleError, match="expected one score an image"):
        read_outputs([MAPS, scores], ("map", "score"), 2, (8, 12))
