"""Data sets of marked parts: what is in them, what is not and why, and that verbs take them."""

from __future__ import annotations

import io
import json
import os
import zipfile
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from edge_ad.dataset import labelled_images, normal_images
from edge_ad.images import write_image
from edge_ad.parts.listed import from_table
from edge_ad.store.labelled import REASONS, LabelledSelection, inside, select_labelled, write_zip
from edge_ad.store.notes import mark
from edge_ad.store.reading import EventFilter, Record, read_events
from edge_ad.store.samples import KeptSample, add_sample
from tests.store.weeks import Writer, at, writing

IMAGE = np.random.default_rng(0).integers(0, 256, (32, 40, 3)).astype(np.uint8)


def keep(line: Writer, part: int, camera: str = "top") -> None:
    """Keep the image of a part, as `--keep-samples-mib` does."""
    file = f"samples/part-{part:08d}-reject.png"
    (line.folder / "samples").mkdir(exist_ok=True)
    write_image(line.folder / file, IMAGE)
    sample = KeptSample(part, camera, at("06:00"), "reject", 0.9, 0.5, file, 100)
    add_sample(line.connection, sample, line.folder, 1 << 20)


def events(folder: Path) -> list[Record]:
    return list(read_events(folder, EventFilter(types=("reject", "alarm"))))


def unpack(selection: LabelledSelection, folder: Path) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(b"".join(write_zip(selection)))) as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
        return archive.namelist()


@pytest.fixture
def line(tmp_path: Path) -> Path:
    """Return a line with four rejects whose images are kept: two false alarms, two real."""
    with writing(tmp_path / "line") as writer:
        for part in range(1, 5):
            writer.reject("06:00", camera="top/../<x>")
            keep(writer, part)
    mark(tmp_path / "line", ["1", "2"], "false-alarm", "ann")
    mark(tmp_path / "line", ["3", "4"], "real", "ann")
    return tmp_path / "line"


def test_evaluation_reads_the_labels_that_people_gave(line: Path, tmp_path: Path) -> None:
    selection = select_labelled(line, events(line))
    assert (selection.good, selection.defect, selection.left_out) == (2, 2, [])
    names = unpack(selection, tmp_path / "set")
    assert names[0] == "test/good/top_x-part-00000001.png"
    found = labelled_images(tmp_path / "set")
    assert found.layout == "mvtec"
    assert [(sample.kind, sample.masks) for sample in found.samples] == [
        *[("good", ())] * 2,
        *[("defect", ())] * 2,
    ]


def test_training_finds_the_false_alarms_as_normal_images(line: Path, tmp_path: Path) -> None:
    unpack(select_labelled(line, events(line), "train"), tmp_path / "set")
    assert [path.parent.name for path in normal_images(tmp_path / "set")] == ["good", "good"]


def test_events_without_a_mark_or_an_image_are_listed_with_the_reason(
    line: Path, tmp_path: Path
) -> None:
    with writing(line) as writer:
        writer.reject("06:01", part=5)
        writer.reject("06:02", part=6)
    mark(line, [str(events(line)[-1]["seq"])], "real", "ann")
    selection = select_labelled(line, events(line))
    reasons = [reason for _, reason in selection.left_out]
    assert reasons == ["unmarked", "no_image"]
    unpack(selection, tmp_path / "set")
    about = [json.loads(row) for row in (tmp_path / "set/events.jsonl").read_text().splitlines()]
    assert [row.get("left_out", "") for row in about] == [
        "",
        "",
        "",
        "",
        *(REASONS[reason] for reason in reasons),
    ]


def test_an_alarm_and_its_part_are_one_image_unless_marks_disagree(line: Path) -> None:
    with writing(line) as writer:
        writer.alarm("06:03", part=1, peak_part=1)
        writer.alarm("06:04", name="a-2", part=9, peak_part=3)
    mark(line, ["a-1"], "false-alarm", "ann")
    mark(line, ["a-2"], "false-alarm", "ann")
    selection = select_labelled(line, events(line))
    assert (selection.good, selection.defect) == (2, 1)
    assert [reason for _, reason in selection.left_out] == ["contradiction"]


def test_frames_of_one_alarm_are_one_part(tmp_path: Path) -> None:
    with writing(tmp_path / "line") as writer:
        writer.reject("06:00", frame=50)
        for frame in (100, 101):
            writer.reject("06:00", frame=frame)
        writer.alarm("06:00", part=3, peak_part=3, frame=101)
        writer.reject("06:00", frame=102)
        writer.alarm("06:00", "end", part=4, peak_part=3, frame=105)
        writer.reject("06:01", frame=300)
        for part in range(1, 6):
            keep(writer, part)
    mark(tmp_path / "line", ["1", "2", "3", "5", "7"], "false-alarm", "ann")
    selection = select_labelled(tmp_path / "line", events(tmp_path / "line"), "train")
    assert [image.part for image in selection.images] == ["part-1", *["a-1"] * 3, "part-5"]
    unpack(selection, tmp_path / "set")
    images = normal_images(tmp_path / "set/train/good")
    parts, left_out = from_table(images, tmp_path / "set/train/good") or ({}, {})
    assert len(set(parts.values())) == 3 and left_out == {}


def test_a_part_of_an_earlier_run_is_not_one_of_a_later_alarm(tmp_path: Path) -> None:
    with writing(tmp_path / "line") as writer:
        writer.reject("06:00", frame=102)  # frames begin again with each run
        for _ in range(12):
            writer.reject("06:01", camera="side")
        writer.reject("06:02", frame=101)
        writer.alarm("06:02", part=14, peak_part=14, frame=101)
        for part in (1, 14):
            keep(writer, part)
    mark(tmp_path / "line", ["1", "14"], "false-alarm", "ann")
    selection = select_labelled(tmp_path / "line", events(tmp_path / "line"), "train")
    assert [image.part for image in selection.images] == ["part-1", "a-1"]


def test_an_image_of_an_inspected_folder_is_taken_if_it_is_still_the_same(tmp_path: Path) -> None:
    source = tmp_path / "parts"
    source.mkdir()
    with writing(tmp_path / "line") as writer:
        for name in ("a.png", "b.png", "../line/line.db", "gone.png"):
            writer.reject("06:00", source=str(source), file=name)
    before = datetime.fromisoformat(at("05:00")).timestamp()
    for name, when in (("a.png", before), ("b.png", before + 7200)):
        write_image(source / name, IMAGE)
        os.utime(source / name, (when, when))
    mark(tmp_path / "line", ["1", "2", "3", "4"], "real", "ann")
    selection = select_labelled(tmp_path / "line", events(tmp_path / "line"))
    assert [image.file for image in selection.images] == [source / "a.png"]
    assert len(selection.left_out) == 3


def test_an_image_deleted_meanwhile_is_left_out_of_the_archive(line: Path, tmp_path: Path) -> None:
    selection = select_labelled(line, events(line))
    (line / "samples/part-00000001-reject.png").unlink()
    names = unpack(selection, tmp_path / "set")
    assert len([name for name in names if name.endswith(".png")]) == 3
    assert '"left_out": "its image cannot be read' in (tmp_path / "set/events.jsonl").read_text()


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/../../secret", "link", "", "no\0file", "x" * 5000]
)
def test_no_name_leads_out_of_a_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    assert inside(folder, name) is None
