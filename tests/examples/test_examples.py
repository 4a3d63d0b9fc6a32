"""The examples run as they are, on the shipped engine and generated images."""

from __future__ import annotations

import csv
import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Return a function that runs an example in `tmp_path` and returns its output."""
    monkeypatch.chdir(tmp_path)

    def run_example(name: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run_example


def test_every_example_is_tested_and_says_how_to_run_it() -> None:
    scripts = sorted(EXAMPLES.glob("*.py"))
    tests = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in scripts if f'"{path.name}"' not in tests] == []
    for path in scripts:
        assert f"python examples/{path.name}" in path.read_text(encoding="utf-8")


def test_one_image_finds_the_scratch_and_saves_the_map(run: Run, tmp_path: Path) -> None:
    assert run("one_image.py").startswith("REJECT")
    image = cv2.imread(str(tmp_path / "one_image.png"))
    assert image is not None and image.shape == (240, 320, 3)


def test_a_folder_becomes_a_csv_file(
    run: Run, make_engine: Callable[..., Path], make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    parts = make_folder("parts", 3, bright=(1,))
    (parts / "cut.png").touch()
    run("folder_to_csv.py", parts, "--engine", make_engine())
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["verdict"] for row in rows] == ["PASS", "REJECT", "PASS", "INVALID"]
    assert "the file is empty" in rows[3]["reason"]
    assert rows[1]["file"] == "001.png" and float(rows[1]["score"]) > 0.5


def test_an_own_outlet_receives_the_alarms(
    run: Run, make_engine: Callable[..., Path], make_folder: Callable[..., Path]
) -> None:
    parts = make_folder("parts", 6, bright=(2, 3))
    output = run("own_outlet.py", "--camera", parts, "--engine", make_engine())
    assert output.splitlines()[-1].startswith("6 frames, 1 parts ejected")


@pytest.mark.slow
def test_an_own_outlet_receives_the_alarms_of_the_shipped_footage(run: Run) -> None:
    output = run("own_outlet.py", "--frames", 80)
    assert output.splitlines()[-1].startswith("80 frames, 1 parts ejected")


def test_an_own_camera_raises_the_alarm(run: Run) -> None:
    assert run("own_camera.py").count("ALARM") == 1


def test_the_notebook_is_valid_and_its_cells_run() -> None:
    notebook = json.loads((EXAMPLES / "inspect_images.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    names: dict[str, Any] = {}
    for cell in cells:
        exec("".join(cell["source"]), names)
    assert [result.verdict.value for result in names["inspections"]] == ["PASS", "REJECT"]
