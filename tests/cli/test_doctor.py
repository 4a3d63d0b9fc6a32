"""`edge-ad doctor` ends well on every machine."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from edge_ad.cli.doctor import command
from edge_ad.machine import gpu, host
from edge_ad.machine.gpu import Gpu, Gpus
from edge_ad.machine.host import Jetson


def test_json_holds_machine_engines_and_features() -> None:
    ended = CliRunner().invoke(command, ["--json"])
    assert ended.exit_code == 0
    found = json.loads(ended.stdout)
    assert found["type"] == "doctor"
    assert found["opencv"]["version"]
    assert found["engines"][0]["name"] == "onnxruntime"
    assert {"name", "lacks", "mend"} == set(found["features"][0])


def test_every_missing_feature_is_told_in_words() -> None:
    found = json.loads(CliRunner().invoke(command, ["--json"]).stdout)
    lines = CliRunner().invoke(command).stdout
    for feature in found["features"]:
        assert f"{'missing' if feature['lacks'] else 'ready  '}  {feature['name']}" in lines


def test_a_jetson_with_a_card_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Gpu("Orin", "8.7", 7620)
    monkeypatch.setattr(gpu, "read_gpus", lambda: Gpus((card,), "540.4.0", "12.6"))
    monkeypatch.setattr(host, "read_jetson", lambda: Jetson("Orin Nano", "36.4.3", "6"))
    lines = CliRunner().invoke(command).stdout
    assert "Orin Nano, L4T 36.4.3, JetPack 6" in lines
    assert "Orin, compute 8.7, 7620 MiB" in lines
    assert "540.4.0, CUDA up to 12.6" in lines
