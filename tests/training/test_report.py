"""The image of a training report."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from edge_ad.training.report import COLUMNS, draw_examples


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
