"""`edge-ad methods`: entries, computed costs and measured figures."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edge_ad.cli.methods import command, shipped_figures
from edge_ad.errors import DataError, UsageError
from edge_ad.methods.registry import METHODS, method_costs, method_entry, title_of

BENCHMARKS = Path(__file__).resolve().parent.parent.parent / "benchmarks"


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("method_costs")


def _output(*words: str) -> str:
    return CliRunner().invoke(command, list(words), catch_exceptions=False).output


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_shipped_costs_are_those_of_the_networks(name: str, computed: Any) -> None:
    expected = computed.costs_of(name)
    assert method_costs()[name].as_json() == expected, "run: python benchmarks/method_costs.py"


def test_every_method_has_costs_and_reconstructed_ones_are_called_so() -> None:
    assert set(method_costs()) == set(METHODS)
    for entry in METHODS.values():
        assert ("(reconstructed)" in entry.title) == (entry.fidelity == "reconstructed")
    assert title_of("pmb") == "PMB (reconstructed)" and title_of("padim") == "padim"


def test_a_method_that_was_just_added_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "toy", replace(METHODS["draem"], name="toy"))
    assert "full      not computed yet: python benchmarks/method_costs.py" in _output("toy")
    row = next(line for line in _output().splitlines() if line.startswith("toy "))
    assert row.count("not computed") == 2
    assert "full" not in json.loads(_output("toy", "--json"))["methods"][0]


def test_an_unknown_method_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no method 'padim'; this version has: .*destseg"):
        method_entry("padim")


def test_the_table_names_every_method() -> None:
    printed = _output()
    for entry in METHODS.values():
        assert entry.name in printed and entry.title in printed


def test_measured_figures_come_from_result_files(tmp_path: Path) -> None:
    record = {
        "device": "cpu",
        "settings": {"method": "pmb"},
        "metrics": {"data": "line", "minutes": 30.0, "image_auroc": 0.91234, "engine_ms": 7.25},
    }
    (tmp_path / "cpu-methods-pmb-line.fp32.json").write_text(json.dumps(record))
    words = ["--results", str(tmp_path)]
    assert "line, 30 min of training: image AUROC 0.912, 7.2 ms on cpu" in _output(*words)
    (row,) = json.loads(_output("pmb", *words, "--json"))["methods"]
    assert row["measured"][0]["image_auroc"] == 0.91234
    assert row["full"] == {"parameters_m": 25.01, "gflops": 92.5}


def test_without_a_folder_the_shipped_figures_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"fp32": {"image_auroc": 0.95, "engine_ms": 12.0},
            "int8": {"image_auroc": 0.94, "engine_ms": 4.0}}  # fmt: skip
    row = {"data": "line", "minutes": 25.0, "device": "cpu", "cpu": "a CPU", "cores": 2}
    row |= {**rows["fp32"], "precisions": rows}
    monkeypatch.setattr("edge_ad.cli.methods.shipped_figures", lambda: {"ear": [row]})
    measured = "measured: line, 25 min of training: image AUROC 0.950, 12.0 ms on cpu"
    assert measured in _output()
    assert "int8: image AUROC 0.940, 4.0 ms; a CPU, 2 cores" in _output("ear")


def test_shipped_figures_are_read_as_a_package_resource() -> None:
    assert set(shipped_figures()) <= set(METHODS)


def test_a_missing_folder_of_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone: no such folder"):
        _output("--results", str(tmp_path / "gone"))


def test_a_broken_result_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cpu-methods-pmb-line.fp32.json").write_text("{}")
    with pytest.raises(DataError, match=r"cpu-methods-pmb-line.fp32.json: not a result file"):
        _output("--results", str(tmp_path))


def test_a_misspelt_method_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"'pbm'. Did you mean 'pmb'"):
        _output("pbm")
