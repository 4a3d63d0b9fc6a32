"""The calibration set: what is chosen, what is found in it, and what is refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from edge_ad.calibration.quantize.placement import place
from edge_ad.calibration.ranges.collect import CollectedRanges, CurvePoint, collect
from edge_ad.calibration.ranges.dataset_report import dataset_report, drift, enough
from edge_ad.calibration.ranges.image_set import choose
from edge_ad.calibration.ranges.thumbnail import Thumbnail, thumbnail_of
from edge_ad.errors import DataError, UsageError
from edge_ad.geometry import Geometry
from edge_ad.images import list_images, read_image, write_image
from edge_ad.onnx_graph.index import load_graph
from tests.calibration.int8_models import Tiny, images, part_image


def _views(folder: Path) -> list[Thumbnail]:
    return [
        thumbnail_of(path, read_image(path), 1.0 + i % 3)
        for i, path in enumerate(list_images(folder))
    ]


def test_the_choice_depends_on_the_seed_alone(tmp_path: Path) -> None:
    paths = list_images(images(tmp_path, 20))
    one, two = (choose(paths, samples=10, seed=3, synthetic=0.2) for _ in range(2))
    assert (one.paths, one.damaged) == (two.paths, two.damaged)
    assert len(one) == 10
    assert len(one.damaged) == 2
    assert choose(paths, samples=10, seed=4).paths != one.paths


def test_only_the_chosen_images_are_damaged_and_always_alike(tmp_path: Path) -> None:
    chosen = choose(list_images(images(tmp_path, 12)), samples=12, synthetic=0.25)
    for _ in range(2):
        changed = [not np.array_equal(one.image, read_image(one.path)) for one in chosen]
        assert changed == [index in chosen.damaged for index in range(12)]
    first, again = ([one.image for one in chosen] for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_the_identity_of_a_set_survives_a_copy(tmp_path: Path) -> None:
    one = choose(list_images(images(tmp_path / "a", 9)), samples=9)
    two = choose(list_images(images(tmp_path / "b", 9)), samples=9, seed=5)
    assert one.sha256() == two.sha256()


def test_unreadable_images_are_named_and_replaced(tmp_path: Path) -> None:
    images(tmp_path, 12)
    (tmp_path / "003.png").write_bytes(b"not an image")
    (tmp_path / "007.png").write_bytes(b"")
    chosen = choose(list_images(tmp_path), samples=12)
    assert len(chosen) == 10
    assert {path.name for path in chosen.unreadable} == {"003.png", "007.png"}


@pytest.mark.parametrize("count", [1, 7])
def test_too_few_images_are_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(DataError, match=f"only {count} readable images"):
        choose(list_images(images(tmp_path, count)), samples=512)


def test_all_black_images_are_refused(tmp_path: Path) -> None:
    for index in range(9):
        write_image(tmp_path / f"{index}.png", np.full((40, 40, 3), index % 3, np.uint8))
    with pytest.raises(DataError, match="all 9 calibration images are black"):
        dataset_report(_views(tmp_path), [])


def test_synthetic_defects_do_not_hide_that_all_images_are_black(tmp_path: Path) -> None:
    for index in range(12):
        write_image(tmp_path / f"{index}.png", np.zeros((40, 40, 3), np.uint8))
    engine = load_graph(Tiny().save(tmp_path / "engine" / "tiny.onnx"))
    chosen = choose(list_images(tmp_path), samples=12, synthetic=0.5)
    seen = collect(engine, ["stem_relu"], "onnxruntime", chosen)
    with pytest.raises(DataError, match="all 12 calibration images are black"):
        dataset_report(seen.views, seen.curve)


def test_the_same_image_over_and_over_is_refused(tmp_path: Path) -> None:
    same = part_image(np.random.default_rng(0))
    for index in range(9):
        write_image(tmp_path / f"{index}.png", same)
    with pytest.raises(DataError, match="show the same"):
        dataset_report(_views(tmp_path), [])


def test_copies_odd_black_and_leaked_images_are_named(tmp_path: Path) -> None:
    good = images(tmp_path / "good", 20)
    write_image(good / "copy.png", read_image(good / "005.png"))
    write_image(good / "dark.png", np.zeros((40, 40, 3), np.uint8))
    test = images(tmp_path / "test", 4, seed=9)
    write_image(test / "leak.png", read_image(good / "011.png"))
    write_image(test / "glare.png", np.full((40, 40, 3), 250, np.uint8))
    views = _views(good)
    odd = Thumbnail(good / "odd.png", views[0].thumbnail[::-1], 50.0, (40, 40))
    found = dataset_report([*views, odd], [], test=_views(test), unreadable=[good / "broken.png"])
    assert found.duplicates == ((str(good / "005.png"), str(good / "copy.png")),)
    assert found.odd == (str(good / "odd.png"),)
    assert found.black == (str(good / "dark.png"),)
    assert found.leaked == ((str(good / "011.png"), str(test / "leak.png")),)
    assert found.unlit == (str(test / "glare.png"),)
    for name in ("broken", "copy", "odd", "dark", "011", "glare"):
        assert any(f"{name}.png" in line for line in found.warnings), name


def test_a_clean_set_brings_no_warning_but_for_its_size(tmp_path: Path) -> None:
    points = [CurvePoint(n, {"t": 1.0}, {"t": 1.0}) for n in (1, 2, 4, 8)]
    found = dataset_report(_views(images(tmp_path, 30)), points)
    assert found.warnings == ()
    assert found.enough == 1


@pytest.mark.parametrize(
    ("values", "needed"),
    [
        ({8: 1.0, 16: 1.9, 32: 2.0, 64: 2.0, 128: 2.0}, 32),
        ({8: 2.0, 16: 2.0, 32: 2.0}, 8),
        ({8: 1.0, 16: 1.5, 32: 2.0}, None),
        ({8: 2.0}, None),
    ],
)
def test_enough_is_where_ranges_stopped_moving(
    values: dict[int, float], needed: int | None
) -> None:
    points = [CurvePoint(n, {}, {"t": value}) for n, value in values.items()]
    assert enough(points) == needed
    assert drift(points)[max(values)] == 0.0


def test_ranges_grow_with_the_images(tmp_path: Path) -> None:
    curve = _collect(tmp_path).curve
    assert [point.images for point in curve] == [1, 2, 4, 8, 16, 24]
    for before, after in pairwise(curve):
        assert all(after.amax[name] >= amax for name, amax in before.amax.items())


def _collect(folder: Path, geometry: Geometry | None = None, *, batch: int = 1) -> CollectedRanges:
    model = Tiny(batch=batch)
    path = model.save(folder / "tiny.onnx")
    graph = load_graph(path)
    if geometry:
        graph.manifest = graph.manifest.model_copy(update={"geometry": geometry})
    placement = place(graph, "tensorrt")
    paths = list_images(images(folder / "good", 24))
    return collect(graph, placement.tensors, "tensorrt", choose(paths, samples=24))


def test_padding_of_a_fixed_batch_is_not_counted(tmp_path: Path) -> None:
    one, four = (_collect(tmp_path / str(n), batch=n).table for n in (1, 4))
    for name, found in one.tensors.items():
        other = four.tensors[name]
        assert other.high == pytest.approx(found.high, rel=1e-5)
        assert other.amax["percentile-99.9"] == pytest.approx(
            found.amax["percentile-99.9"], rel=1e-3
        )


def test_images_are_cut_by_the_geometry_of_the_engine(tmp_path: Path) -> None:
    whole = _collect(tmp_path / "a").table
    part = _collect(tmp_path / "b", Geometry(roi_xywh=(0, 0, 20, 20), tiles=(2, 1))).table
    assert part.tensors["pooled"].amax != whole.tensors["pooled"].amax


def test_a_region_outside_the_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not lie inside"):
        _collect(tmp_path, Geometry(roi_xywh=(0, 0, 100, 100)))
