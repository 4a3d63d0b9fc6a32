"""Normal images and labelled images of folders, and what is refused."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.dataset import images_below, labelled_images, normal_images, read_truth, readable
from edge_ad.errors import DataError
from edge_ad.images import read_image
from edge_ad.images.listing import NAMED
from tests.dataset.folders import SIDE, block, mask, put, save
from tests.images.files import encoded, stored_as


@pytest.mark.parametrize("place", ["train/good", "good", ".", "Train/Normal", "OK"])
def test_normal_images_are_listed_from_each_layout(tmp_path: Path, place: str) -> None:
    put(tmp_path, f"{place}/b.png", f"{place}/a.PNG")
    assert [path.name for path in normal_images(tmp_path)] == ["a.PNG", "b.png"]


@pytest.mark.parametrize("exists", [True, False], ids=["empty", "missing"])
def test_a_folder_without_normal_images_is_an_error(tmp_path: Path, *, exists: bool) -> None:
    folder = tmp_path / "good"
    if exists:
        folder.mkdir()
    problem = "no images in it. Collect some with: edge-ad capture" if exists else ""
    with pytest.raises(DataError, match=f"{folder}.*{problem}"):
        normal_images(folder)


def test_folders_below_a_plain_folder_are_read_where_none_of_its_images_is_in_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "p1/a.png", "p1/closer/b.png", "p2/a.png", ".trash/c.png", "@eaDir/d.png")
    names = [path.relative_to(tmp_path).as_posix() for path in normal_images(tmp_path)]
    assert names == ["p1/a.png", "p1/closer/b.png", "p2/a.png"] and not caplog.text
    put(tmp_path / "set", "train/good/p1/a.png", "train/good/p2/a.png", "test/dent/d.png")
    assert [path.parent.name for path in normal_images(tmp_path / "set")] == ["p1", "p2"]
    put(tmp_path, "e.png")
    assert [path.name for path in normal_images(tmp_path)] == ["e.png"]
    assert "p1" in caplog.text and "@eaDir" not in caplog.text


def test_neither_hidden_folders_nor_its_own_name_spoil_a_plain_folder(tmp_path: Path) -> None:
    put(tmp_path / "ng", "p1/a.png", ".old/fail/b.png")
    assert [path.name for path in normal_images(tmp_path / "ng")] == ["a.png"]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (("a/1.png", "fail/1.png"), "a folder fail"),
        (("line 1/a/1.png", "line 1/NG_2/1.png"), "a folder line 1/NG_2"),
        (("a/1.png", "不良品/1.png"), "a folder 不良品"),
        (("a/1.png", "n.i.O./1.png"), "a folder n.i.O."),
        (("bottle/train/good/1.png", "cap/train/good/1.png"), r"bottle holds .* \(MVTec AD layout"),
        (("a/pass/1.png", "a/other/1.png"), r"a holds labelled images \(Plain folders layout"),
    ],
)
def test_folders_of_other_than_normal_images_are_refused(
    tmp_path: Path, files: tuple[str, ...], reason: str
) -> None:
    """All below would be trained on as good parts."""
    put(tmp_path, *files)
    with pytest.raises(DataError, match=reason):
        normal_images(tmp_path)


@pytest.mark.parametrize(("normal", "other"), [("良品", "不良"), ("pass", "fail"), ("iO", "niO")])
def test_folders_of_normal_images_are_known_in_other_languages(
    tmp_path: Path, normal: str, other: str
) -> None:
    put(tmp_path, f"{normal}/a.png", f"{other}/b.png")
    assert [path.name for path in normal_images(tmp_path)] == ["a.png"]
    assert [sample.kind for sample in labelled_images(tmp_path)] == ["good", other]


def test_a_data_set_without_training_images_has_no_normal_images(tmp_path: Path) -> None:
    put(tmp_path, "test/good/g.png", "test/dent/d.png")
    with pytest.raises(DataError, match="no normal training images"):
        normal_images(tmp_path)


@pytest.mark.parametrize("normal", ["good", "Good", "ok", "NORMAL"])
@pytest.mark.parametrize("name", ["d_mask.png", "d_MASK.PNG", "d.bmp", "D_Mask.png"])
def test_test_images_come_with_their_masks(tmp_path: Path, normal: str, name: str) -> None:
    put(tmp_path, f"test/{normal}/g.png", "test/dent/d.png")
    mask(tmp_path, f"Ground_Truth/Dent/{name}")
    normal_image, dent = labelled_images(tmp_path)
    assert (normal_image.kind, normal_image.anomalous, normal_image.masks) == ("good", False, ())
    assert (dent.kind, dent.anomalous) == ("dent", True)
    assert [path.name for path in dent.masks] == [name]


def test_a_type_without_any_mask_is_accepted(tmp_path: Path) -> None:
    put(tmp_path, "test/good/g.png", "test/dent/d.png")
    labelled = labelled_images(tmp_path)
    assert labelled[1].masks == () and labelled.masked == 0
    assert read_truth(labelled[1], (SIDE, SIDE)) is None


def faulty(tmp_path: Path) -> Path:
    """Write a data set with one dent whose label is right."""
    put(tmp_path, "test/good/g.png", "test/dent/d.png", "test/dent/e.png")
    mask(tmp_path, "ground_truth/dent/d_mask.png", "ground_truth/dent/e_mask.png")
    return tmp_path


def _inverted(folder: Path) -> None:
    save(folder / "ground_truth/dent/e_mask.png", 255 - block())


def _from_one(folder: Path) -> None:
    save(folder / "ground_truth/dent/e_mask.png", 1 + block(1))


def _marked_normal(folder: Path) -> None:
    mask(folder, "ground_truth/good/g_mask.png")


_FAULTS = {
    "orphan": (lambda f: mask(f, "ground_truth/dent/x_mask.png"), "x_mask.*; expected IMAGE.png"),
    "orphan type": (lambda f: mask(f, "ground_truth/gone/x.png"), "gone/x.png.*without an image"),
    "missing": (lambda f: put(f, "test/dent/bare.png"), r"bare\.png: no mask, though 2"),
    "empty": (lambda f: mask(f, "ground_truth/dent/e_mask.png", value=0), r"e_mask\.png.*empty"),
    "inverted": (_inverted, r"e_mask\.png.*inverted: 94%"),
    "classes from one": (_from_one, r"e_mask\.png.*inverted: 100%"),
    "size": (
        lambda f: save(f / "ground_truth/dent/e_mask.png", block()[:, 4:]),
        rf"e_mask\.png: a mask of {SIDE - 4}x{SIDE} for an image of {SIDE}x{SIDE}",
    ),
    "normal": (_marked_normal, r"g_mask\.png: marks 36 pixels, though g\.png is a normal image"),
    "damaged": (
        lambda f: (f / "ground_truth/dent/e_mask.png").write_bytes(b"no image"),
        r"e_mask\.png: not an image",
    ),
    "two images": (lambda f: put(f, "test/dent/d.jpg"), r"d_mask\.png: several images go by"),
}


@pytest.mark.parametrize("fault", list(_FAULTS))
def test_truth_that_cannot_be_used_is_refused_by_name(tmp_path: Path, fault: str) -> None:
    change, message = _FAULTS[fault]
    change(faulty(tmp_path))  # type: ignore[no-untyped-call]
    with pytest.raises(DataError, match=message):
        labelled_images(tmp_path)


@pytest.mark.parametrize("fault", list(_FAULTS))
def test_what_is_left_out_on_demand_is_counted_and_named(tmp_path: Path, fault: str) -> None:
    change, _ = _FAULTS[fault]
    change(faulty(tmp_path))  # type: ignore[no-untyped-call]
    if fault == "normal":
        put(tmp_path, "test/good/h.png")
    labelled = labelled_images(tmp_path, leave_out_bad_masks=True)
    assert labelled.left_out
    assert labelled.listed == len(labelled) + len(labelled.left_out)
    for sample in labelled:
        truth = read_truth(sample, (SIDE, SIDE))
        assert truth is not None and bool(truth.any()) == sample.anomalous


def test_ten_faults_are_named_and_the_rest_is_counted(tmp_path: Path) -> None:
    faulty(tmp_path)
    mask(tmp_path, *(f"ground_truth/dent/{name}_mask.png" for name in "klmnopqrstuvw"))
    with pytest.raises(DataError, match=r"13 files.*and 3 more") as error:
        labelled_images(tmp_path)
    assert str(error.value).count("without an image") == NAMED


def test_a_large_defect_is_not_an_inverted_mask(tmp_path: Path) -> None:
    """Marks 60 % of the image, but leaves half of its rim."""
    faulty(tmp_path)
    large = np.zeros((SIDE, SIDE), np.uint8)
    large[: SIDE * 6 // 10] = 255
    save(tmp_path / "ground_truth/dent/e_mask.png", large)
    assert labelled_images(tmp_path).masked == 2


def test_files_that_are_no_images_are_left_out_and_named(tmp_path: Path) -> None:
    faulty(tmp_path)
    for name in ("photo.heic", "movie.mp4", "notes.txt", ".hidden"):
        (tmp_path / "test" / "dent" / name).write_bytes(b"GIF89a")
    names = sorted(Path(name).name for name in labelled_images(tmp_path).left_out)
    assert names == ["movie.mp4", "notes.txt", "photo.heic"], "hidden files do not count"


def test_images_that_no_type_folder_holds_are_left_out(tmp_path: Path) -> None:
    put(faulty(tmp_path), "test/loose.png")
    assert list(labelled_images(tmp_path).left_out) == [str(tmp_path / "test" / "loose.png")]


@pytest.mark.parametrize("names", [[], ["test/dent/d.png"]], ids=["no test", "no good"])
def test_other_structures_are_errors(tmp_path: Path, names: list[str]) -> None:
    put(tmp_path, *names)
    with pytest.raises(DataError, match="test/good"):
        labelled_images(tmp_path)


def test_a_folder_of_data_sets_asks_for_one(tmp_path: Path) -> None:
    for name, problem in (
        ("bottle", r"holds a data set\. Name that: \S+bottle$"),
        ("cable", r"holds 2 data sets \(bottle, cable\)"),
    ):
        put(tmp_path, f"{name}/test/good/g.png", f"{name}/train/good/g.png")
        with pytest.raises(DataError, match=problem):
            labelled_images(tmp_path)


def test_the_test_part_of_a_data_set_asks_for_the_whole(tmp_path: Path) -> None:
    faulty(tmp_path)
    with pytest.raises(DataError, match="test part of a data set"):
        labelled_images(tmp_path / "test")


def test_masks_beside_images_are_never_parts(tmp_path: Path) -> None:
    put(tmp_path, "sub/a.jpg", "sub/b_mask.png")
    mask(tmp_path, "sub/a_mask.png", "labels/a.png", "ground_truth/dent/a.png")
    assert [path.name for path in images_below(tmp_path)] == ["a.jpg", "b_mask.png"]


def _turned(path: Path, upright: NDArray[np.uint8], orientation: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(stored_as(upright, orientation), "PNG", orientation))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_image_and_mask_turn_alike(tmp_path: Path, orientation: int) -> None:
    """Orientation tags of an image, of its mask, or of both leave the truth upright."""
    upright = np.zeros((SIDE, SIDE + 8), np.uint8)
    upright[4:9, 3:20] = 255
    shown = np.where(upright > 0, 200, 60).astype(np.uint8)
    put(tmp_path, "test/good/g.png")
    pairs = {"a": (orientation, 1), "b": (1, orientation), "c": (orientation, orientation)}
    for name, turns in pairs.items():
        _turned(tmp_path / f"test/dent/{name}.png", shown, turns[0])
        _turned(tmp_path / f"ground_truth/dent/{name}_mask.png", upright, turns[1])
    for sample in labelled_images(tmp_path)[1:]:
        image = read_image(sample.path)
        truth = read_truth(sample, (image.shape[0], image.shape[1]))
        assert truth is not None and np.array_equal(truth, image[:, :, 0] > 100)


def test_a_mask_of_the_stored_pixels_of_a_turned_image_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "test/good/g.png", "test/dent/d.png")
    wide = np.zeros((SIDE, SIDE + 8), np.uint8)
    wide[4:9, 3:20] = 255
    (tmp_path / "test/dent/d.png").write_bytes(encoded(wide, "PNG", 6))
    save(tmp_path / "ground_truth/dent/d.png", wide)
    with pytest.raises(DataError, match="turned like the image"):
        labelled_images(tmp_path)


def test_unreadable_images_are_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        images = list(readable([tmp_path / "a.png", tmp_path / "b.png"]))
    assert [path.name for path, _ in images] == ["a.png"]
    assert "b.png" in caplog.text


def test_all_unreadable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(DataError, match="none of the 1 images"):
        list(readable([tmp_path / "b.png"]))


def test_many_unreadable_images_are_counted_after_the_first_ten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "a.png")
    broken = [tmp_path / f"{number}.png" for number in range(14)]
    for path in broken:
        path.write_bytes(b"")
    left_out: dict[str, str] = {}
    assert len(list(readable([*broken, tmp_path / "a.png"], left_out))) == 1
    assert len(caplog.records) == 11 and "4 more" in caplog.records[-1].getMessage()
    assert len(left_out) == 14
