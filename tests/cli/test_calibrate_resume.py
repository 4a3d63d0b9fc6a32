"""`edge-ad calibrate` that was killed, and continues with `--resume`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_ad.calibration.quantize import report
from edge_ad.calibration.ranges.collect import RangeObserver
from edge_ad.errors import IncompatibleError
from edge_ad.frame import Image
from edge_ad.images import list_images, read_image, write_image
from edge_ad.manifest import Threshold
from edge_ad.sidecar import set_threshold
from tests.calibration.int8_models import Tiny, images, labelled
from tests.conftest import invoke

pytestmark = pytest.mark.usefixtures("plain_charts")
EACH = ("--parts-from", "each")  # comparing the images takes most of the time
LOOSE = (*EACH, "--max-auroc-loss", "1", "--max-pixel-ap-loss", "1")


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    return Tiny().save(tmp_path / "tiny.onnx")


@pytest.fixture
def normal(tmp_path: Path) -> Path:
    return images(tmp_path / "normal", 16)


def kill_after(code: str, words: list[str], step: str, count: int) -> None:
    """Run `code` with the words of a command, and kill it after `count` lines `step` on stderr."""
    with subprocess.Popen(
        [sys.executable, "-c", code, "calibrate", *words],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    ) as process:
        assert process.stderr is not None
        done = 0
        while done < count and (line := process.stderr.readline()):
            done += line == f"{step}\n"
        process.send_signal(signal.SIGKILL)
    assert done == count


STOP_AFTER_2_CANDIDATES = """
import signal, sys
from itertools import count
from edge_ad.calibration.quantize.evaluator import CandidateEvaluator
figures, calls = CandidateEvaluator.figures, count(1)
def stopping(self, candidate):
    result = figures(self, candidate)
    print("evaluated", file=sys.stderr, flush=True)
    if next(calls) == 2:
        signal.pause()
    return result
CandidateEvaluator.figures = stopping
from edge_ad.cli import main
main()
"""


@pytest.mark.slow
def test_a_killed_run_leaves_nothing_half_written_and_resumes(engine: Path, normal: Path) -> None:
    words = [str(engine), "--images", str(normal), *LOOSE]
    before = set(list_images(normal))
    kill_after(STOP_AFTER_2_CANDIDATES, words, "evaluated", 2)
    out = engine.with_suffix(".int8.onnx")
    assert not out.exists()
    cache = out.with_name(".tiny.int8.unfinished.json")
    known = json.loads(cache.read_text())["results"]
    assert sum(key.startswith("figures") for key in known) >= 2
    done = invoke("calibrate", *words, "--resume", "--json")
    assert done.returncode == 0
    assert "collecting ranges" not in done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    kept = {item["method"]: item["map_error"] for item in report["gate"]["methods"]}
    for key, result in known.items():
        if key.startswith("figures"):
            assert kept[key.split()[1]] == result["figures"]["map_error"]
    assert not cache.exists()
    assert set(list_images(normal)) == before


STOP_AFTER_6_IMAGES = """
import signal, sys
from itertools import count
from edge_ad.calibration.ranges.checkpoint import RangeCheckpoint
from edge_ad.calibration.ranges.collect import RangeObserver
RangeCheckpoint.update = RangeCheckpoint.save  # after every image
observe, calls = RangeObserver.observe, count(1)
def stopping(self, batch, name):
    score = observe(self, batch, name)
    print("observed", file=sys.stderr, flush=True)
    if next(calls) == 6:
        signal.pause()
    return score
RangeObserver.observe = stopping
from edge_ad.cli import main
main()
"""


@pytest.mark.slow
def test_a_killed_pass_over_the_images_resumes(
    engine: Path, normal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [str(engine), "--images", str(normal), *EACH, "--method", "mse", "--no-gate"]
    kill_after(STOP_AFTER_6_IMAGES, words, "observed", 6)
    assert (tmp_path / ".tiny.int8.unfinished.npz").exists()
    observed: list[str] = []
    observe = RangeObserver.observe

    def counted(self: RangeObserver, batch: Image, name: str) -> float:
        observed.append(name)
        return observe(self, batch, name)

    monkeypatch.setattr(RangeObserver, "observe", counted)
    assert invoke("calibrate", *words, "--resume").returncode == 0
    assert len(observed) == 11
    resumed = (tmp_path / "tiny.int8.ranges.yaml").read_text()
    assert not (tmp_path / ".tiny.int8.unfinished.npz").exists()
    assert invoke("calibrate", *words).returncode == 0
    assert len(observed) == 11 + 16
    assert (tmp_path / "tiny.int8.ranges.yaml").read_text() == resumed


def test_the_checkpoint_of_another_pass_is_not_used(
    engine: Path, normal: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = (engine, "--images", normal, *EACH, "--method", "mse", "--no-gate", "--resume")
    checkpoint = tmp_path / ".tiny.int8.unfinished.npz"
    np.savez(checkpoint, identity="another")
    assert invoke("calibrate", *words).returncode == 0
    assert "starting again" in caplog.text
    checkpoint.write_bytes(b"PK cut off")
    assert invoke("calibrate", *words).returncode == 0


@pytest.mark.slow
def test_a_resumed_run_with_another_guarantee_or_other_masks_measures_again(
    engine: Path, normal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = labelled(tmp_path / "labelled", 8)
    loose = (*LOOSE, "--method", "minmax", "--json")
    words = ("calibrate", engine, "--images", normal, "--test", test, *loose)

    def stored(rate: float) -> Threshold:
        return Threshold(image=1, pixel=1, false_alarm_rate=rate, confidence=0.9, images=16)

    def fail(*_: object) -> None:
        raise IncompatibleError("stopped before the results were written")

    with monkeypatch.context() as patch:
        patch.setattr(report, "measure_speed", fail)
        set_threshold(engine, stored(0.4))
        assert invoke(*words).returncode == 3
    set_threshold(engine, stored(0.3))
    for mask in (test / "ground_truth" / "spot").iterdir():
        write_image(mask, np.roll(read_image(mask), 3, axis=1))
    resumed = json.loads(invoke(*words, "--resume").stdout.splitlines()[-1])
    fresh = json.loads(invoke(*words).stdout.splitlines()[-1])
    assert resumed["threshold"]["false_alarm_rate"] == 0.3
    assert resumed["threshold"] == fresh["threshold"]
    assert resumed["gate"]["int8"] == fresh["gate"]["int8"]
