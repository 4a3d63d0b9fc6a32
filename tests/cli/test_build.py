"""`edge-ad build` with the real TensorRT-RTX."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from edge_ad.engine.tensorrt import preflight
from edge_ad.export.plan.build import build_plan
from edge_ad.files import sha256
from edge_ad.manifest import Threshold
from edge_ad.plan_record import NoGpu, Runtime
from edge_ad.sidecar import set_threshold
from tests.export.models import run
from tests.export.plan.plan_graphs import graph, saved

pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed: nothing to build with")

THRESHOLD = Threshold(image=0.5, pixel=0.4, false_alarm_rate=0.01, confidence=0.95, images=300)
RTX: Runtime = "tensorrt-rtx"


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    return saved(graph(), tmp_path / "part.onnx")


def test_the_command_prints_what_was_built(
    onnx_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("build", onnx_file, "--runtime", RTX, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["plan"] == str(onnx_file.with_suffix(".plan"))
    assert result["build"]["onnx_sha256"] == sha256(onnx_file)
    assert result["threshold"] is False


def test_the_command_needs_no_progress_bar(
    onnx_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    assert run("build", onnx_file, "--runtime", RTX) == 0


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--batch", "4:2:8"], 2, "least <= usual <= most"),
        (["--batch", "many"], 2, "images a call like 4"),
        (["--compute-capability", "ada"], 2, "like 8.9"),
        (["--hardware-compatible", "--runtime", RTX], 2, "leave it out"),
        (["--workspace-mib", "1", "--runtime", RTX], 3, "--workspace-mib"),
    ],
)
def test_wrong_options_end_with_their_exit_code(
    onnx_file: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, text: str
) -> None:
    assert run("build", onnx_file, *words) == code
    assert text in capsys.readouterr().err


def test_a_plan_without_a_gpu_ends_with_exit_3(
    onnx_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = onnx_file.with_suffix(".plan")
    set_threshold(onnx_file, THRESHOLD)
    build_plan(onnx_file, plan, runtime=RTX)
    monkeypatch.setattr(preflight, "gpu_here", lambda: NoGpu("no driver"))
    assert run("run", "--camera", "pattern://?frames=1", "--engine", plan) == 3
    assert "on other machines run part.onnx" in capsys.readouterr().err
