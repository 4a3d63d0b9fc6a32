"""The input of a memory bank, chosen by the smallest defect."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from edge_ad.errors import UsageError
from edge_ad.geometry import Geometry
from edge_ad.methods.learning.parse import parse_settings
from edge_ad.methods.learning.trainer import load_training
from edge_ad.methods.weights import load_detector
from edge_ad.parts import How
from edge_ad.synthesis.anomalies import SyntheticAnomaly
from edge_ad.synthesis.kinds import FINE, KINDS, anomaly_of
from edge_ad.training import input_choice
from edge_ad.training.input_choice import (
    Input,
    InputChoice,
    InputFigures,
    check_visible,
    choose_input,
    chosen_of,
)
from edge_ad.training.loop import Interrupted
from edge_ad.training.session import train
from edge_ad.training.train_config import TrainConfig, load
from tests.torch_setup import narrow_resnet18
from tests.training.train_configs import write_teacher

SIDE = 96


def figures(*by_draw: float, gflops: float = 1.0) -> InputFigures:
    return InputFigures(Input((32, 32), {}), (2, 3), 2.0, gflops, by_draw, by_draw)


@pytest.mark.parametrize(
    ("cheap", "dear", "chosen"),
    [
        ((0.90, 0.80, 0.85), (0.90, 0.80, 0.85), 0),  # equal
        ((0.90, 0.80, 0.85), (0.905, 0.81, 0.86), 0),  # less than 0.01
        ((0.90, 0.80, 0.85), (0.95, 0.79, 0.86), 0),  # within a deviation of the differences
        ((0.70, 0.60, 0.65), (0.90, 0.80, 0.86), 1),  # in every draw
        ((0.90, 0.80, 0.85), (0.70, 0.60, 0.65), 0),
    ],
)
def test_the_cheapest_that_is_not_clearly_worse_is_taken(
    cheap: tuple[float, ...], dear: tuple[float, ...], chosen: int
) -> None:
    assert chosen_of([figures(*cheap), figures(*dear)]) == chosen


def test_a_cheap_input_that_is_worse_than_the_middle_one_is_not_taken() -> None:
    assert chosen_of([figures(0.6, 0.6), figures(0.8, 0.8), figures(0.805, 0.805)]) == 1


@pytest.fixture(autouse=True, scope="module")
def narrow() -> Iterator[None]:
    with narrow_resnet18():
        yield


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"DRAWS": 2, "REMEMBERED": 3, "ROWS": 40, "COMPARED": 3,
                        "EACH_SMALL": 2, "EACH_LARGE": 1}.items():  # fmt: skip
        monkeypatch.setattr(input_choice, name, value)


def config(folder: Path, **changes: Any) -> TrainConfig:
    """Configure a training on smooth parts of 192x288 pixels."""
    for number in range(12):
        image = np.random.default_rng(number).normal(120, 2, (192, 288, 3))
        cv2.imwrite(str(folder / f"{number}.png"), image.astype(np.uint8))
    given: dict[str, Any] = {
        "method": "patchcore",
        "data": folder,
        "output": folder / "out.pt",
        "size_hw": (SIDE, SIDE),
        "keep_aspect": True,
        "settings": parse_settings(load_training("patchcore"), {}, "edge"),
        "teacher": write_teacher(folder / "teacher.pth"),
        "parts_from": How.EACH,
        "smallest_defect_px": 3.0,
    }
    return TrainConfig(**given | changes)


def test_three_inputs_are_measured_and_the_chosen_one_is_trained(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(kind: str, *given: Any, across: tuple[float, float], **more: Any) -> SyntheticAnomaly:
        drawn[kind, across] += 1
        return anomaly_of(kind, *given, across=across, **more)

    drawn: Counter[tuple[str, tuple[float, float]]] = Counter()
    monkeypatch.setattr(input_choice, "anomaly_of", draw)
    given, before = config(tmp_path), torch.get_rng_state()
    chosen, choice, _ = choose_input(given, threading.Event())
    assert torch.equal(before, torch.get_rng_state())
    rows = choice.report()
    tried = {(tuple(row["size_hw"]), tuple(row["levels"])) for row in rows}
    assert tried == {((48, 48), (2, 3)), ((80, 112), (2, 3)), ((80, 112), (1, 2))}
    assert [row["gflops"] for row in rows] == sorted(row["gflops"] for row in rows)
    # a pixel of the larger input is 2.5 pixels of the image
    assert [row["defect_px"] for row in rows] == pytest.approx([0.61, 1.21, 1.21], abs=0.01)
    assert {kind: count for (kind, _), count in drawn.items()} == {
        kind: 4 if kind in FINE else 2 for kind in KINDS
    }
    ((least, greatest),) = {across for _, across in drawn}
    assert (least, greatest / least) == pytest.approx((1.21, 1.5), abs=0.01)
    taken = next(row for row in rows if row["chosen"])
    network = chosen.settings.network.model_dump()
    assert list(chosen.size_hw) == taken["size_hw"]
    assert list(network["levels"]) == taken["levels"] and network["rows"] is None
    assert not chosen.keep_aspect and chosen.smallest_defect_px is None


def comparison(best: int) -> type:
    """Return a comparison that finds this input best without a measurement."""

    class Comparison:
        def __init__(self, *given: object) -> None: ...

        def figures(self, inputs: Sequence[Input], stop: object) -> list[InputFigures]:
            reached = [(float(number == best),) for number in range(3)]
            return [
                InputFigures(tried, (2, 3), 1.0, number, reached[number], reached[number])
                for number, tried in enumerate(inputs)
            ]

    return Comparison


@pytest.mark.parametrize(("best", "read"), [(0, "again"), (2, "once")])
def test_images_are_read_again_only_for_another_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, best: int, read: str
) -> None:
    monkeypatch.setattr(input_choice, "_Comparison", comparison(best))
    chosen, _, loaded = choose_input(config(tmp_path), threading.Event())
    again = load(chosen).normal.tiles
    assert (loaded is None) is (read == "again")
    assert loaded is None or np.array_equal(loaded.normal.tiles, again)


@pytest.mark.parametrize(
    ("best", "size_hw", "levels"), [(0, [48, 48], [2, 3]), (2, [80, 112], [1, 2])]
)
def test_a_training_takes_the_chosen_input_and_reports_the_comparison(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    best: int,
    size_hw: list[int],
    levels: list[int],
) -> None:
    monkeypatch.setattr(input_choice, "_Comparison", comparison(best))
    shown: list[InputChoice] = []
    given = config(tmp_path)
    report = train(given, threading.Event(), lambda step: None, on_inputs=shown.append)
    assert report["inputs"] == shown[0].report() and len(shown) == 1
    assert report["size_hw"] == size_hw and report["settings"]["network"]["levels"] == levels
    assert list(load_detector(given.output).manifest.size_hw) == size_hw


def test_an_interruption_does_not_wait_for_the_comparison(tmp_path: Path, quick: None) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        choose_input(config(tmp_path), stop)


def test_a_defect_that_no_input_shows_is_refused_with_what_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_choice, "_Comparison", None)  # before any work
    with pytest.raises(UsageError, match=r"--smallest-defect-px 2: .*0\.81 pixels"):
        choose_input(config(tmp_path, smallest_defect_px=2.0), threading.Event())
    given = config(tmp_path, geometry=Geometry(tiles=(1, 2), overlap=0.0))
    with pytest.raises(UsageError, match=r"0\.25 pixels.*--roi.*--tiles 8x16.*--size 384"):
        check_visible(0.5, 0.5, given)
    check_visible(2.0, 0.5, given)
    with pytest.raises(UsageError, match=r"-px 200: .*96 pixels .*100 pixels\. Give"):
        check_visible(200.0, 0.5, given)
