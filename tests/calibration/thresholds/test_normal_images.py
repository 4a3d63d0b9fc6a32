"""Images that were trained on are refused; those set aside are used alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.calibration.thresholds.normal_images import choose_images
from edge_ad.data_split import DataSplit, ImageSet
from edge_ad.errors import GateFailed
from edge_ad.images import read_image
from edge_ad.parts import PartAssignment, assign_parts, identify
from tests.part_images import part

BY_ID = r"part(\d+)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of ten parts with three images each."""
    for number in range(10):
        for view in range(3):
            path = tmp_path / "all" / f"part{number}_{view}.png"
            path.parent.mkdir(exist_ok=True)
            cv2.imwrite(str(path), part(10 * number + view, (24, 32)))
    return tmp_path / "all"


def assigned(folder: Path, part_id: str = BY_ID) -> PartAssignment:
    return assign_parts(sorted(folder.iterdir()), part_id=part_id, root=folder)


def image_set(folder: Path, parts: Iterable[int], views: Iterable[int] = (0, 1, 2)) -> ImageSet:
    paths = [folder / f"part{number}_{view}.png" for number in parts for view in views]
    return ImageSet.of(map(identify, paths), map(str, parts))


def split(folder: Path, *, rule: str = f"--part-id {BY_ID}", aside: int = 3) -> DataSplit:
    """Return parts 0 to 4 trained on, two for choosing, and up to three set aside."""
    return DataSplit(
        rule=rule,
        trained=image_set(folder, range(5)),
        selection=image_set(folder, range(5, 7)),
        threshold=image_set(folder, range(7, 7 + aside)),
    )


def keep(folder: Path, *parts: int) -> None:
    for path in folder.iterdir():
        if not path.name.startswith(tuple(f"part{number}_" for number in parts)):
            path.unlink()


def test_without_a_record_all_images_count(folder: Path) -> None:
    chosen = choose_images(assigned(folder), None)
    assert len(chosen.parts) == 30 and chosen.set_aside == 0


def test_of_the_training_folder_the_parts_set_aside_are_used_alone(folder: Path) -> None:
    chosen = choose_images(assigned(folder), split(folder))
    assert {path.name[:5] for path in chosen.paths} == {"part7", "part8", "part9"}
    assert chosen.set_aside == 9 and "9 images of 3 parts" in chosen.notes[0]
    assert len(chosen.notes) == 1


def test_images_that_joined_the_training_folder_later_are_counted_apart(folder: Path) -> None:
    chosen = choose_images(assigned(folder), split(folder, aside=1))
    assert {path.name[:5] for path in chosen.paths} == {"part7"}
    assert (
        "6 images show parts that the training did not have; give them a folder"
        in (chosen.notes[1])
    )


@pytest.mark.parametrize("parts", [(0, 1), (5, 6), (0, 5)])
def test_images_that_were_trained_on_or_chosen_by_are_refused(
    folder: Path, parts: tuple[int, int]
) -> None:
    record = split(folder)
    keep(folder, *parts)
    with pytest.raises(GateFailed, match=f"2 of these 2 parts .6 of 6 images, like part{parts[0]}"):
        choose_images(assigned(folder), record)


def test_one_trained_image_among_new_ones_is_enough(folder: Path) -> None:
    record = split(folder, aside=1)
    keep(folder, 0, 8, 9)
    with pytest.raises(
        GateFailed, match=r"1 of these 3 parts \(3 of 9 images.* 6 images show parts"
    ):
        choose_images(assigned(folder), record)
    keep(folder, 8, 9)
    assert len(choose_images(assigned(folder), record).parts) == 6, "these are new"


def test_a_new_image_of_a_trained_part_is_refused_by_the_parts_name(folder: Path) -> None:
    record = DataSplit(rule=f"--part-id {BY_ID}", trained=image_set(folder, [0], views=[0]))
    keep(folder, 0, 9)
    (folder / "part0_0.png").unlink()
    with pytest.raises(GateFailed, match="1 of these 2 parts"):
        choose_images(assigned(folder), record)
    other_rule = record.replace(rule="")
    assert len(choose_images(assigned(folder), other_rule).parts) == 5


@pytest.mark.parametrize(("kept", "assigned_by"), [("folders", "--part-id"), ("", "")])
def test_names_of_parts_by_another_rule_or_by_none_say_nothing(
    folder: Path, kept: str, assigned_by: str
) -> None:
    """Parts that were found from images are named by an image: the same name is another part."""
    record = DataSplit(rule=kept, trained=ImageSet(parts=image_set(folder, [0]).parts))
    assert len(choose_images(replace(assigned(folder), rule=assigned_by), record).parts) == 30


def test_a_part_set_aside_whose_other_images_were_trained_on_is_refused(folder: Path) -> None:
    together = dict.fromkeys(assigned(folder).parts, "one")
    with pytest.raises(GateFailed, match=r"trained on 1 of these 1 parts \(30 of 30 images"):
        choose_images(replace(assigned(folder), parts=together, rule=""), split(folder))


@pytest.mark.parametrize("change", ["renamed", "another format", "another image of the part"])
def test_a_trained_image_is_recognised_again(folder: Path, change: str) -> None:
    record = split(folder, rule="")
    keep(folder, 2)
    paths = sorted(folder.iterdir())
    if change == "another image of the part":
        cv2.imwrite(str(paths[1]), np.flipud(part(1, (24, 32))))
        cv2.imwrite(str(paths[2]), np.flipud(part(2, (24, 32))))
    for number, path in enumerate(paths):
        if change == "renamed":
            path.rename(path.with_name(f"part99_{number}.png"))
        elif change == "another format":
            cv2.imwrite(str(path.with_suffix(".bmp")), read_image(path))
            path.unlink()
    with pytest.raises(GateFailed, match="trained on 1 of these 1 parts"):
        choose_images(assigned(folder), record)


def test_an_unreadable_image_is_left_out_by_name(folder: Path) -> None:
    record = split(folder)
    (folder / "part9_0.png").write_bytes(b"")
    chosen = choose_images(assigned(folder), record)
    assert len(chosen.parts) == 8 and "part9_0.png" in next(iter(chosen.left_out))
    keep(folder, 8, 9)
    unused = choose_images(assigned(folder), DataSplit())
    assert len(unused.parts) == 5 and "part9_0.png" in next(iter(unused.left_out))


def test_a_refusal_says_why_no_part_was_set_aside(folder: Path) -> None:
    record, with_some = split(folder, aside=0), split(folder)
    keep(folder, 1, 5)
    with pytest.raises(GateFailed, match=r"the training set none aside; .*--folds\.$"):
        choose_images(assigned(folder), record)
    alike = replace(assigned(folder), doubt="the images are too alike.")
    with pytest.raises(GateFailed, match=r"--folds\. In this folder the images are too alike\.$"):
        choose_images(alike, record)
    with pytest.raises(GateFailed, match="whole training folder, whose parts the training set"):
        choose_images(assigned(folder), with_some)
