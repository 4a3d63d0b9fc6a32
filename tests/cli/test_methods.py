"""`edge-ad methods` tells what is true of the networks and what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch.utils.flop_counter import FlopCounterMode

from edge_ad.cli.methods import _shipped, command
from edge_ad.errors import DataError, UsageError
from edge_ad.methods.catalogue import CARDS, MethodCard, MethodCost, titled
from edge_ad.methods.layers.resnet import ResNet18
from edge_ad.methods.learning.trainer import settings_from, training_named
from edge_ad.methods.method import METHODS, method_named


def _cost(net: torch.nn.Module, side: int) -> MethodCost:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net.eval()(torch.zeros(1, 3, side, side, device=next(net.parameters()).device))
    parameters = sum(parameter.numel() for parameter in net.parameters())
    return MethodCost(parameters / 1e6, counter.get_total_flops() / 1e9)


def _same(found: MethodCost, told: MethodCost) -> None:
    assert found.parameters_m == pytest.approx(told.parameters_m, abs=0.006)
    assert found.gflops == pytest.approx(told.gflops, abs=0.06)


@pytest.mark.parametrize("entry", CARDS, ids=lambda entry: entry.name)
def test_told_costs_are_the_networks(entry: MethodCard, tmp_path: Path) -> None:
    method = method_named(entry.name)
    with torch.device("meta"):
        _same(_cost(method.build(method.config(), (256, 256)), 256), entry.full)
    torch.save(ResNet18((64, 128, 256)).state_dict(), tmp_path / "resnet18.pth")
    recipe = training_named(entry.name)
    settings = settings_from(recipe, {}, "edge")
    trainer = recipe.trainer(settings, (128, 128), tmp_path / "resnet18.pth")
    _same(_cost(trainer.module, 128), entry.edge)


def test_every_method_is_listed_and_rebuilt_ones_say_so() -> None:
    assert [entry.name for entry in CARDS] == list(METHODS)
    for entry in CARDS:
        assert ("(reconstructed)" in entry.title) == (entry.fidelity == "reconstructed")
    assert titled("pmb") == "PMB (reconstructed)"


def test_the_table_names_every_method() -> None:
    printed = CliRunner().invoke(command, [], catch_exceptions=False).output
    for entry in CARDS:
        assert entry.name in printed and entry.title in printed


def test_measured_figures_come_from_result_files(tmp_path: Path) -> None:
    record = {
        "device": "cpu",
        "settings": {"method": "pmb"},
        "metrics": {"data": "line", "minutes": 30.0, "image_auroc": 0.91234, "engine_ms": 7.25},
    }
    (tmp_path / "cpu-methods-pmb-line.fp32.json").write_text(json.dumps(record))
    words = ["--results", str(tmp_path)]
    printed = CliRunner().invoke(command, words, catch_exceptions=False).output
    assert "line, 30 min of training: image AUROC 0.912, 7.2 ms on cpu" in printed
    told = CliRunner().invoke(command, ["pmb", *words, "--json"], catch_exceptions=False).output
    (row,) = json.loads(told)["methods"]
    assert row["measured"][0]["image_auroc"] == 0.91234


def test_without_a_folder_the_shipped_figures_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"fp32": {"image_auroc": 0.95, "engine_ms": 12.0},
            "int8": {"image_auroc": 0.94, "engine_ms": 4.0}}  # fmt: skip
    row = {"data": "line", "minutes": 25.0, "device": "cpu", "cpu": "a CPU", "cores": 2}
    row |= {**rows["fp32"], "precisions": rows}
    monkeypatch.setattr("edge_ad.cli.methods._shipped", lambda: {"ear": [row]})
    table = CliRunner().invoke(command, [], catch_exceptions=False).output
    assert "measured: line, 25 min of training: image AUROC 0.950, 12.0 ms on cpu" in table
    told = CliRunner().invoke(command, ["ear"], catch_exceptions=False).output
    assert "int8: image AUROC 0.940, 4.0 ms; a CPU, 2 cores" in told


def test_what_is_shipped_is_read_as_a_package_resource() -> None:
    assert set(_shipped()) <= set(METHODS)


def test_a_missing_folder_of_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone: no such folder"):
        CliRunner().invoke(command, ["--results", str(tmp_path / "gone")], catch_exceptions=False)


def test_a_broken_result_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cpu-methods-pmb-line.fp32.json").write_text("{}")
    with pytest.raises(DataError, match=r"cpu-methods-pmb-line.fp32.json: not a result file"):
        CliRunner().invoke(command, ["--results", str(tmp_path)], catch_exceptions=False)


def test_a_misspelt_method_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"'pbm'. Did you mean 'pmb'"):
        CliRunner().invoke(command, ["pbm"], catch_exceptions=False)
