"""Whole parts set aside: to choose by and for the threshold, recorded with the weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_ad.data_split import DataSplit
from edge_ad.dataset import normal_images
from edge_ad.errors import DataError, UsageError
from edge_ad.images import write_image
from edge_ad.manifest import Manifest
from edge_ad.methods.learning.settings import SetAside
from edge_ad.methods.weights import load_detector
from edge_ad.parts import How, identify
from edge_ad.preprocess import Preprocess
from edge_ad.training.data import BatchSampler, NormalTiles, load_tiles
from edge_ad.training.part_split import PartSplit, hold_back, split_by_part
from tests.part_images import striped_part
from tests.training.runs import run
from tests.training.train_configs import tiny_training

EXPOSURES = 2


def write_exposures(folder: Path, parts: int, exposures: int = EXPOSURES) -> Path:
    """Write images named part and exposure, each different."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(parts):
        for exposure in range(exposures):
            image = np.clip(striped_part(number).astype(int) + 9 * exposure, 0, 255).astype(
                np.uint8
            )
            write_image(folder / f"part{number:02}_exp{exposure}.png", image)
    return folder


def split(
    folder: Path, aside: SetAside | None = None, part_id: str | None = None, folds: int = 0
) -> PartSplit:
    normal = load_tiles(normal_images(folder), Preprocess((32, 32)))
    return split_by_part(normal, folder, aside or SetAside(), part_id=part_id, folds=folds)


def names(paths: tuple[Path, ...]) -> set[str]:
    return {path.name.split("_")[0] for path in paths}


def loaded(folder: Path) -> NormalTiles:
    return load_tiles(normal_images(folder), Preprocess((32, 32)))


def test_no_part_serves_two_uses_and_every_image_serves_one(tmp_path: Path) -> None:
    folder = write_exposures(tmp_path / "a", 20)
    done = split(folder, part_id="part([0-9]+)")
    uses = [names(done.trained), names(done.selection), names(done.threshold)]
    assert [len(use) for use in uses] == [14, 2, 4]
    assert len(set.union(*uses)) == 20
    assert len({*done.trained, *done.selection, *done.threshold}) == 40


def test_tiles_of_set_aside_parts_are_in_no_batch(tmp_path: Path) -> None:
    folder = write_exposures(tmp_path / "a", 12)
    normal = loaded(folder)
    done = split_by_part(normal, folder, SetAside(), part_id="part([0-9]+)")
    trained, selection = done.tiles(normal)
    aside = {normal.paths[normal.image[tile]] for tile in [*trained, *selection]}
    assert not aside & set(done.threshold)
    assert {normal.paths[normal.image[tile]] for tile in trained} == set(done.trained)


@pytest.mark.parametrize("parts", [4, 9])
def test_few_parts_leave_one_to_choose_by_and_none_for_the_threshold(
    tmp_path: Path, parts: int
) -> None:
    done = split(write_exposures(tmp_path / "a", parts), part_id="part([0-9]+)")
    assert len(names(done.trained)) == parts - 1 and len(names(done.selection)) == 1
    assert done.threshold == ()
    assert "no threshold can be set from these images" in done.notes()[0]


@pytest.mark.parametrize("parts", [1, 3])
def test_few_parts_are_all_trained_on_and_the_notes_say_what_that_costs(
    tmp_path: Path, parts: int
) -> None:
    done = split(write_exposures(tmp_path / "a", parts), part_id="part([0-9]+)")
    assert done.threshold == () and done.supported_rate is None
    assert names(done.trained) == names((*done.trained, *done.selection))
    notes = " ".join(done.notes())
    assert "no threshold can be set from these images" in notes
    assert "expect a choice that favours them" in notes


def test_images_held_back_of_few_parts_are_of_parts_trained_on(tmp_path: Path) -> None:
    folder = write_exposures(tmp_path / "a", 3, exposures=4)
    write_image(folder / "other.png", striped_part(99))  # of an unknown part
    done = split(folder, part_id="part([0-9]+)")
    assert len({*done.trained, *done.selection}) == 12
    assert not set(done.trained) & set(done.selection)
    assert names(done.selection) <= names(done.trained) and done.chosen_by == "images"
    assert done.notes()[-1].startswith("The images to choose by show parts trained on")
    assert "3 to train on, none to choose by, none set aside" in done.summary()


def test_with_folds_all_parts_trained_on_support_the_rate(tmp_path: Path) -> None:
    done = split(write_exposures(tmp_path / "a", 20), part_id="part([0-9]+)", folds=3)
    assert [len(names(use)) for use in (done.trained, done.selection, done.threshold)] == [18, 2, 0]
    assert done.supported_rate == pytest.approx(1 - 0.05 ** (1 / 18))
    first, second = done.notes()
    assert first.startswith("3 folds: 4 trainings in all, so about 4 times the time of one.")
    assert "an estimate, not a guarantee" in first
    assert second.startswith("The 18 parts in folds support a false-alarm rate of 0.16 at best")
    assert split(write_exposures(tmp_path / "b", 3), folds=3).folds == 3


def test_explicit_shares_set_few_parts_aside_or_are_refused(tmp_path: Path) -> None:
    aside = SetAside(selection=0.2, threshold=0.4)
    done = split(write_exposures(tmp_path / "a", 5), aside, "part([0-9]+)")
    assert [len(names(use)) for use in (done.trained, done.selection, done.threshold)] == [2, 1, 2]
    with pytest.raises(DataError, match="2 parts cannot be divided into 3 sets"):
        split(write_exposures(tmp_path / "b", 2), aside, "part([0-9]+)")


