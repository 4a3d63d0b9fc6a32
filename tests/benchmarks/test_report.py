"""Rendered pages and plots agree with the result files."""

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
    figures = {**rows["fp32"], "precisions": rows, "data": data, "minutes": 25.02, "bytes": 9}
    figures |= {"parameters": 2_400_000, "gflops": 1.52, "failures": {}}
    figures |= {"int8": {"passed": True, "float_blocks": ["a", "b"]}}
    return {
        "bench": "methods",
        "model": f"{method}-{data}",
        "precision": "all",
        "device": "cpu",
        "machine": {"cpu": "some processor", "cores": 2},
        "settings": {"method": method, "seed": 0},
        "metrics": figures | metrics,
    }


def test_nothing_rendered_is_stale(report: Any) -> None:
    assert report.stale(report.read_results()) == [], "run: python benchmarks/report.py"


def test_a_new_figure_makes_page_plot_and_shipped_figures_stale(report: Any) -> None:
    changed = [*report.read_results(), _result(data="somewhere else")]
    assert {path.name for path in report.stale(changed)} == {
        "benchmarks.md", "methods-measured.md", "methods.png", "measured.json",
    }  # fmt: skip


def test_a_changed_headline_makes_the_readme_stale(report: Any) -> None:
    changed = report.read_results()
    for result in changed:
        if result["bench"] == "start":
            result["metrics"]["first_verdict_s"] = 99.0
    assert report.README in report.stale(changed)


def test_the_readme_has_five_figures(report: Any) -> None:
    assert len(report.headline_table(report.read_results()).splitlines()) == 2 + 5


def test_the_longer_side_of_a_table_runs_down_the_page(report: Any) -> None:
    one = report.sections([_result()]).splitlines()
    assert "| image AUROC | 0.9123 |" in one and "| engine ms | 12 |" in one
    assert "|  | image AUROC | pixel AP | AUPRO | engine ms |" in report.sections(
        [_result(data=f"set {number}") for number in range(4)]
    )


def test_each_bench_has_a_heading(report: Any) -> None:
    assert {result["bench"] for result in report.read_results()} <= set(report.SECTIONS)


def test_a_bench_without_a_heading_comes_last(report: Any) -> None:
    page = report.sections([_result() | {"bench": "new_bench"}, _result()])
    assert page.index("## Methods") < page.index("## new bench")


def _by_part(*seeds: dict[str, Any]) -> dict[str, Any]:
    """Return a result of several seeds on held-out parts."""
    result = _result(
        "destseg", seeds=len(seeds), processor_minutes=11.2, pixel_auroc=None,
        image_auroc_deviation=0.004, image_auroc_interval=[0.85, 0.951],
    )  # fmt: skip
    result["settings"]["prior"] = "gaussian"
    return result | {"samples": {"seeds": list(seeds)}}


def _seed(rejected: int, *, best: str = "distance") -> dict[str, Any]:
    return {
        "unseen": {"parts": 16, "rejected_parts": rejected},
        "threshold": {"rate": 0.12},
        "branch": {"chosen": "distance", "best": best},
    }


def test_a_row_by_part_has_spread_interval_false_alarms_and_branch(comparison: Any) -> None:
    row = comparison.table([_by_part(_seed(2), _seed(1, best="level3"))]).splitlines()[2]
    assert row.startswith("| line | DeSTSeg + Gaussian | 2, 11 | 0.912 ± 0.004 [0.85, 0.95] | - |")
    assert "| 2, 1 of 16 / 0.12 | distance / distance, distance / level3 |" in row
    refused = _seed(0) | {"unseen": None, "branch": None}
    assert "| no threshold | - |" in comparison.table([_by_part(refused)])


def test_each_result_is_in_the_table_of_its_protocol(comparison: Any) -> None:
    results = [_result("pmb"), _by_part(_seed(0))]
    assert "PMB" not in comparison.table(results) and "DeSTSeg" in comparison.table(results)
    assert "PMB" in comparison.earlier(results) and "DeSTSeg" not in comparison.earlier(results)


def test_a_row_has_accuracy_and_every_precision(comparison: Any) -> None:
    row = comparison.earlier([_result()]).splitlines()[2]
    assert "PMB (reconstructed) | reconstructed | 2.40 M | 1.5 | line, 25 min" in row
    assert "| 0.912 | 0.500 | 0.800 | 12.0 / - / 4.6 | 0.901 | passed, 2 blocks in float |" in row
    assert "cpu-methods-pmb_line.all.json" in row


def test_a_failed_calibration_is_shown(comparison: Any) -> None:
    failed = comparison.earlier([_result(int8=None, failures={"int8": "no disk"})])
    assert "| failed |" in failed
    assert "| - | [json]" in comparison.earlier([_result(int8=None)])
    refused = {"passed": False, "float_blocks": []}
    assert "| not passed |" in comparison.earlier([_result(int8=refused)])


def test_rows_follow_data_set_then_catalogue_order(comparison: Any) -> None:
    rows = comparison.earlier([_result("pmb"), _result("pmb", "a set"), _result("destseg")])
    assert [line.split(" | ")[0] for line in rows.splitlines()[2:]] == [
        "| PMB (reconstructed)", "| DeSTSeg", "| PMB (reconstructed)",
    ]  # fmt: skip


def test_the_plot_carries_a_fingerprint_of_its_figures(comparison: Any, tmp_path: Path) -> None:
    results, path = [_result(), _result("draem", "magnetic_tile")], tmp_path / "m.png"
    comparison.draw(path, results)
    assert comparison.fingerprint(results).encode() in path.read_bytes()
    assert comparison.fingerprint([_result()]).encode() not in path.read_bytes()


def test_shipped_figures_are_those_of_the_files(comparison: Any) -> None:
    (row,) = json.loads(comparison.shipped([_result()]))["pmb"]
    assert row["image_auroc"] == 0.91234 and row["precisions"]["int8"]["engine_ms"] == 4.56
    assert "bytes" not in row and row["cpu"] == "some processor"
