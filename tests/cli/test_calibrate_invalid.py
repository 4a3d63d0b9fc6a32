"""`edge-ad calibrate` with candidates whose output is no number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from edge_ad.calibration.quantize.qdq import quantize
from tests.calibration.int8_models import Tiny, images, labelled
from tests.conftest import invoke

pytestmark = pytest.mark.usefixtures("plain_charts")
EACH = ("--parts-from", "each")


def _breaking(original: Callable[..., ModelProto], value: float) -> Callable[..., ModelProto]:
    """Return a quantizer whose graphs multiply the score by `value`."""

    def broken(*args: object) -> ModelProto:
        model = original(*args)
        score = next(node for node in model.graph.node if "anomaly_score" in node.output)
        score.output[0] = "score_before"
        factor = numpy_helper.from_array(np.float32(value), "factor")
        model.graph.initializer.append(factor)
        node = onnx.helper.make_node("Mul", ["score_before", "factor"], ["anomaly_score"], "broken")
        model.graph.node.append(node)
        return model

    return broken


@pytest.mark.parametrize("value", [np.nan, pytest.param(np.inf, marks=pytest.mark.slow)])
def test_an_output_that_is_no_number_fails_the_gate(
    tmp_path: Path, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "edge_ad.calibration.quantize.evaluator.quantize"
    monkeypatch.setattr(name, _breaking(quantize, value))
    engine, out = Tiny().save(tmp_path / "tiny.onnx"), tmp_path / "out.int8.onnx"
    folders = ("--images", images(tmp_path / "normal", 16), "--test", labelled(tmp_path / "l", 8))
    done = invoke("calibrate", engine, "-o", out, *folders, *EACH, "--max-float", 1, "--json")
    assert done.returncode == 4, done.stderr
    assert "its output contains NaN or Inf; image_auroc cannot be computed" in done.stderr
    report = json.loads(done.stdout.splitlines()[0])
    assert report["gate"]["int8"]["image_auroc"] is None and not out.exists()
