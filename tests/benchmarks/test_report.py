"""Everything rendered from result files says what the files say."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent.parent / "benchmarks"


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("report")


@pytest.fixture
def comparison(report: Any) -> Any:
    return importlib.import_module("comparison")


def _result(method: str = "pmb", data: str = "line", **metrics: Any) -> dict[str, Any]:
    rows = {
        "fp32": {"image_auroc": 0.91234, "pixel_ap": 0.5, "aupro": 0.8, "engine_ms": 12.0},
        "int8": {"image_auroc": 0.90126, "pixel_ap": 0.49, "aupro": 0.79, "engine_ms": 4.56},
    }
    told = {**rows["fp32"], "precisions": rows, "data": data, "minutes": 25.02, "bytes": 9}
    told |= {"parameters": 2_400_000, "gflops": 1.52, "failures": {}}
    told |= {"int8": {"passed": True, "float_blocks": ["a", "b"]}}
    return {
        "bench": "methods",
        "model": f"{method}-{data}",
        "precision": "all",
        "device": "cpu",
        "machine": {"cpu": "some processor", "cores": 2},
        "settings": {"method": method, "seed": 0},
        "metrics": told | metrics,
    }


def test_nothing_rendered_is_stale(report: Any) -> None:
    assert report.stale(report.read_results()) == [], "run: python benchmarks/report.py"


def test_a_changed_figure_makes_page_image_and_shipped_figures_stale(report: Any) -> None:
    changed = [*report.read_results(), _result(data="somewhere else")]
    assert {path.name for path in report.stale(changed)} == {
        "README.md", "methods.md", "methods.png", "measured.json",
    }  # fmt: skip


def test_a_row_tells_accuracy_and_every_precision(comparison: Any) -> None:
    row = comparison.table([_result()]).splitlines()[2]
    assert "PMB (reconstructed) | reconstructed | 2.40 M | 1.5 | line, 25 min" in row
    assert "| 0.912 | 0.500 | 0.800 | 12.0 / - / 4.6 | 0.901 | passed, 2 blocks in float |" in row
    assert "cpu-methods-pmb_line.all.json" in row


def test_a_failed_calibration_is_told(comparison: Any) -> None:
    assert "| failed |" in comparison.table([_result(int8=None)])
    refused = {"passed": False, "float_blocks": []}
    assert "| not passed |" in comparison.table([_result(int8=refused)])


def test_rows_go_by_data_set_in_the_catalogues_order(comparison: Any) -> None:
    rows = comparison.table([_result("pmb"), _result("pmb", "a set"), _result("destseg")])
    assert [line.split(" | ")[0] for line in rows.splitlines()[2:]] == [
        "| PMB (reconstructed)", "| DeSTSeg", "| PMB (reconstructed)",
    ]  # fmt: skip


def test_the_image_carries_what_it_shows(comparison: Any, tmp_path: Path) -> None:
    results, path = [_result(), _result("draem", "magnetic_tile")], tmp_path / "m.png"
    comparison.draw(path, results)
    assert comparison.fingerprint(results).encode() in path.read_bytes()
    assert comparison.fingerprint([_result()]).encode() not in path.read_bytes()


def test_shipped_figures_are_those_of_the_files(comparison: Any) -> None:
    (row,) = json.loads(comparison.shipped([_result()]))["pmb"]
    assert row["image_auroc"] == 0.91234 and row["precisions"]["int8"]["engine_ms"] == 4.56
    assert "bytes" not in row and row["cpu"] == "some processor"
