"""The threshold that `edge-ad calibrate` gives an int8 engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from edge_ad.data_split import DataSplit, ImageSet
from edge_ad.geometry import Geometry
from edge_ad.manifest import Threshold
from edge_ad.parts import identify
from edge_ad.sidecar import load_sidecar, set_threshold
from tests.calibration.int8_models import MANIFEST, Tiny, images
from tests.calibration.int8_models import calibrate as run

pytestmark = pytest.mark.usefixtures("plain_charts")

LOOSE = ("--max-auroc-loss", 1, "--max-pixel-ap-loss", 1)
ONE_METHOD = ("--method", "minmax")
EACH = ("--parts-from", "each")  # these images do not show which part is which


@pytest.fixture
def normal(tmp_path: Path) -> Path:
    return images(tmp_path / "normal", 16)


def _report(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return report


def test_int8_gets_its_own_threshold_with_the_guarantee_of_fp32(
    normal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = Tiny().save(tmp_path / "tiny.onnx")
    fp32 = Threshold(image=0.5, pixel=0.5, false_alarm_rate=0.3, confidence=0.9, images=16)
    set_threshold(engine, fp32)
    assert run(engine, "--images", normal, *EACH, *LOOSE, "--json") == 0
    sidecar = load_sidecar(engine.with_suffix(".int8.onnx"))
    assert sidecar is not None
    assert sidecar.threshold is not None
    assert (sidecar.threshold.false_alarm_rate, sidecar.threshold.confidence) == (0.3, 0.9)
    assert sidecar.threshold.image != 0.5
    assert _report(capsys)["threshold"]["images"] == 16


@pytest.mark.parametrize(("rate", "weaker"), [(0.3, False), (0.01, True)])
def test_a_guarantee_weaker_than_that_of_fp32_is_warned_about(
    normal: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, *, rate: float, weaker: bool
) -> None:
    engine = Tiny().save(tmp_path / "tiny.onnx")
    fp32 = Threshold(image=0.5, pixel=0.5, false_alarm_rate=rate, confidence=0.9, images=300)
    set_threshold(engine, fp32)
    assert run(engine, "--images", normal, *EACH, *LOOSE, *ONE_METHOD) == 0
    warned = [one.message for one in caplog.records if "support no better" in one.message]
    assert len(warned) == weaker
    assert not weaker or "a rate of 0.14, fp32's one of 0.01: the parts of" in warned[0]


@pytest.mark.parametrize(
    ("image", "roi_xywh", "unlike"), [(-1, None, True), (9, None, False), (-1, (0, 0, 8, 8), False)]
)
def test_images_that_fp32_rejects_more_often_than_guaranteed_are_warned_about(
    normal: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    *,
    image: float,
    roi_xywh: tuple[int, int, int, int] | None,
    unlike: bool,
) -> None:
    engine = Tiny().save(tmp_path / "tiny.onnx")
    fp32 = Threshold(image=image, pixel=0, false_alarm_rate=0.3, confidence=0.9, images=16)
    set_threshold(engine, fp32.replace(geometry=Geometry(roi_xywh=roi_xywh)))
    assert run(engine, "--images", normal, *EACH, *LOOSE, *ONE_METHOD) == 0
    warned = [one.message for one in caplog.records if "stored threshold" in one.message]
    assert len(warned) == unlike
    assert not unlike or "rejects 16 of 16 parts of --images" in warned[0]


def test_the_threshold_counts_parts_that_were_not_trained_on(
    normal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, path in enumerate(sorted(normal.iterdir())):
        path.rename(normal / f"part{number // 2}_{number % 2}.png")
    ids = [identify(path) for path in sorted(normal.iterdir())]
    for trained, kept, parts in ((8, 8, 4), (0, 16, 8)):
        split = DataSplit(
            trained=ImageSet.of(ids[:trained], ()), threshold=ImageSet.of(ids[trained:], ())
        )
        engine = _with_split(split, tmp_path / "split.onnx")
        assert run(engine, "--images", normal, *LOOSE, *ONE_METHOD, "--json") == 0
        report = _report(capsys)
        threshold = report["threshold"]
        assert (threshold["images"], threshold["parts"], threshold["by"]) == (kept, parts, "part")
        assert threshold["set_aside"] == kept
        assert report["gate"]["alarms"]["normal"] == 8


def test_images_that_were_trained_on_give_ranges_but_no_threshold(
    normal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    every = ImageSet.of([identify(path) for path in normal.iterdir()], ())
    engine = _with_split(DataSplit(trained=every), tmp_path / "split.onnx")
    assert run(engine, "--images", normal, *LOOSE, *ONE_METHOD, "--json") == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out.splitlines()[-1])
    assert report["threshold"] is None and report["gate"]["alarms"] is None
    assert report["gate"]["not_checked"][-1].startswith("false alarms")
    assert not engine.with_suffix(".int8.onnx.yaml").exists()


def _with_split(split: DataSplit, path: Path) -> Path:
    manifest = MANIFEST.replace(data_split=split)
    onnx.save(Tiny().model(manifest), path)
    return path
