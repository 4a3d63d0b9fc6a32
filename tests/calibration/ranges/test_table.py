"""Range tables: written, reused, merged, extended by a method, and refused if they do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_ad.calibration.ranges.collect import collect
from edge_ad.calibration.ranges.histogram import Histogram
from edge_ad.calibration.ranges.image_set import choose
from edge_ad.calibration.ranges.methods import METHODS, method_choices, methods_named
from edge_ad.calibration.ranges.table import (
    RangeTable,
    check_fits,
    load_table,
    merge,
    save_table,
    usable_methods,
)
from edge_ad.calibration.ranges.target import Target
from edge_ad.errors import DataError, IncompatibleError, UsageError
from edge_ad.images import list_images
from edge_ad.onnx_graph.index import GraphIndex, load_graph
from tests.calibration.int8_models import Tiny, images

TARGET: Target = "onnxruntime"
TENSORS = ("pooled", "block_a_relu", "block_out", "joined", "merged_relu")


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> GraphIndex:
    return load_graph(Tiny().save(tmp_path_factory.mktemp("graph") / "tiny.onnx"))


def _collect(graph: GraphIndex, folder: Path, *, count: int = 12, seed: int = 0) -> RangeTable:
    paths = list_images(images(folder, count, seed=seed))
    chosen = choose(paths, samples=count, synthetic=0.25)
    return collect(graph, TENSORS, TARGET, chosen)[0]


@pytest.fixture(scope="module")
def table(graph: GraphIndex, tmp_path_factory: pytest.TempPathFactory) -> RangeTable:
    """Collect once: a table cannot be changed."""
    return _collect(graph, tmp_path_factory.mktemp("images") / "good")


def _changed(table: RangeTable, path: Path, change: dict[str, Any]) -> Path:
    """Write the table with some of its content replaced; a key like `a/b` goes deeper."""
    save_table(table, path)
    content = yaml.safe_load(path.read_text())
    for where, value in change.items():
        *parents, last = where.split("/")
        part = content
        for parent in parents:
            part = part[int(parent) if parent.isdecimal() else parent]
        part[last] = value
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_table_reads_back_as_it_was_written(table: RangeTable, tmp_path: Path) -> None:
    save_table(table, tmp_path / "a.ranges.yaml")
    assert load_table(tmp_path / "a.ranges.yaml") == table
    assert table.images == 12
    assert table.sets[0].synthetic_anomalies == 3
    assert set(table.tensors["joined"].amax) == set(METHODS)


def test_ranges_are_never_wider_than_the_values_observed(table: RangeTable) -> None:
    for method in METHODS:
        for name, limits in table.ranges(method).items():
            tensor = table.tensors[name]
            assert tensor.low <= limits.low <= limits.high <= tensor.high


def test_the_same_images_give_the_same_table(graph: GraphIndex, tmp_path: Path) -> None:
    one, two = (_collect(graph, tmp_path / name) for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tensors/joined/amax/mse": 0.0}, "tensors.joined.amax.mse.*greater than 0, got 0.0"),
        ({"tensors/joined/amax/mse": float("nan")}, "tensors.joined.amax.mse"),
        ({"tensors/joined/amax/mse": float("inf")}, "tensors.joined.amax.mse"),
        ({"tensors/joined/amax/mse": "wide"}, "tensors.joined.amax.mse.*got 'wide'"),
        ({"tensors/joined/low": 9e9}, "empty range"),
        ({"images": 4}, "covers 4 of the 12 images"),
        ({"tensors/joined/wdith": 1.0}, "wdith.*not permitted"),
        ({"target": "openvino"}, "target"),
        ({"sets": []}, "sets"),
    ],
)
def test_a_malformed_table_is_refused(
    table: RangeTable, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_table(_changed(table, tmp_path / "bad.yaml", change))


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "\x00\x01", ""])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(DataError, match=r"bad\.yaml"):
        load_table(tmp_path / "bad.yaml")


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no range table"):
        load_table(tmp_path / "none.yaml")


def test_a_table_of_a_partial_pass_is_not_written(table: RangeTable, tmp_path: Path) -> None:
    short = table.model_copy(update={"images": 11})
    with pytest.raises(DataError, match="covers 11 of the 12"):
        save_table(short, tmp_path / "short.yaml")
    assert not (tmp_path / "short.yaml").exists()


@pytest.mark.parametrize(
    ("change", "message"),
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
    table: RangeTable,
    tmp_path: Path,
    change: dict[str, Any],
    message: str,
) -> None:
    other = load_table(_changed(table, tmp_path / "other.yaml", change))
    with pytest.raises(IncompatibleError, match=f"First mismatch: {message}"):
        check_fits(other, graph, TARGET, TENSORS, "other.yaml")


def test_a_table_with_a_missing_tensor_is_refused(graph: GraphIndex, table: RangeTable) -> None:
    tensors = {name: tensor for name, tensor in table.tensors.items() if name != "joined"}
    short = table.model_copy(update={"tensors": tensors})
    with pytest.raises(IncompatibleError, match="no range of that name in the table, joined"):
        check_fits(short, graph, TARGET, TENSORS, "short.yaml")


def test_merged_tables_cover_the_values_of_each_camera(graph: GraphIndex, tmp_path: Path) -> None:
    one = _collect(graph, tmp_path / "one", seed=1)
    two = _collect(graph, tmp_path / "two", seed=2)
    both = merge([one, two], ["one", "two"])
    assert both.images == 24
    assert both.sets == one.sets + two.sets
    for name, merged in both.tensors.items():
        assert merged.low == min(one.tensors[name].low, two.tensors[name].low)
        for method in METHODS:
            amax = (one.tensors[name].amax[method], two.tensors[name].amax[method])
            assert merged.amax[method] == max(amax)
    save_table(both, tmp_path / "both.yaml")
    assert load_table(tmp_path / "both.yaml") == both


def test_tables_of_different_models_or_the_same_images_do_not_merge(table: RangeTable) -> None:
    other = table.model_copy(update={"model": table.model.model_copy(update={"sha256": "f" * 64})})
    with pytest.raises(IncompatibleError, match=r"b\.yaml belongs to tiny ffffffffffff"):
        merge([table, other], ["a.yaml", "b.yaml"])
    with pytest.raises(UsageError, match="same images"):
        merge([table, table], ["a.yaml", "a.yaml"])


def test_a_new_method_is_one_function(
    graph: GraphIndex, table: RangeTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(histogram: Histogram, steps: int) -> float:
        return histogram.amax / 2

    monkeypatch.setitem(METHODS, "half", half)
    assert "half" in method_choices() and "half" in methods_named("all")
    extended = _collect(graph, tmp_path / "again")
    assert extended.ranges("half")["joined"].high == extended.tensors["joined"].high / 2
    assert extended.ranges("mse") == table.ranges("mse")


def test_a_table_without_a_method_is_refused_only_for_that_method(
    table: RangeTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_table(table, tmp_path / "old.yaml")
    monkeypatch.setitem(METHODS, "half", lambda histogram, steps: histogram.amax / 2)
    old = load_table(tmp_path / "old.yaml")
    assert "half" not in usable_methods(old, methods_named("all"))
    assert usable_methods(old, methods_named("mse")) == ("mse",)
    with pytest.raises(DataError, match=r"no ranges by 'half'.*It has: minmax.*edge-ad calibrate"):
        usable_methods(old, methods_named("half"))


def test_a_merged_table_has_the_methods_that_all_have(table: RangeTable, tmp_path: Path) -> None:
    amax = {name: {"minmax": tensor.largest} for name, tensor in table.tensors.items()}
    change: dict[str, Any] = {f"tensors/{name}/amax": value for name, value in amax.items()}
    other = load_table(_changed(table, tmp_path / "b.yaml", change | {"sets/0/sha256": "f" * 64}))
    merged = merge([table, other], ["a.yaml", "b.yaml"])
    assert usable_methods(merged, methods_named("all")) == ("minmax",)