def test_another_draw_sets_other_parts_aside_in_the_same_shares(tmp_path: Path) -> None:
    folder = write_exposures(tmp_path / "a", 20)
    first, second = (split(folder, SetAside(draw=draw), "part([0-9]+)") for draw in (0, 1))
    assert names(first.threshold) != names(second.threshold)
    assert len(names(first.threshold)) == len(names(second.threshold)) == 4
    assert names(split(folder, None, "part([0-9]+)").threshold) == names(first.threshold)


def test_a_draw_alone_keeps_few_parts_as_they_are(tmp_path: Path) -> None:
    done = split(write_exposures(tmp_path / "a", 9), SetAside(draw=1), "part([0-9]+)")
    assert len(names(done.selection)) == 1 and done.threshold == ()


def test_without_shares_every_image_is_trained_on(tmp_path: Path) -> None:
    done = split(write_exposures(tmp_path / "a", 12), SetAside(selection=0, threshold=0))
    assert len(done.trained) == 24 and done.selection == done.trained and done.threshold == ()
    assert done.chosen_by == "trained"
    aside = SetAside(selection=0, threshold=0.25)
    done = split(tmp_path / "a", aside, part_id="part([0-9]+)")
    assert done.selection == done.trained and len(names(done.threshold)) == 3
    assert done.notes()[-1].startswith("The images to choose by are trained on")


def test_the_notes_say_which_rate_the_set_aside_parts_support(tmp_path: Path) -> None:
    done = split(write_exposures(tmp_path / "a", 20), part_id="part([0-9]+)")
    assert done.supported_rate == pytest.approx(1 - 0.05 ** (1 / 4))
    assert "The 4 parts set aside support a false-alarm rate of 0.53 at best" in done.notes()[0]
    assert "0.05 needs 59" in done.notes()[0]
    assert "14 to train on, 2 to choose by, 4 set aside for the threshold" in str(done)
    each = split_by_part(loaded(tmp_path / "a"), tmp_path / "a", SetAside(), how=How.EACH)
    assert str(each).startswith("parts: 40 (every image is a part): ")


def test_enough_parts_set_aside_need_no_note(tmp_path: Path) -> None:
    aside = SetAside(selection=0.05, threshold=0.9)
    done = split(write_exposures(tmp_path / "a", 66, exposures=1), aside, "part([0-9]+)")
    assert len(done.threshold) >= 59 and done.notes() == []


def test_a_folder_of_folders_has_a_part_in_each(tmp_path: Path) -> None:
    for number in range(10):
        for exposure in range(2):
            place = tmp_path / f"p{number}" / f"{exposure}.png"
            place.parent.mkdir(exist_ok=True)
            write_image(place, striped_part(10 * number + exposure))
    done = split(tmp_path)
    assert done.report()["decided_by"] == "folders"
    assert done.report()["trained"] == {"images": 14, "parts": 7}


def test_folders_below_images_are_not_read(tmp_path: Path) -> None:
    write_exposures(tmp_path, 2)
    write_exposures(tmp_path / "rejects", 2)
    assert len(normal_images(tmp_path)) == 4


@pytest.fixture
def folder(tmp_path: Path, teacher: Path) -> Path:
    (tmp_path / "teacher.pth").symlink_to(teacher)
    write_exposures(tmp_path / "parts", 10)
    return tmp_path


def test_the_lists_travel_with_the_weights_and_no_other_image_is_drawn(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(folder / "parts" / "other.png", striped_part(99))
    drawn: set[int] = set()
    draw = BatchSampler.draw

    def watched(sampler: BatchSampler, step: int) -> object:
        batch = draw(sampler, step)
        drawn.update(batch.tile.tolist())
        return batch

    monkeypatch.setattr(BatchSampler, "draw", watched)
    report = run(tiny_training(folder, part_id="part([0-9]+)", settings={"steps": 8}))
    assert [Path(name).name for name in report["skipped"]] == ["other.png"], "of an unknown part"
    assert report["images"] == 20
    record = load_detector(folder / "destseg.pt").manifest.data_split
    assert record is not None and record.rule == "--part-id part([0-9]+)"
    assert report["split"]["threshold"] == {"images": 4, "parts": 2}
    sets = {"trained": record.trained, "selection": record.selection, "threshold": record.threshold}
    paths = normal_images(folder / "parts")
    for path in paths:
        inside = [use for use, images in sets.items() if images.has_image(*identify(path))]
        assert len(inside) == (path.name != "other.png")
        assert not inside or sets[inside[0]].has_part(path.name[4:6])
    trained = {n for n, path in enumerate(paths) if record.trained.has_image(*identify(path))}
    assert drawn == trained


def test_another_split_does_not_resume(folder: Path) -> None:
    from edge_ad.training.loop import Interrupted

    config = tiny_training(folder, part_id="part([0-9]+)")
    with pytest.raises(Interrupted):
        run(config, stop_after=1)
    with pytest.raises(UsageError, match="another training: parts was"):
        run(replace(config, part_id="(part[0-9]+_exp[0-9])", resume=True))


def test_a_manifest_without_lists_stays_readable() -> None:
    manifest = Manifest(method="destseg", size_hw=(32, 32))
    assert manifest.data_split is None
    assert DataSplit().threshold.files == ()


@pytest.mark.parametrize("images", [8, 9, 20, 39, 40, 100, 748])
def test_about_a_tenth_of_the_images_is_held_back(images: int) -> None:
    chosen, back = hold_back(images)
    assert sorted([*chosen, *back]) == list(range(images))
    assert 0 < len(back) <= max(1, round(0.15 * images))


def test_neighbours_by_name_are_held_back_together() -> None:
    assert sorted(set(np.diff(hold_back(400)[1]))) == [1, 37]  # runs of four, one run in forty


def test_very_few_images_serve_both_sides() -> None:
    assert hold_back(7) == (list(range(7)), list(range(7)))
