"""Sensor values of 12 bits in 16-bit files, from training to the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edge_ad.calibration.ranges.table import load_table
from edge_ad.images import read_image, write_image
from tests.calibration.int8_models import MANIFEST, Tiny, labelled, part_image
from tests.conftest import MakeEngine, invoke

pytestmark = pytest.mark.usefixtures("plain_charts")

_TINY = ("rec_base=4", "seg_base=4")


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Return a folder of the same images twice: with 8 bits, and with 12 bits in `deep`."""
    rng, folder = np.random.default_rng(5), tmp_path / "parts"
    for index in range(16):
        image = part_image(rng)
        write_image(folder / "plain" / f"{index:02d}.png", image)
        write_image(folder / "deep" / f"{index:02d}.png", _deep(image))
    return folder


def _deep(image: Any) -> Any:
    return (image.astype(np.uint16) << 4) + 7  # the lowest bits are noise


def _deepen(folder: Path) -> Path:
    """Rewrite the images of a labelled set, not its masks, with 12 bits."""
    for path in (folder / "test").rglob("*.png"):
        write_image(path, _deep(read_image(path)))
    return folder


def _run(*words: object) -> dict[str, Any]:
    done = invoke(*words, "--json")
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_the_line_judges_them_as_it_judges_8_bits(parts: Path, make_engine: MakeEngine) -> None:
    engine, scores = make_engine(threshold=None), {}
    for name in ("plain", "deep"):
        done = invoke(
            "run", "--camera", parts / name, "--engine", engine, "--threshold", 0.9, "--json"
        )
        records = [json.loads(line) for line in done.stdout.splitlines()]
        scores[name] = [r["score"] for r in records if r["type"] == "inspection"]
    assert scores["deep"] == scores["plain"] and max(scores["plain"]) > 0.3


def test_capture_finds_no_more_duplicates_than_with_8_bits(parts: Path, tmp_path: Path) -> None:
    kept = [
        _run("capture", "--camera", parts / name, "-o", tmp_path / name)["kept"]
        for name in ("plain", "deep")
    ]
    assert kept[0] == kept[1] > 8


@pytest.mark.slow
def test_all_verbs_keep_the_depth_of_the_training(parts: Path, tmp_path: Path) -> None:
    weights, engine = tmp_path / "part.pt", tmp_path / "part.onnx"
    tests = {"plain": labelled(tmp_path / "plain", 6), "deep": _deepen(labelled(tmp_path / "d", 6))}
    sets = [word for name in _TINY for word in ("--set", f"network.{name}")]
    words = ("--method", "draem", "--size", "32x32", "--set", "steps=4", "--set", "batch=2", *sets)
    figures: dict[str, list[Any]] = {"plain": [], "deep": []}
    for name, bits in (("plain", 8), ("deep", 12)):
        result = _run(
            "train", "--data", parts / name, "-o", weights, *words, "--parts-from", "each"
        )
        assert result["bit_depth"] == bits
        _run("export", weights, "-o", engine, "--images", parts / name)
        result = _run("evaluate", engine, "--data", tests[name])
        assert result["bit_depth"] == bits
        figures[name].append({key: result[key] for key in ("image_auroc", "pixel_ap", "aupro")})
        result = _run("verify", engine, engine, "--images", parts / name)
        figures[name].append(result["score_scale"])
        _run("run", "--camera", parts / name, "--engine", engine, "--threshold", 99)
    assert figures["deep"] == figures["plain"]


@pytest.mark.parametrize("trained", [True, False])
def test_calibrate_takes_the_depth_of_the_training_or_of_the_images(
    parts: Path, tmp_path: Path, *, trained: bool
) -> None:
    tests = {"plain": labelled(tmp_path / "plain", 6), "deep": _deepen(labelled(tmp_path / "d", 6))}
    limits = ("--max-auroc-loss", 1, "--max-pixel-ap-loss", 1, "--max-float", 0)
    figures = []
    for name, bits in (("plain", 8), ("deep", 12)):
        engine = tmp_path / f"{name}.onnx"
        manifest = MANIFEST.replace(bit_depth=bits if trained else None)
        onnx.save(Tiny().model(manifest), engine)
        good = ("--images", parts / name, "--test", tests[name], "--method", "minmax")
        result = _run("calibrate", engine, *good, *limits, "--parts-from", "each")
        figures.append((result["gate"]["fp32"], load_table(Path(result["ranges"])).tensors))
    assert figures[0] == figures[1]


def test_an_image_of_8_bits_among_them_is_refused_by_name(
    parts: Path, make_engine: MakeEngine
) -> None:
    write_image(parts / "deep" / "odd.png", part_image(np.random.default_rng(0)))
    engine = make_engine(threshold=None)
    words = ("--camera", parts / "deep", "--engine", engine, "--threshold", 0.9)
    assert _run("run", *words)["invalid"] == 1
    rate = ("--images", parts / "deep", "--parts-from", "each", "--false-alarm-rate", 0.2)
    done = invoke("threshold", engine, *rate)
    assert "odd.png: pixels have 8 bits, expected 12 like the others" in done.stdout + done.stderr
