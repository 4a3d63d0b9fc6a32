"""The image of a training report."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from edge_ad.methods.learning.batch import Batch
from edge_ad.training.report import COLUMNS, draw_examples, draw_losses, example_rows


def test_each_column_of_examples_has_a_heading() -> None:
    axes = Figure().subplots()
    rows = [[np.full((40, 60, 3), 40 * row + column, np.uint8) for column in range(4)]
            for row in range(3)]  # fmt: skip
    draw_examples(axes, rows)
    assert [label.get_text() for label in axes.get_xticklabels()] == list(COLUMNS)
    drawn = np.asarray(axes.get_images()[0].get_array())
    for row in range(3):
        for column, x in enumerate(axes.get_xticks()):
            assert (drawn[int(46 * (row + 0.5)), round(x)] == 40 * row + column).all()


def test_each_loss_has_a_curve_over_the_phases_that_have_it() -> None:
    axes = Figure().subplots()
    history = [
        {"step": 10, "phase": "one", "l2": 2.0},
        {"step": 20, "phase": "two", "l2": 1.0, "focal": 0.5},
    ]
    draw_losses(axes, history, "DRAEM")
    curves = {line.get_label(): np.asarray(line.get_xydata()).tolist() for line in axes.get_lines()}
    assert curves == {"l2": [[10, 2], [20, 1]], "focal": [[20, 0.5]]}
    assert axes.get_title() == "DRAEM: losses" and axes.get_legend() is not None


class Brightness(nn.Module):
    """Maps the red channel of the copy."""

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        return rgb[:, 0], rgb[:, 0].amax((1, 2))


@pytest.mark.parametrize(("held_back", "shown"), [(4, [0, 1, 2, 3]), (11, [0, 2, 4, 6, 8, 10])])
def test_a_row_shows_a_tile_its_copy_the_mask_and_the_map(held_back: int, shown: list[int]) -> None:
    numbers = torch.arange(held_back, dtype=torch.float32)[:, None, None, None]
    normal = (numbers + torch.tensor([10.0, 20.0, 30.0])[:, None, None]).expand(-1, -1, 2, 3) / 255
    anomalous, mask = normal.clone(), torch.zeros(held_back, 1, 2, 3)
    anomalous[:, 0, 0, 0], mask[:, :, 0, 0] = (numbers[:, 0, 0, 0] + 100) / 255, 1.0
    rows = example_rows(Brightness(), Batch(normal, anomalous, mask, torch.arange(held_back)))
    top = 100 + shown[-1]
    for number, (tile, copy, where, values) in zip(shown, rows, strict=True):
        assert (tile == [number + 30, number + 20, number + 10]).all()
        assert copy[0, 0].tolist() == [number + 30, number + 20, number + 100]
        assert where[0, 0].tolist() == [255] * 3 and not where[1:].any()
        grey = np.array([[255 * (100 + number) / top, 255 * (10 + number) / top]], np.uint8)
        colours = cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO)[0].astype(int)
        assert np.abs(values[0, :2] - colours).max() <= 6
