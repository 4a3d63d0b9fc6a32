"""What two artefacts are compared on, and which of them can be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_ad.engine import Prediction, ScriptedEngine
from edge_ad.errors import UsageError
from edge_ad.export.parity import Tolerance
from edge_ad.export.verification import check_comparable, predict, verify
from edge_ad.manifest import Manifest, Score

MANIFEST = Manifest(method="tiny", size_hw=(8, 8))
NAMES = (Path("a.onnx"), Path("b.onnx"))


@pytest.mark.parametrize("count", [1, 16, 17, 33])
def test_every_frame_goes_through_the_engine_once(count: int) -> None:
    frames = np.zeros((count, 32, 32, 3), np.uint8)
    frames[:, 3, 4, 1] = np.arange(count) + 50
    prediction = predict(ScriptedEngine(), frames)
    assert prediction.maps.shape == (count, 32, 32)
    assert np.rint(255 * prediction.scores).tolist() == list(range(50, 50 + count))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"method": "other"}, "method tiny against other"),
        ({"size_hw": (8, 16)}, "size .8, 8. against .8, 16."),
        ({"score": Score(top_k=7)}, "score .* against .*7"),
    ],
)
def test_artefacts_of_other_models_are_not_compared(change: dict[str, object], what: str) -> None:
    check_comparable(MANIFEST, MANIFEST.replace(precision="fp16", batch=None), NAMES)
    with pytest.raises(UsageError, match=f"a.onnx and b.onnx cannot be compared: {what}"):
        check_comparable(MANIFEST, MANIFEST.replace(**change), NAMES)


@pytest.mark.parametrize(("reference", "far"), [(-1.005, 0), (-1.05, 1), (-0.95, 0)])
def test_near_a_threshold_below_zero_verdicts_may_flip_too(reference: float, far: int) -> None:
    """Scores with a prior are near 0 on normal parts, and thresholds may be negative."""
    maps = np.zeros((1, 4, 4), np.float32)
    before, after = (
        Prediction(maps, np.array([score], np.float32)) for score in (reference, -0.99)
    )
    result = verify(before, after, Tolerance(1.0, "set by a test", near=0.01), -1.0)
    assert (result.flips, result.far_flips) == (int(reference < -1), far)
