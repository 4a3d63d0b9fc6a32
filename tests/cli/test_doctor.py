"""`edge-ad doctor` succeeds on every machine."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from edge_ad.cli.doctor import command
from edge_ad.machine import gpu, host
from edge_ad.machine.gpu import GpuDevice, Gpus
from edge_ad.machine.host import Jetson


def test_json_holds_machine_engines_and_features() -> None:
    result = CliRunner().invoke(command, ["--json"])
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["type"] == "doctor"
    assert report["opencv"]["version"]
    assert report["engines"][0]["name"] == "onnxruntime"
    assert {"name", "missing", "fix"} == set(report["features"][0])


def test_every_missing_feature_is_listed_in_words() -> None:
    report = json.loads(CliRunner().invoke(command, ["--json"]).stdout)
    output = CliRunner().invoke(command).stdout
    for feature in report["features"]:
        assert f"{'missing' if feature['missing'] else 'ready  '}  {feature['name']}" in output


def test_a_jetson_with_a_gpu_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    orin = GpuDevice("Orin", "8.7", 7620)
    monkeypatch.setattr(gpu, "read_gpus", lambda: Gpus((orin,), "540.4.0", "12.6"))
    monkeypatch.setattr(host, "read_jetson", lambda: Jetson("Orin Nano", "36.4.3", "6"))
    output = CliRunner().invoke(command).stdout
    assert "Orin Nano, L4T 36.4.3, JetPack 6" in output
    assert "Orin, compute 8.7, 7620 MiB" in output
    assert "540.4.0, CUDA up to 12.6" in output
