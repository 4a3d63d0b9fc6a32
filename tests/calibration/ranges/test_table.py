"""Range tables: written once, used again, merged, and refused when they do not belong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_ad.calibration.quantize.placement import Placement, place
from edge_ad.calibration.ranges.collect import CollectedRanges, collect
from edge_ad.calibration.ranges.image_set import choose
from edge_ad.calibration.ranges.methods import METHODS
from edge_ad.calibration.ranges.table import RangeTable, check_fits, load_table, merge, save_table
from edge_ad.errors import DataError, IncompatibleError, UsageError
from edge_ad.images import list_images
from edge_ad.onnx_graph.index import GraphIndex, load_graph
from tests.calibration.int8_models import Tiny, images


@pytest.fixture
def graph(tmp_path: Path) -> GraphIndex:
    return load_graph(Tiny().save(tmp_path / "tiny.onnx"))


@pytest.fixture
def placement(graph: GraphIndex) -> Placement:
    return place(graph, "onnxruntime")


def _collected(
    graph: GraphIndex, folder: Path, *, count: int = 12, seed: int = 0
) -> CollectedRanges:
    placement = place(graph, "onnxruntime")
    paths = list_images(images(folder, count, seed=seed))
    chosen = choose(paths, samples=count, synthetic=0.25)
    return collect(graph, placement.tensors, "onnxruntime", chosen)


@pytest.fixture
def table(graph: GraphIndex, tmp_path: Path) -> RangeTable:
    return _collected(graph, tmp_path / "good").table


def _changed(table: RangeTable, path: Path, change: dict[str, Any]) -> Path:
    """The table as a file with some of its content replaced; a key like `a.b` goes deeper."""
    save_table(table, path)
    content = yaml.safe_load(path.read_text())
    for where, value in change.items():
        *parents, last = where.split("/")
        part = content
        for parent in parents:
            part = part[parent]
        part[last] = value
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_table_reads_back_as_it_was_written(table: RangeTable, tmp_path: Path) -> None:
    save_table(table, tmp_path / "a.ranges.yaml")
    assert load_table(tmp_path / "a.ranges.yaml") == table
    assert table.frames_seen == 12
    assert table.sets[0].damaged == 3
    assert set(table.tensors["joined"].amax) == set(METHODS)


def test_ranges_are_never_wider_than_what_was_seen(table: RangeTable) -> None:
    for method in METHODS:
        for name, found in table.ranges(method).items():
            assert table.tensors[name].low <= found.low <= found.high <= table.tensors[name].high


def test_the_same_images_give_the_same_table(graph: GraphIndex, tmp_path: Path) -> None:
    one, two = (_collected(graph, tmp_path / name).table for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tensors/joined/amax/mse": 0.0}, "tensors.joined.amax.mse.*greater than 0, got 0.0"),
        ({"tensors/joined/amax/mse": float("nan")}, "tensors.joined.amax.mse"),
        ({"tensors/joined/amax/mse": float("inf")}, "tensors.joined.amax.mse"),
        ({"tensors/joined/amax/mse": "wide"}, "tensors.joined.amax.mse.*got 'wide'"),
        ({"tensors/joined/amax": {"minmax": 1.0}}, "has no amax by"),
        ({"tensors/joined/low": 9e9}, "empty range"),
        ({"frames_seen": 4}, "saw 4 of 12 images"),
        ({"tensors/joined/wdith": 1.0}, "wdith.*not permitted"),
        ({"target": "openvino"}, "target"),
        ({"sets": []}, "sets"),
    ],
)
def test_a_table_with_a_fault_is_refused(
    table: RangeTable, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        load_table(_changed(table, tmp_path / "bad.yaml", change))


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "\x00\x01", ""])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(DataError, match=r"bad\.yaml"):
        load_table(tmp_path / "bad.yaml")


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no range table"):
        load_table(tmp_path / "none.yaml")


def test_a_table_that_missed_a_image_is_not_written(table: RangeTable, tmp_path: Path) -> None:
    short = table.model_copy(update={"frames_seen": 11})
    with pytest.raises(DataError, match="saw 11 of 12"):
        save_table(short, tmp_path / "short.yaml")
    assert not (tmp_path / "short.yaml").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"target": "tensorrt"}, "target is tensorrt in the table, onnxruntime for"),
        ({"model/method": "draem"}, "method is draem in the table, tiny for"),
        ({"model/size_hw": [64, 64]}, "size is"),
        ({"tensors/ghost": {"low": 0.0, "high": 1.0, "amax": dict.fromkeys(METHODS, 1.0)}},
         "tensor is ghost in the table"),
        ({"model/sha256": "0" * 64}, "sha256 is 000000000000 in the table"),
    ],
)  # fmt: skip
def test_a_table_of_another_model_is_refused_naming_the_first_mismatch(
    graph: GraphIndex,
    placement: Placement,
    table: RangeTable,
    tmp_path: Path,
    change: dict[str, Any],
    says: str,
) -> None:
    other = load_table(_changed(table, tmp_path / "other.yaml", change))
    with pytest.raises(IncompatibleError, match=f"First mismatch: {says}"):
        check_fits(other, graph, placement, "other.yaml")


def test_a_table_that_lacks_a_tensor_is_refused(
    graph: GraphIndex, placement: Placement, table: RangeTable
) -> None:
    tensors = {name: found for name, found in table.tensors.items() if name != "joined"}
    with pytest.raises(IncompatibleError, match="no range of that name in the table, joined"):
        check_fits(table.model_copy(update={"tensors": tensors}), graph, placement, "short.yaml")


def test_merged_tables_cover_what_each_camera_saw(graph: GraphIndex, tmp_path: Path) -> None:
    one = _collected(graph, tmp_path / "one", seed=1).table
    two = _collected(graph, tmp_path / "two", seed=2).table
    both = merge([one, two], ["one", "two"])
    assert both.frames_seen == 24
    assert both.sets == one.sets + two.sets
    for name, found in both.tensors.items():
        assert found.low == min(one.tensors[name].low, two.tensors[name].low)
        for method in METHODS:
            alone = (one.tensors[name].amax[method], two.tensors[name].amax[method])
            assert found.amax[method] == max(alone)
    save_table(both, tmp_path / "both.yaml")
    assert load_table(tmp_path / "both.yaml") == both


def test_tables_of_different_models_or_the_same_images_do_not_merge(table: RangeTable) -> None:
    other = table.model_copy(update={"model": table.model.model_copy(update={"sha256": "f" * 64})})
    with pytest.raises(IncompatibleError, match=r"b\.yaml: belongs to tiny ffffffffffff"):
        merge([table, other], ["a.yaml", "b.yaml"])
    with pytest.raises(UsageError, match="same images"):
        merge([table, table], ["a.yaml", "a.yaml"])
