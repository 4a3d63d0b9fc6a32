"""A folder of images as users have them: `run` judges, refuses or names every file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from tests.conftest import MakeEngine, invoke, part_image
from tests.images.files import encoded


def test_every_file_is_judged_invalid_or_left_out(tmp_path: Path, make_engine: MakeEngine) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    part = part_image()
    for name in ("a.png", "b.BMP", "c.tiff"):
        cv2.imwrite(str(folder / name), part)
    (folder / "d.jfif").write_bytes(encoded(part, "JPEG", orientation=3))
    cv2.imwrite(str(folder / "e-deep.png"), np.full((64, 64), 3000, np.uint16))
    cv2.imwrite(str(folder / "f-tiny.png"), part[:1, :1])
    cv2.imwrite(str(folder / "g-portrait.png"), np.full((64, 20, 3), 90, np.uint8))
    alpha = np.dstack([part, np.full((64, 64, 1), 9, np.uint8)])
    cv2.imwrite(str(folder / "h-alpha.png"), alpha)
    for index in range(12):
        (folder / f"note-{index:02d}.txt").touch()
    done = invoke(
        "run",
        "--engine",
        make_engine(),
        "--camera",
        folder,
        "--roi",
        "30,0,30,60",
        "--threshold",
        "0.5",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    *records, summary = map(json.loads, done.stdout.splitlines())
    reasons = {r["file"]: r.get("reason", "") for r in records if r["type"] == "inspection"}
    assert [name for name, reason in reasons.items() if not reason] == [
        "a.png", "b.BMP", "c.tiff", "d.jfif"
    ]  # fmt: skip
    assert "e-deep.png: values have 16 bits" in reasons["e-deep.png"]
    assert "too small: 1x1" in reasons["f-tiny.png"]
    assert "not inside the frame, which is 20x64" in reasons["g-portrait.png"]
    assert "h-alpha.png: some pixels are transparent" in reasons["h-alpha.png"]
    assert (summary["frames"], summary["judged"], summary["invalid"]) == (8, 4, 4)
    assert summary["left_out"] == 12 and summary["left_out_files"][9] == "note-09.txt"
    assert len(list(folder.iterdir())) == 8 + summary["left_out"]


def test_left_out_files_of_several_folders_are_not_mixed_up(
    tmp_path: Path, make_engine: MakeEngine
) -> None:
    words: list[object] = ["run", "--engine", make_engine(), "--json"]
    for name in ("left", "right"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "a.png"), part_image())
        (tmp_path / name / "b.tga").touch()
        words += ["--camera", tmp_path / name]
    summary = json.loads(invoke(*words).stdout.splitlines()[-1])
    assert summary["left_out"] == 2 and len(set(summary["left_out_files"])) == 2
    assert all(name.endswith("/b.tga") for name in summary["left_out_files"])
    assert [camera["left_out_files"] for camera in summary["cameras"]] == [["b.tga"], ["b.tga"]]


def test_a_grey_image_is_invalid_where_the_images_of_the_threshold_have_colour(
    tmp_path: Path, make_engine: MakeEngine, make_folder: Callable[..., Path]
) -> None:
    engine, normal = make_engine(threshold=None), make_folder("normal", 30)
    for index, path in enumerate(sorted(normal.iterdir())):
        rng = np.random.default_rng(index)
        cv2.imwrite(
            str(path), rng.integers(20, 60 + 4 * (index * 7 % 30), (64, 64, 3)).astype(np.uint8)
        )
    done = invoke("threshold", engine, "--images", normal, "--parts-from", "each")
    assert done.returncode == 0, done.stderr
    camera = make_folder("camera", 3)
    grey = cv2.imread(str(camera / "001.png"), cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    cv2.imwrite(str(camera / "001.png"), grey)
    done = invoke("run", "--engine", engine, "--camera", camera, "--json")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    reasons = [record.get("reason", "") for record in records if record["type"] == "inspection"]
    assert [reason.partition(":")[0] for reason in reasons] == ["", "grey", ""]
