"""`edge-ad dataset`, from a folder to parts and a split."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edge_ad.cli import edge_ad
from edge_ad.errors import EdgeAdError, OutletLost
from edge_ad.images import read_image, write_image
from tests.conftest import part_image
from tests.parts.faces import disc


def run(*words: object) -> Result:
    return CliRunner().invoke(edge_ad, ["dataset", *map(str, words)])


def facts(*words: object) -> dict[str, Any]:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    record: dict[str, Any] = json.loads(result.stdout.splitlines()[0])
    return record


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of 12 parts with two views each, one unreadable file and a text."""
    images = tmp_path / "good"
    images.mkdir()
    for part in range(12):
        for view in (1, 2):
            write_image(images / f"part{part:02d}_cam{view}.png", part_image(seed=10 * part + view))
    (images / "part99_cam1.png").write_bytes(b"")
    (images / "notes.txt").write_text("mine")
    return images


def test_counts_add_up(folder: Path) -> None:
    record = facts(folder)
    assert (record["images"], record["parts"], record["duplicates"]) == (24, 12, 0)
    assert record["images_per_part"] == {"min": 2, "median": 2, "max": 2}
    assert record["files"] == 26 == record["images"] + len(record["left_out"])
    assert record["decided_by"] == "names" and record["sizes"] == {"64x64": 24}
    assert set(record["part_of"].values()) == {f"part{part:02d}" for part in range(12)}


def test_a_file_left_out_is_named_once(folder: Path) -> None:
    result = run(folder)
    for name in ("part99_cam1.png", "notes.txt"):
        assert (result.stdout + result.stderr).count(name) == 1


def test_of_many_files_left_out_the_first_are_named(folder: Path) -> None:
    for number in range(30):
        (folder / f"note{number:02}.txt").write_text("mine")
    lines = run(folder).stdout.splitlines()
    assert sum(line.startswith("left out") for line in lines) == 11
    assert lines[-1].endswith("22 more files (all with --json)")
    assert len(facts(folder)["left_out"]) == 32


def test_an_expression_decides(folder: Path) -> None:
    record = facts(folder, "--part-id", r"cam(\d)")
    assert record["parts"] == 2 and record["decided_by"] == "part-id"


def test_the_split_keeps_parts_together(folder: Path, tmp_path: Path) -> None:
    record = facts(folder, "--split", tmp_path / "s.csv", "--shares", "train=0.5,threshold=0.5")
    rows = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    assert len(rows) == record["images"]
    sets = {part: {row["set"] for row in rows if row["part"] == part} for part in
            record["part_of"].values()}  # fmt: skip
    assert all(len(names) == 1 for names in sets.values())
    assert sum(names == {"train"} for names in sets.values()) == 6


