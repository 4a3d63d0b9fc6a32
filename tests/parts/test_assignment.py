"""What decides the part of an image."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.errors import DataError
from edge_ad.images import write_image
from edge_ad.parts import How, PartAssignment, assign_parts, reading
from tests.conftest import part_image
from tests.parts.faces import face, write_faces


def _images(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.png"))


def _partition(assignment: PartAssignment) -> set[frozenset[str]]:
    return {frozenset(path.stem for path in paths) for paths in assignment.groups().values()}


@pytest.mark.parametrize("design", [False, True])
def test_parts_are_found_under_other_light_place_and_turn(tmp_path: Path, *, design: bool) -> None:
    write_faces(tmp_path, 6, design=design)
    assignment = assign_parts(_images(tmp_path))
    assert assignment.how is How.IMAGES and not assignment.doubt and not assignment.rule
    assert assignment.recognition is not None and assignment.recognition.recognises_half
    assert not assignment.is_upper_bound
    expected = {frozenset(f"{part + 6 * turn:03d}" for turn in range(3)) for part in range(6)}
    assert _partition(assignment) == expected


def test_parts_of_one_design_are_not_joined(tmp_path: Path) -> None:
    for part in range(12):
        write_image(tmp_path / f"{part}.png", face(part, noise=part, design=True))
    assert len(assign_parts(_images(tmp_path)).groups()) == 12


def test_images_of_one_part_alone_are_one_part_in_doubt(tmp_path: Path) -> None:
    for number in range(6):
        write_image(tmp_path / f"{number}.png", face(1, gain=0.6 + 0.1 * number, noise=number))
    assignment = assign_parts(_images(tmp_path))
    assert len(assignment.groups()) == 1 and "--part-id" in assignment.doubt


def test_a_long_comparison_of_many_images_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_faces(tmp_path, 2)
    monkeypatch.setattr(reading, "_MANY", 7)
    assign_parts(_images(tmp_path))
    assert not caplog.messages
    monkeypatch.setattr(reading, "_MANY", 6)
    assign_parts(_images(tmp_path), how=How.EACH)
    assert not caplog.messages
    assign_parts(_images(tmp_path))
    assert "comparing 6 images" in caplog.text and "about 1 min" in caplog.text


def test_a_chain_of_overlapping_views_is_not_one_part(tmp_path: Path) -> None:
    """Each image shows half of the last one and something new, like a belt that moves."""
    belt = [face(part) for part in range(30)]
    for number in range(29):
        left, right = belt[number][:, 100:], belt[number + 1][:, :100]
        both = belt[number].copy()
        both[:, :100], both[:, 100:] = left, right
        write_image(tmp_path / f"{number:02d}.png", both)
    assert len(assign_parts(_images(tmp_path)).groups()) > 10


@pytest.mark.slow
def test_frames_of_a_recording_are_not_as_many_parts(tmp_path: Path) -> None:
    """Three parts pass a camera, each in view for eight frames, between them an empty belt."""
    for number in range(27):
        part, step = divmod(number, 9)
        scene = face(99, noise=number)
        if step < 8:
            scene[40:120, 10 * step : 10 * step + 60] = face(part, gain=1.5)[40:120, :60]
        write_image(tmp_path / f"{number:02d}.png", scene)
    assignment = assign_parts(_images(tmp_path))
    assert len(assignment.groups()) <= 9 and "recording" in assignment.doubt
    assert len(assign_parts(_images(tmp_path), how=How.EACH).groups()) == 27


@pytest.mark.slow
def test_variants_of_a_product_one_after_the_other_are_no_recording(tmp_path: Path) -> None:
    """Eight parts of each variant are alike in the large; their surfaces are not."""
    for number in range(24):
        shade = np.random.default_rng(number // 8).choice([-60.0, 60.0], (8, 10))
        image = face(number, noise=number) / 2 + 64 + cv2.resize(shade, (200, 160))[..., None]
        write_image(tmp_path / f"{number:02d}.png", image.clip(0, 255).astype(np.uint8))
    assignment = assign_parts(_images(tmp_path))
    assert len(assignment.groups()) == 24 and not assignment.doubt


def test_near_duplicates_are_of_one_part_even_without_texture(tmp_path: Path) -> None:
    for number, level in enumerate((40, 40, 120, 200)):
        write_image(tmp_path / f"{number}.png", part_image(seed=number) // 16 + level)
    assignment = assign_parts(_images(tmp_path))
    groups = _partition(assignment)
    assert frozenset({"0", "1"}) in groups and len(groups) == 3
    assert list(assignment.groups()) == ["0", "2", "3"], "a part has its first image's name"


def test_a_table_decides_and_names_what_it_lacks(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_image(tmp_path / f"{name}.png", part_image())
    (tmp_path / "parts.csv").write_text("\ufeffimage;part\na.png;p1\nb.png;p1\nx.png;p2\n", "utf-8")
    assignment = assign_parts(_images(tmp_path))
    assert assignment.how is How.TABLE and _partition(assignment) == {frozenset({"a", "b"})}
    assert [path.name for path in assignment.left_out] == ["c.png"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "expected a first line with the columns"),
        ("photo,part\na.png,1\n", "expected a first line with the columns"),
        ("image,part\na.png,\n", "row 2: expected an image and its part"),
        ("image,part\na.png\n", "row 2: expected an image and its part"),
        ("image,part\na.png,1\na.png,2\n", "row 3: 'a.png' is of part '2' here"),
        ("image,part\nz.png,1\n", "lists none of the 1 images"),
    ],
)
def test_an_unfit_table_is_refused(tmp_path: Path, table: str, message: str) -> None:
    write_image(tmp_path / "a.png", part_image())
    (tmp_path / "parts.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        assign_parts(_images(tmp_path))


def test_sub_folders_are_parts(tmp_path: Path) -> None:
    for name in ("p1/a", "p1/b", "p2/a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_image(tmp_path / f"{name}.png", part_image())
    assignment = assign_parts(_images(tmp_path))
    assert assignment.how is How.FOLDERS and list(assignment.groups()) == ["p1", "p2"]
    assert not assignment.doubt


def test_sub_folders_beside_images_are_no_parts(tmp_path: Path) -> None:
    for name in ("p1/a", "p2/a", "b"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_image(tmp_path / f"{name}.png", part_image())
    assert assign_parts(_images(tmp_path), root=tmp_path).how is not How.FOLDERS


def test_large_sub_folders_may_be_days_and_not_parts(tmp_path: Path) -> None:
    paths = [tmp_path / day / f"{number}.png" for day in ("mon", "tue") for number in range(10)]
    assignment = assign_parts(paths, root=tmp_path)
    assert len(assignment.groups()) == 2
    assert "half of them hold 10 images or more" in assignment.doubt
    assert "--parts-from each" in assignment.doubt
    assert len(assign_parts(paths, root=tmp_path, how=How.EACH).groups()) == 20


def test_what_capture_wrote_decides_where_it_knows_every_part(tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path / f"frame-{number}.png", part_image(seed=number))
    lines = [{"image": f"frame-{number}.png", "part": f"SN{number // 2}"} for number in range(3)]
    (tmp_path / "capture.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assignment = assign_parts(_images(tmp_path))
    assert assignment.how is How.CAPTURE and list(assignment.groups()) == ["SN0", "SN1"]
    (tmp_path / "capture.jsonl").write_text("no json\n")
    with pytest.raises(DataError, match="line 1: not a record"):
        assign_parts(_images(tmp_path))


def _note(folder: Path, *facts: dict[str, str]) -> None:
    lines = [json.dumps({"image": f"{number}.png", **one}) for number, one in enumerate(facts)]
    (folder / "capture.jsonl").write_text("\n".join(lines) + '\n{"image": "cut o')


def test_images_without_a_noted_part_are_joined_by_what_they_show(tmp_path: Path) -> None:
    for number, part in enumerate((1, 2, 1, 3)):
        write_image(tmp_path / f"{number}.png", face(part, gain=1 - 0.1 * number, noise=number))
    _note(tmp_path, {"part": "A"}, {"part": "B"}, {}, {})
    assignment = assign_parts(_images(tmp_path))
    expected = {frozenset("02"), frozenset("1"), frozenset("3")}
    assert assignment.how is How.CAPTURE and _partition(assignment) == expected


def test_bursts_of_capture_times_are_parts(tmp_path: Path) -> None:
    times = [0.0, 0.2, 30.0, 30.2, 50.0, 50.2]
    for number in range(6):
        write_image(tmp_path / f"{number}.png", part_image(seed=number))
    _note(tmp_path, *({"time_utc": f"2026-11-28T14:35:{time:06.3f}+00:00"} for time in times))
    assignment = assign_parts(_images(tmp_path))
    assert assignment.how is How.CAPTURE
    assert _partition(assignment) == {frozenset("01"), frozenset("23"), frozenset("45")}
    _note(tmp_path, *({"time_utc": f"2026-11-28T14:35:{10 * n:02d}+00:00"} for n in range(6)))
    assert assign_parts(_images(tmp_path)).how is How.IMAGES  # one image every 10 s


def test_series_in_names_that_show_one_part_are_joined(tmp_path: Path) -> None:
    for number, part in ((1, 0), (500, 1), (900, 2), (1400, 0), (1900, 3)):
        for exposure in (1, 2):
            image = face(part, gain=0.5 * exposure, noise=number + exposure)
            write_image(tmp_path / f"exp{exposure}_num_{number + exposure}.png", image)
    assignment = assign_parts(_images(tmp_path))
    assert assignment.how is How.NAMES and "1 of these joined" in assignment.detail
    assert len(assignment.groups()) == 4


def test_every_image_can_be_made_a_part(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "1.png", tmp_path / "b" / "1.png", tmp_path / "b" / "2.png"]
    assignment = assign_parts(paths, root=tmp_path, how=How.EACH)
    assert list(assignment.parts.values()) == ["a/1.png", "b/1.png", "2"]


def test_an_image_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", part_image())
    (tmp_path / "b.png").write_bytes(b"no image")
    assert [path.name for path in assign_parts(_images(tmp_path)).left_out] == ["b.png"]
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match="none of the 1 images can be read"):
        assign_parts(_images(tmp_path))
