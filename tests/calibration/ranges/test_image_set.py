"""The calibration set: which images are chosen, what the report says, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from edge_ad.calibration.ranges.collect import CurvePoint, RangeProgress, collect
from edge_ad.calibration.ranges.dataset_report import converged_after, dataset_report, drift
from edge_ad.calibration.ranges.image_set import ImageSummary, choose, summarize
from edge_ad.calibration.ranges.table import RangeTable
from edge_ad.data_split import DataSplit, ImageSet
from edge_ad.errors import DataError, UsageError
from edge_ad.geometry import Geometry
from edge_ad.images import list_images, read_image, write_image
from edge_ad.onnx_graph.index import load_graph
from edge_ad.parts import identify
from tests.calibration.int8_models import Tiny, images, part_image


def _summaries(folder: Path) -> list[ImageSummary]:
    return [
        summarize(path, read_image(path), 1.0 + i % 3) for i, path in enumerate(list_images(folder))
    ]


def test_the_choice_depends_on_the_seed_alone(tmp_path: Path) -> None:
    paths = list_images(images(tmp_path, 20))
    first, second = (choose(paths, samples=10, seed=3, synthetic=0.2) for _ in range(2))
    assert (first.paths, first.anomalous) == (second.paths, second.anomalous)
    assert len(first) == 10
    assert len(first.anomalous) == 2
    assert choose(paths, samples=10, seed=4).paths != first.paths


def test_only_the_drawn_images_get_anomalies_and_always_the_same(tmp_path: Path) -> None:
    chosen = choose(list_images(images(tmp_path, 12)), samples=12, synthetic=0.25)
    for _ in range(2):
        changed = [not np.array_equal(item.image, read_image(item.path)) for item in chosen]
        assert changed == [index in chosen.anomalous for index in range(12)]
    first, again = ([item.image for item in chosen] for _ in range(2))
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


def test_of_many_unreadable_images_the_first_ten_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images(tmp_path, 8)
    for number in range(13):
        (tmp_path / f"bad{number}.png").write_bytes(b"not an image")
    chosen = choose(list_images(tmp_path), samples=21)
    assert len(chosen) == 8 and len(chosen.unreadable) == len(chosen.left_out) == 13
    assert len(caplog.messages) == 11 and caplog.messages[-1] == "left out: 3 more"


@pytest.mark.parametrize("count", [1, 7])
def test_too_few_images_are_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(DataError, match=f"only {count} readable images"):
        choose(list_images(images(tmp_path, count)), samples=512)


def test_all_black_images_are_refused(tmp_path: Path) -> None:
    for index in range(9):
        write_image(tmp_path / f"{index}.png", np.full((40, 40, 3), index % 3, np.uint8))
    with pytest.raises(DataError, match="all 9 calibration images are black"):
        dataset_report(_summaries(tmp_path), [])


def test_synthetic_anomalies_do_not_hide_that_all_images_are_black(tmp_path: Path) -> None:
    for index in range(12):
        write_image(tmp_path / f"{index}.png", np.zeros((40, 40, 3), np.uint8))
    engine = load_graph(Tiny().save(tmp_path / "engine" / "tiny.onnx"))
    chosen = choose(list_images(tmp_path), samples=12, synthetic=0.5)
    _, progress = collect(engine, ["stem_relu"], "onnxruntime", chosen)
    with pytest.raises(DataError, match="all 12 calibration images are black"):
        dataset_report(progress.summaries, progress.curve)


def test_a_set_may_have_synthetic_anomalies_on_all_images(tmp_path: Path) -> None:
    images(tmp_path, 8)
    engine = load_graph(Tiny().save(tmp_path / "engine" / "tiny.onnx"))
    chosen = choose(list_images(tmp_path), samples=8, synthetic=1.0)
    _, progress = collect(engine, ["stem_relu"], "onnxruntime", chosen)
    report = dataset_report(progress.summaries, progress.curve, test=progress.summaries)
    assert report.images == 8 and report.brightness == {} and report.in_test_set == ()


def test_the_same_image_over_and_over_is_refused(tmp_path: Path) -> None:
    same = part_image(np.random.default_rng(0))
    for index in range(9):
        write_image(tmp_path / f"{index}.png", same)
    with pytest.raises(DataError, match="show the same"):
        dataset_report(_summaries(tmp_path), [])


def test_duplicates_outliers_black_and_test_images_are_named(tmp_path: Path) -> None:
    normal = images(tmp_path / "normal", 20)
    write_image(normal / "copy.png", read_image(normal / "005.png"))
    write_image(normal / "dark.png", np.zeros((40, 40, 3), np.uint8))
    test = images(tmp_path / "test", 4, seed=9)
    write_image(test / "leak.png", read_image(normal / "011.png"))
    write_image(test / "glare.png", np.full((40, 40, 3), 250, np.uint8))
    summaries = _summaries(normal)
    outlier = ImageSummary(normal / "outlier.png", summaries[0].thumbnail[::-1], 50.0, (40, 40))
    report = dataset_report(
        [*summaries, outlier], [], test=_summaries(test), unreadable=[normal / "broken.png"]
    )
    assert report.duplicates == ((str(normal / "005.png"), str(normal / "copy.png")),)
    assert report.outliers == (str(normal / "outlier.png"),)
    assert report.black == (str(normal / "dark.png"),)
    assert report.in_test_set == ((str(normal / "011.png"), str(test / "leak.png")),)
    assert report.uncovered_brightness == (str(test / "glare.png"),)
    for name in ("broken", "copy", "outlier", "dark", "011", "glare"):
        assert any(f"{name}.png" in line for line in report.warnings), name


def test_images_that_were_not_trained_on_are_no_outliers_for_it(tmp_path: Path) -> None:
    summaries = _summaries(images(tmp_path, 20))
    seen, new = summaries[:14], [replace(one, score=one.score + 40) for one in summaries[14:]]
    odd = replace(new.pop(), score=400.0)
    split = DataSplit(trained=ImageSet.of([identify(one.path) for one in seen], []))
    assert len(dataset_report([*seen, *new, odd], []).outliers) == 6
    assert dataset_report([*seen, *new, odd], [], split=split).outliers == (str(odd.path),)


def test_a_sound_set_has_no_warnings(tmp_path: Path) -> None:
    points = [CurvePoint(n, {"t": 1.0}, {"t": 1.0}) for n in (1, 2, 4, 8)]
    report = dataset_report(_summaries(images(tmp_path, 30)), points)
    assert report.warnings == ()
    assert report.converged_after == 1


@pytest.mark.parametrize(
    ("values", "needed"),
    [
        ({8: 1.0, 16: 1.9, 32: 2.0, 64: 2.0, 128: 2.0}, 32),
        ({8: 2.0, 16: 2.0, 32: 2.0}, 8),
        ({8: 1.0, 16: 1.5, 32: 2.0}, None),
        ({8: 2.0}, None),
    ],
)
def test_ranges_converge_where_they_stop_moving(
    values: dict[int, float], needed: int | None
) -> None:
    points = [CurvePoint(n, {}, {"t": value}) for n, value in values.items()]
    assert converged_after(points) == needed
    assert drift(points)[max(values)] == 0.0


def test_ranges_grow_with_the_images(tmp_path: Path) -> None:
    curve = _collect(tmp_path)[1].curve
    assert [point.images for point in curve] == [1, 2, 4, 8, 16, 24]
    for before, after in pairwise(curve):
        assert all(after.amax[name] >= amax for name, amax in before.amax.items())


def _collect(
    folder: Path, geometry: Geometry | None = None, *, batch: int = 1
) -> tuple[RangeTable, RangeProgress]:
    model = Tiny(batch=batch)
    path = model.save(folder / "tiny.onnx")
    graph = load_graph(path)
    if geometry:
        graph.manifest = graph.manifest.replace(geometry=geometry)
    paths = list_images(images(folder / "normal", 24))
    return collect(
        graph, ["pooled", "block_a_relu", "joined"], "tensorrt", choose(paths, samples=24)
    )


def test_padding_of_a_fixed_batch_is_not_counted(tmp_path: Path) -> None:
    single, padded = (_collect(tmp_path / str(n), batch=n)[0].tensors for n in (1, 4))
    for name, expected in single.items():
        assert padded[name].high == pytest.approx(expected.high, rel=1e-5)
        amax = expected.amax["percentile-99.9"]
        assert padded[name].amax["percentile-99.9"] == pytest.approx(amax, rel=1e-3)


def test_images_are_preprocessed_with_the_geometry_of_the_engine(tmp_path: Path) -> None:
    whole, _ = _collect(tmp_path / "a")
    geometry = Geometry(roi_xywh=(0, 0, 20, 20), tiles=(2, 1))
    part, _ = _collect(tmp_path / "b", geometry)
    assert part.tensors["pooled"].amax != whole.tensors["pooled"].amax


def test_a_region_outside_the_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not inside"):
        _collect(tmp_path, Geometry(roi_xywh=(0, 0, 100, 100)))