def test_an_odd_image_is_named_and_marked(folder: Path, tmp_path: Path) -> None:
    odd = folder / "part03_cam1.png"
    write_image(odd, part_image(seed=3) // 4 + 190)
    record = facts(folder, "--sheet", tmp_path / "sheet.png")
    assert list(record["odd"]) == [str(odd)] and "usually" in record["odd"][str(odd)]
    sheet = read_image(tmp_path / "sheet.png")
    assert sheet.shape == (12 * 96, 170 + 2 * 96, 3)
    assert (sheet[0, 170] == (60, 60, 255)).all()  # odd parts come first, with a red frame


def test_parts_of_one_image_share_a_row(tmp_path: Path) -> None:
    for number in range(14):
        write_image(tmp_path / f"{number}.png", part_image(seed=number))
    run(tmp_path, "--parts-from", "each", "--sheet", tmp_path / "out" / "sheet.png")
    assert read_image(tmp_path / "out" / "sheet.png").shape == (2 * 96, 170 + 12 * 96, 3)


def test_near_duplicates_of_different_parts_are_warned_about(folder: Path) -> None:
    write_image(folder / "part07_cam1.png", read_image(folder / "part05_cam2.png"))
    result = run(folder)
    assert "1 near-duplicates of other images" in result.stdout
    assert "part 'part07' and" in result.stderr and "of part 'part05'" in result.stderr
    assert list(facts(folder)["duplicate_of"]) == [str(folder / "part07_cam1.png")]


def test_too_few_parts_for_a_rate_are_warned_about(folder: Path) -> None:
    result = run(folder, "--false-alarm-rate", 0.05)
    assert "needs 59 parts" in result.stderr and result.exit_code == 0
    assert "needs" not in run(folder, "--false-alarm-rate", 0.3).stderr


def test_parts_that_looks_cannot_count_are_an_upper_bound(tmp_path: Path) -> None:
    for number in range(4):
        write_image(tmp_path / f"{number}.png", disc(number))
    record = facts(tmp_path)
    assert (record["parts"], record["upper_bound"]) == (4, True)
    assert record["second_exposures"] == {"tried": 4, "recognised": 0, "at_any_angle": False}
    done = run(tmp_path, "--false-alarm-rate", 0.05)
    assert "parts       at most 4 (found from the images)" in done.stdout
    assert "if there are so many and none of these parts is trained on" in done.stdout
    assert "4 parts is an upper bound" in done.stderr and "here are at most 4" in done.stderr
    stated = facts(tmp_path, "--parts-from", "each")
    assert stated["second_exposures"] is None and not stated["upper_bound"]


def test_deep_images_that_keep_few_grey_levels_are_warned_about(tmp_path: Path) -> None:
    for number in range(3):
        warm = 29000 + 20 * part_image(seed=number)[..., 0].astype(np.uint16)
        cv2.imwrite(str(tmp_path / f"{number}.png"), warm)
    done = run(tmp_path)
    assert done.exit_code == 0
    assert "keep 4 of 256 grey levels, since 16 bits" in done.stderr


@pytest.mark.parametrize("hw", [(8, 4200), (4200, 8)])
def test_strips_of_a_line_scan_are_compared_and_drawn(tmp_path: Path, hw: tuple[int, int]) -> None:
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 255, (*hw, 3), np.uint8)
        write_image(tmp_path / f"{number}.png", noise)
    record = facts(tmp_path, "--parts-from", "images", "--sheet", tmp_path / "sheet.png")
    assert (record["parts"], record["left_out"]) == (2, {})
    assert read_image(tmp_path / "sheet.png").any()


def test_one_image_is_one_part(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", part_image())
    assert facts(tmp_path)["parts"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--part-id", "("], "not a regular expression"),
        (["--part-id", r"\d"], "has no group"),
        (["--part-id", r"z(\d)"], "matches none of the 24 images"),
        (["--part-id", r"(\d)", "--parts-from", "images"], "exclude each other"),
        (["--parts-from", "table"], "no part can be read from table"),
        (["--sheet", "sheet.txt"], "ends in .png"),
        (["--split", "split.txt"], "a .csv or .yaml file"),
        (["--shares", "train"], "like train=0.8"),
        (["--shares", "a=1,a=2"], "got 'a=2'"),
        (["--split", "s.csv", "--shares", ",".join(f"s{n}=1" for n in range(13))], "12 parts"),
    ],
)
def test_what_cannot_be_done_is_refused(folder: Path, words: list[str], message: str) -> None:
    error = run(folder, *words).exception
    assert isinstance(error, EdgeAdError) and error.exit_code == 2 and message in str(error)


@pytest.mark.parametrize("words", [["--sheet", "a/sheet.png"], ["--split", "a/split.csv"]])
def test_a_file_that_cannot_be_written_is_refused_before_images_are_read(
    tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "a").touch()
    error = run(tmp_path / "no images", words[0], tmp_path / words[1]).exception
    assert isinstance(error, OutletLost) and "cannot be written" in str(error)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    error = run(tmp_path).exception
    assert isinstance(error, EdgeAdError) and "no images in it" in str(error)
