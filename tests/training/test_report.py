"""The image of a training report."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from edge_ad.training.report import COLUMNS, draw_examples


def test_each_column_of_examples_has_a_heading() -> None:
    figure = Figure()
    image = np.zeros((8, 8, 3), np.uint8)
    draw_examples(figure.subfigures(1, 1, squeeze=False)[0, 0], [[image] * 4] * 3)
    titles = [axes.get_title() for axes in figure.subfigs[0].axes]
    assert titles == [*COLUMNS, *[""] * 8]
