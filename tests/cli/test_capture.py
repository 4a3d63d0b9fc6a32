"""`edge-ad capture`, from a camera to a folder of good images."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from edge_ad.cli.capture_parts import FrameAtTrigger
from edge_ad.frame import Frame
from edge_ad.images import read_image, write_image
from edge_ad.parts import How, assign_parts
from edge_ad.source import open_source
from edge_ad.synthetic_line import SyntheticLine, SyntheticLineSpec
from tests.conftest import CompletedProcess, invoke
from tests.timing import LIMIT_S, wait_until

pytestmark = pytest.mark.timeout(60)
PATTERN = "pattern://?fps=0&defects=0&width=160&height=120&"


def capture(*words: object, code: int = 0) -> CompletedProcess:
    done = invoke("capture", *words)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def summary(done: CompletedProcess) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(done.stdout.splitlines()[0])
    return record


def test_whole_frames_are_saved_without_loss(tmp_path: Path) -> None:
    camera = PATTERN + "frames=5&seed=2"
    capture("--camera", camera, "-o", tmp_path / "good", "--roi", "20,20,60,60")
    line = SyntheticLine(SyntheticLineSpec(seed=2, size_wh=(160, 120), defects=0.0))
    files = sorted((tmp_path / "good").glob("*.png"))
    assert [file.name for file in files] == [f"frame-{number:06d}.png" for number in range(5)]
    for index, file in enumerate(files):
        assert (read_image(file) == line.frame_at(index).image).all()


def test_an_existing_folder_is_added_to(tmp_path: Path) -> None:
    (tmp_path / "frame-000007.png").write_bytes(b"mine")
    (tmp_path / "other.txt").write_text("mine")
    capture("--camera", PATTERN + "frames=2", "-o", tmp_path, "--min-difference", 0)
    names = sorted(path.name for path in tmp_path.iterdir() if path.name != "capture.jsonl")
    assert names == ["frame-000007.png", "frame-000008.png", "frame-000009.png", "other.txt"]
    assert (tmp_path / "frame-000007.png").read_bytes() == b"mine"


def test_the_part_of_each_image_is_noted(tmp_path: Path) -> None:
    for part in ("SN1", "SN2"):
        camera = PATTERN + f"frames=2&seed={part[-1]}"
        capture("--camera", camera, "-o", tmp_path, "--part", part, "--min-difference", 0)
    images = sorted(tmp_path.glob("*.png"))
    assignment = assign_parts(images)
    assert assignment.how is How.CAPTURE
    assert list(assignment.parts.values()) == ["SN1", "SN1", "SN2", "SN2"]
    lines = (tmp_path / "capture.jsonl").read_text().splitlines()
    assert [json.loads(line)["image"] for line in lines] == [path.name for path in images]


LIVE = "pattern://?fps=100&defects=0&width=160&height=120"


def at_lines(text: str, *words: object) -> CompletedProcess:
    """Capture with `--trigger enter`, as if the lines of `text` were typed."""
    with mock.patch.object(sys, "stdin", io.StringIO(text)):
        return capture("--trigger", "enter", *words)


def test_every_typed_line_takes_one_image_of_its_part(tmp_path: Path) -> None:
    done = at_lines("SN1\n\nSN1\n", "--camera", LIVE, "-o", tmp_path, "--json")
    totals = summary(done)
    assert (totals["kept"], totals["missed_triggers"]) == (3, 0)
    assert totals["stopped_by"] == "end of the triggers"
    assignment = assign_parts(sorted(tmp_path.glob("*.png")))
    first, second, third = assignment.parts.values()
    assert first == third == "SN1" and re.fullmatch(r"part-\d{8}T\d{9}Z", second)


def test_parts_that_look_alike_are_all_kept_with_a_trigger(tmp_path: Path) -> None:
    write_image(tmp_path / "frame-000000.png", read_image(_one_image(tmp_path / "first")))
    done = at_lines("\n\n", "--camera", LIVE, "-o", tmp_path, "--json")
    assert summary(done)["kept"] == 2 and summary(done)["earlier"] == 0


def _one_image(folder: Path) -> Path:
    capture("--camera", LIVE, "--count", 1, "-o", folder)
    return folder / "frame-000000.png"


def test_an_image_that_cannot_be_kept_is_said_at_its_trigger(tmp_path: Path) -> None:
    camera = LIVE + "&faults=black@0-100000"
    with mock.patch.object(sys, "stdin", io.StringIO("A\n")):
        done = capture("--trigger", "enter", "--camera", camera, "-o", tmp_path, code=5)
    assert "No image for a trigger: black" in done.stderr


def test_a_trigger_without_a_frame_in_time_is_missed(tmp_path: Path) -> None:
    def grab() -> Frame:
        return Frame(np.zeros((8, 8, 3), np.uint8), 0, time.monotonic(), "camera")

    with FrameAtTrigger("enter", 0.05, io.StringIO("A\n")) as parts:
        assert parts.take(grab()) is None  # from now on the camera delivers
        wait_until(lambda: parts.missed == 1)
        assert parts.take(grab()) is None and parts.ended


def test_lines_that_are_no_text_end_the_capture(tmp_path: Path) -> None:
    lines = io.TextIOWrapper(io.BytesIO(b"\xff\xfe\n"), encoding="utf-8")
    with mock.patch.object(sys, "stdin", lines):
        done = capture("--trigger", "enter", "--camera", LIVE, "-o", tmp_path)
    assert "are not text" in done.stderr and not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--camera", "0", "--trigger", "software"], "expected enter, or an input like"),
        (["--camera", "0", "--trigger", "enter", "--part", "SN1"], "exclude each other"),
        (["--camera", "0", "--trigger", "enter", "--every", "2"], "leave --every and --every-s"),
        (["--camera", "missing.mp4", "--trigger", "enter"], "is not live"),
        (["--camera", "genicam://?trigger=Line0", "--trigger", "enter"], "is triggered itself"),
    ],
)
def test_a_trigger_that_cannot_be_is_refused(
    tmp_path: Path, words: list[str], message: str
) -> None:
    assert message in capture(*words, "-o", tmp_path, code=2).stderr


def test_the_summary_accounts_for_every_frame(tmp_path: Path) -> None:
    camera = PATTERN + "frames=30&faults=black@3-5,freeze@10-15"
    done = capture("--camera", camera, "-o", tmp_path, "--every", 2, "--json")
    totals = summary(done)
    assert totals["invalid"] == 3
    assert totals["kept"] == len(list(tmp_path.glob("*.png"))) > 5
    assert totals["kept"] + totals["invalid"] + totals["skipped"] + totals["duplicate"] == 30
    assert totals["duplicate"] >= 2 and totals["stopped_by"] == "end of the source"
    assert f"kept {totals['kept']}" in done.stderr


@pytest.mark.parametrize(
    ("words", "kept", "stopped_by"),
    [
        (["--count", 4], 4, "count"),
        (["--max-mib", 1, "--min-difference", 0], None, "disk space"),
        (["--duration-s", 0.01], None, "duration"),
    ],
)
def test_a_limit_ends_the_capture(
    tmp_path: Path, words: list[object], kept: int | None, stopped_by: str
) -> None:
    totals = summary(capture("--camera", PATTERN + "frames=400", "-o", tmp_path, "--json", *words))
    assert totals["stopped_by"] == stopped_by
    assert kept is None or totals["kept"] == kept
    assert totals["mib"] < 1.2


@pytest.mark.timeout(60)
def test_a_limit_ends_a_capture_to_which_no_frame_comes(tmp_path: Path) -> None:
    (tmp_path / "incoming").mkdir()
    words = ("--camera", f"watch:{tmp_path / 'incoming'}", "-o", tmp_path / "good", "--json")
    totals = summary(capture(*words, "--duration-s", 0.2))
    assert (totals["kept"], totals["stopped_by"]) == (0, "duration")


def test_images_can_be_taken_from_a_folder(tmp_path: Path) -> None:
    with open_source(PATTERN + "frames=4") as source:
        for grab in source:
            assert isinstance(grab, Frame)
            write_image(tmp_path / f"{grab.index}.png", grab.image)
    (tmp_path / "broken.png").touch()
    words = ("--camera", tmp_path, "-o", tmp_path / "good", "--json", "--min-difference", 0)
    totals = summary(capture(*words))
    assert (totals["kept"], totals["invalid"]) == (4, 1)


def test_images_of_a_folder_keep_names_that_are_free(tmp_path: Path) -> None:
    with open_source(PATTERN + "frames=3") as source:
        images = [grab.image for grab in source if isinstance(grab, Frame)]
    for name, image in zip(("A17_top.bmp", "A17_top.png", "B02_top.png"), images, strict=True):
        write_image(tmp_path / "lot" / name, image)
    words = ("--camera", tmp_path / "lot", "-o", tmp_path / "good", "--min-difference", 0)
    for _ in range(2):
        capture(*words)
    names = sorted(path.name for path in (tmp_path / "good").glob("*.png"))
    assert names == ["A17_top.png", "B02_top.png", *(f"frame-00000{n}.png" for n in range(4))]
    noted = (tmp_path / "good/capture.jsonl").read_text()
    assert [json.loads(line)["image"] for line in noted.splitlines()][:2] == [
        "A17_top.png",
        "frame-000000.png",
    ]


def test_ctrl_c_finishes_with_the_summary(tmp_path: Path) -> None:
    camera = PATTERN.replace("fps=0", "fps=50") + "faults=stall@20-100000"
    command = [sys.executable, "-m", "edge_ad", "capture", "--camera", camera, "-o", str(tmp_path)]
    process = subprocess.Popen(
        [*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: list(tmp_path.glob("frame-*.png")))
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=LIMIT_S)
    totals = json.loads(out.splitlines()[0])
    assert process.returncode == 130, error
    assert totals["stopped_by"] == "signal"
    assert totals["kept"] == len(list(tmp_path.glob("frame-*.png"))) >= 1
    assert not list(tmp_path.glob("*.part*"))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--camera", "97"], 5, "no such camera"),
        (["--camera", "nowhere.mp4"], 5, "no such file"),
        (["--camera", PATTERN + "frames=9&faults=black@0-9"], 5, "none of its 9 frames"),
        (["--camera", PATTERN + "frames=9", "--every-s", 1], 2, "has no clock"),
        (["--camera", PATTERN, "--every", 2, "--every-s", 1], 2, "exclude each other"),
        (["--camera", PATTERN + "frames=9", "--roi", "0,0,900,9"], 2, "region of interest"),
        (["--camera", PATTERN + "frames=9", "--tiles", "2x2"], 2, "No such option"),
        (["--camera", "pattern://?speed=1"], 2, "no option 'speed'"),
    ],
)
def test_a_capture_that_fails_gives_the_reason(
    tmp_path: Path, words: list[object], code: int, message: str
) -> None:
    assert message in capture(*words, "-o", tmp_path / "good", code=code).stderr


def test_a_camera_lost_during_the_capture_still_gives_the_summary(tmp_path: Path) -> None:
    done = capture("--camera", PATTERN + "faults=lost@30", "-o", tmp_path, "--json", code=5)
    assert summary(done)["kept"] == len(list(tmp_path.glob("*.png"))) >= 3
    assert summary(done)["stopped_by"] == "an error"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_ends_with_exit_code_6(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    done = capture("--camera", PATTERN + "frames=2", "-o", tmp_path / "good", code=6)
    assert "cannot be written" in done.stderr


def test_a_file_in_place_of_the_folder_ends_with_exit_code_6(tmp_path: Path) -> None:
    (tmp_path / "good").write_text("mine")
    assert "good" in capture("--camera", PATTERN, "-o", tmp_path / "good" / "x", code=6).stderr
