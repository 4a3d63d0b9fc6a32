"""A verb refuses to start when it could not finish, and leaves nothing behind."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest

from edge_ad.cli import requirements
from edge_ad.cli.run_page import RunPage
from edge_ad.errors import MissingExtra
from edge_ad.source.selection import Fate, Selection
from edge_ad.store.store import Store
from tests.conftest import invoke, part_image

MakePath = Callable[..., Path]
NEEDS = [(verb, package) for verb, (_, names) in requirements._NEEDS.items() for package in names]
ARGUMENTS = {
    "train": ["--data", "parts", "-o", "out/a.pt"],
    "attention": ["--digits", "parts", "-o", "out/a.pt"],
    "evaluate": ["a.onnx", "--data", "parts", "-o", "out"],
    "rejudge": ["--engine", "a.onnx", "--images", "parts", "-o", "out/a.parquet"],
    "export": ["a.pt", "-o", "out/a.onnx"],
    "export-triton": ["a.onnx", "--repository", "models"],
    "page": ["out"],
    "convert": ["a.onnx", "--precision", "fp16", "-o", "out/a.onnx"],
    "calibrate": ["a.onnx", "--images", "parts", "-o", "out/a.onnx"],
}


class Usage(NamedTuple):
    """As shutil.disk_usage returns it."""

    total: int
    used: int
    free: int


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1 << 30, 1 << 30, 5 << 20))


@pytest.mark.parametrize(("verb", "package"), NEEDS)
def test_a_missing_package_is_named_before_work_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, package: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(requirements, "_installed", lambda name: name != package)
    done = invoke(verb, *ARGUMENTS[verb])
    assert done.returncode == 3, done.stderr
    assert f"{verb} needs the package {package}" in done.stderr
    assert "pip install 'edge-ad[" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_package_that_cannot_be_imported_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match="train needs the package torch"):
        requirements.require_packages("train")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--camera", "PARTS", "--engine", "none.onnx"], 2),
        (["--camera", "none.mp4", "--engine", "ENGINE"], 5),
        (["--camera", "PARTS", "--engine", "ENGINE", "--show"], 2),
        (["--camera", "PARTS", "--engine", "ENGINE", "--alarm-k", "5"], 2),
        (["--camera", "PARTS", "--engine", "ENGINE", "--outlet", "fil:a"], 2),
        (["--camera", "PARTS", "--engine", "ENGINE", "--outlet", "file:/no/such/a"], 6),
        (["--camera", "none.mp4", "--engine", "ENGINE", "--outlet", "file:OUT/alarms"], 5),
    ],
)
def test_a_refused_run_makes_and_removes_nothing(
    make_engine: MakePath,
    make_folder: MakePath,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: int,
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    out, old = tmp_path / "out", tmp_path / "old"
    old.mkdir()
    (old / "summary.json").write_text("an earlier run")
    names = {"PARTS": make_folder("parts", 3), "ENGINE": make_engine()}
    given = [str(names.get(word, word)).replace("OUT", str(tmp_path)) for word in words]
    before = sorted(tmp_path.rglob("*"))
    assert invoke("run", *given, "-o", out).returncode == code
    assert invoke("run", *given, "-o", old, "--overwrite").returncode == code
    assert sorted(tmp_path.rglob("*")) == before
    assert (old / "summary.json").read_text() == "an earlier run"


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("verb", ["run", "capture", "evaluate"])
def test_a_full_disk_is_named_at_the_start(
    make_engine: MakePath, make_folder: MakePath, tmp_path: Path, verb: str
) -> None:
    if verb == "evaluate":
        pytest.importorskip("scipy")
    parts, engine, out = make_folder("parts", 3), make_engine(), tmp_path / "out"
    words: dict[str, list[Any]] = {
        "run": ["--camera", parts, "--engine", engine, "-o", out],
        "capture": ["--camera", parts, "-o", out],
        "evaluate": [engine, "--data", _labelled(tmp_path / "labelled"), "-o", out],
    }
    done = invoke(verb, *words[verb])
    assert done.returncode == 6, done.stderr
    assert "5 MiB are free, but 16 MiB are needed" in done.stderr
    assert not out.exists()


@pytest.mark.usefixtures("full_disk")
def test_a_line_goes_on_in_its_folder_with_less_room_than_a_new_one_needs(
    make_engine: MakePath, make_folder: MakePath, tmp_path: Path
) -> None:
    Store(tmp_path).close()
    words = ("--camera", make_folder("parts", 3), "--engine", make_engine())
    done = invoke("run", *words, "-o", tmp_path)
    assert done.returncode == 0, done.stderr


def _labelled(folder: Path) -> Path:
    """Make the smallest set in MVTec AD's layout."""
    for kind, spot in (("good", False), ("spot", True)):
        (folder / "test" / kind).mkdir(parents=True)
        cv2.imwrite(str(folder / "test" / kind / "0.png"), part_image(spot=spot))
    mask = np.zeros((64, 64), np.uint8)
    mask[8:20, 20:32] = 255
    (folder / "ground_truth" / "spot").mkdir(parents=True)
    cv2.imwrite(str(folder / "ground_truth" / "spot" / "0_mask.png"), mask)
    return folder


def test_capture_adds_to_a_folder(make_folder: MakePath, tmp_path: Path) -> None:
    first, out = make_folder("first", 3), tmp_path / "out"
    assert invoke("capture", "--camera", first, "-o", out, "--min-difference", 0.1).returncode == 0
    second = make_folder("second", 5)  # the first three again, and two more
    done = invoke("capture", "--camera", second, "-o", out, "--min-difference", 0.1)
    assert done.returncode == 0, done.stderr
    assert "2 images in" in done.stdout and "beside 3 earlier ones" in done.stdout
    assert "3 near-duplicates" in done.stdout
    assert [path.name for path in sorted(out.glob("*.png"))] == [
        f"{number:03d}.png" for number in range(5)
    ]


def test_capture_names_an_image_that_it_cannot_compare_with(
    make_folder: MakePath, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "frame-000007.png").write_bytes(b"")
    done = invoke("capture", "--camera", make_folder("first", 1), "-o", out)
    assert done.returncode == 0, done.stderr
    assert "not compared with: frame-000007.png" in done.stderr
    assert (out / "000.png").exists()


def test_a_refused_capture_leaves_no_folder(make_folder: MakePath, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = invoke("capture", "--camera", make_folder("a", 2), "-o", out, "--roi", "0,0,999,9")
    assert done.returncode == 2 and not out.exists()


def test_a_remembered_image_is_a_near_duplicate() -> None:
    from edge_ad.frame import Frame

    selection = Selection(live=False)
    selection.remember(part_image())
    frame = Frame(part_image(), 0, 0.0, "a")
    assert selection.judge(frame) is Fate.DUPLICATE


def test_a_page_beside_a_line_is_checked_before_its_modules_are_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "edge_ad.page.guard", raising=False)

    with pytest.raises(MissingExtra, match=r"page needs the package aiohttp.*edge-ad\[page\]"):
        RunPage("127.0.0.1:8080")
