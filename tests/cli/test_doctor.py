"""`edge-ad doctor` succeeds on every machine."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from click.testing import CliRunner

from edge_ad.cli.doctor import command
from edge_ad.machine import clocks, gpu, host
from edge_ad.machine.features import Feature
from edge_ad.machine.fix_script import fix_script
from edge_ad.machine.gpu import GpuDevice, Gpus
from edge_ad.machine.host import Jetson


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """Return what doctor reports of this machine; it takes a moment to try all packages."""
    result = CliRunner().invoke(command, ["--json"])
    assert result.exit_code == 0
    return dict(json.loads(result.stdout))


def test_json_holds_machine_engines_and_features(report: dict[str, Any]) -> None:
    assert report["type"] == "doctor"
    assert report["opencv"]["version"]
    assert report["engines"][0]["name"] == "onnxruntime"
    assert {"name", "missing", "fix"} == set(report["features"][0])


def test_one_script_installs_what_is_missing(report: dict[str, Any]) -> None:
    script = CliRunner().invoke(command, ["--fix"]).stdout
    assert subprocess.run(["sh", "-n"], input=script, text=True).returncode == 0
    for feature in report["features"]:
        shown = " ".join(f"# {feature['name']}: needs {feature['missing']}".split())
        assert (shown in script) == bool(feature["missing"])


def test_the_script_joins_extras_and_leaves_advice_to_people() -> None:
    script = fix_script(
        [
            Feature("training", "the Python package torch", "pip install 'edge-ad[train]'"),
            Feature("images"),
            Feature("reports", "the Python package rich", "pip install 'edge-ad[evaluate]'"),
            Feature("USB cameras", "a camera", "plug one in, then: ls /dev/video*"),
            Feature("CSI", "GStreamer", "sudo apt install x && python3 -m venv .venv && cd x"),
            Feature("RTSP", "GStreamer", "sudo apt install x && python3 -m venv .venv && cd x"),
            Feature("windows", "a window", "pip uninstall -y a && pip install b"),
            Feature("OpenCV", "OpenCV", "/opt/a/python -m pip install c"),
        ],
        "/my line/python",
    )
    commands = [line for line in script.splitlines() if line and not line.startswith("#")]
    assert commands == [
        "set -eu",
        "PYTHON='/my line/python'  # the one that runs edge-ad",
        "\"$PYTHON\" -m pip install 'edge-ad[train,evaluate]'",
        "sudo apt-get install -y x",
        '"$PYTHON" -m pip uninstall -y a',
        '"$PYTHON" -m pip install b',
        "/opt/a/python -m pip install c",
    ]
    assert "# and edge-ad in an environment that sees it: python3 -m venv .venv && cd x" in script
    assert "# plug one in, then: ls /dev/video*" in script
    assert "Nothing is missing" in fix_script([Feature("images")])


def test_every_missing_feature_is_listed_in_words(report: dict[str, Any]) -> None:
    output = CliRunner().invoke(command).stdout
    for feature in report["features"]:
        assert f"{'missing' if feature['missing'] else 'ready  '}  {feature['name']}" in output


def test_a_processor_that_is_slow_in_int8_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "adds_int8_exactly", lambda root: False)
    assert "MiB, no VNNI: int8 is slower" in CliRunner().invoke(command).stdout


def test_a_jetson_with_a_gpu_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    orin = GpuDevice("Orin", "8.7", 7620)
    monkeypatch.setattr(gpu, "read_gpus", lambda: Gpus((orin,), "540.4.0", "12.6"))
    monkeypatch.setattr(host, "read_jetson", lambda: Jetson("Orin Nano", "36.4.3", "6"))
    monkeypatch.setattr(clocks, "read_power_mode", lambda: "MAXN")
    output = CliRunner().invoke(command).stdout
    assert "Orin Nano, L4T 36.4.3, JetPack 6, power mode MAXN" in output
    assert "Orin, compute 8.7, 7620 MiB" in output
    assert "540.4.0, CUDA up to 12.6" in output
