"""Every verb sees the same upright pixels, whichever way a file stores them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_ad.geometry import Geometry
from edge_ad.images import list_images, read_image
from edge_ad.preprocess import Preprocess
from edge_ad.training.data import load_tiles
from tests.calibration.int8_models import Tiny, labelled, part_image
from tests.conftest import MakeEngine, invoke
from tests.images.files import encoded, stored_as

pytestmark = pytest.mark.usefixtures("plain_charts")

Twins = tuple[Path, Path]
COUNT = 40
EACH = ("--parts-from", "each")
CORNER = ("--roi", "0,0,20,20")  # of 40x40: another part of the image where it is turned


@pytest.fixture
def twins(tmp_path: Path) -> Twins:
    """Return folders of the same images: stored upright, and turned in seven ways with a tag."""
    rng, folders = np.random.default_rng(3), (tmp_path / "upright", tmp_path / "turned")
    for folder in folders:
        folder.mkdir()
    for index in range(COUNT):
        image = part_image(rng)
        image[:20, :20] = image[:20, :20] // 2 + 3 * index  # the corner differs from the rest
        for folder, tag in zip(folders, (1, 2 + index % 7), strict=True):
            data = encoded(stored_as(image, tag), "PNG", tag)
            (folder / f"{index:02d}.png").write_bytes(data)
    return folders


def _json(*words: object, code: int = 0) -> list[dict[str, Any]]:
    done = invoke(*words, "--json")
    assert done.returncode == code, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def _same(twins: Twins, figures: Callable[[Path], Any]) -> Any:
    first, second = (figures(folder) for folder in twins)
    assert first == second
    return first


def test_run(twins: Twins, make_engine: MakeEngine) -> None:
    engine = make_engine(threshold=None)

    def scores(folder: Path) -> list[float]:
        words = ("--camera", folder, "--engine", engine, "--threshold", 0.5, *CORNER)
        return [r["score"] for r in _json("run", *words) if r["type"] == "inspection"]

    assert len(set(_same(twins, scores))) > COUNT / 2


def test_threshold(twins: Twins, make_engine: MakeEngine) -> None:
    engine = make_engine(threshold=None)
    rate = ("--false-alarm-rate", 0.2, "--parts-from", "each", "--allow-drift")

    def values(folder: Path) -> tuple[float, float]:
        (result,) = _json("threshold", engine, "--images", folder, *rate, *CORNER)
        return result["threshold"], result["pixel_threshold"]

    assert _same(twins, values)[0] > 0


def test_capture(twins: Twins, tmp_path: Path) -> None:
    def saved(folder: Path) -> list[bytes]:
        out = tmp_path / f"captured {folder.name}"
        _json("capture", "--camera", folder, "-o", out)
        return [read_image(path).tobytes() for path in list_images(out)]

    assert len(_same(twins, saved)) > 1


def test_verify(twins: Twins, make_engine: MakeEngine, tmp_path: Path) -> None:
    engine = make_engine(threshold=None)

    def scale(folder: Path) -> float:
        words = ("--images", folder, "--frames", COUNT, "--sheet", tmp_path / f"{folder.name}.png")
        (result,) = _json("verify", engine, engine, *words)
        return float(result["score_scale"])

    _same(twins, scale)
    sheets = [(tmp_path / f"{folder.name}.png").read_bytes() for folder in twins]
    assert sheets[0] == sheets[1]


def test_train(twins: Twins) -> None:
    def tiles(folder: Path) -> bytes:
        loaded = load_tiles(
            list_images(folder), Preprocess((32, 32), Geometry(roi_xywh=(0, 0, 20, 20)))
        )
        return loaded.tiles.tobytes()

    _same(twins, tiles)


def test_calibrate(twins: Twins, tmp_path: Path) -> None:
    def ranges(folder: Path) -> str:
        engine = Tiny().save(tmp_path / folder.name / "tiny.onnx")
        words = ("--method", "minmax", "--no-gate", "--synthetic-anomalies", 0)
        (result,) = _json("calibrate", engine, "--images", folder, *EACH, *words)
        text = Path(result["ranges"]).read_text()
        return re.sub(r"sha256: .*", "", text)

    assert "amax" in _same(twins, ranges)


@pytest.mark.parametrize("verb", ["evaluate", "calibrate"])
def test_labelled_images(tmp_path: Path, verb: str) -> None:
    """Turn the images of a labelled set, and their masks in the same way."""
    upright, turned = (labelled(tmp_path / name, 8) for name in ("one", "two"))
    for path in sorted(turned.rglob("*.png")):
        tag = 2 + int(path.stem[:3]) % 7
        pixels = read_image(path)[:, :, ::-1]
        path.write_bytes(encoded(stored_as(pixels, tag), "PNG", tag))
    engine = Tiny().save(tmp_path / "tiny.onnx")

    def figures(folder: Path) -> dict[str, Any]:
        if verb == "evaluate":
            (result,) = _json("evaluate", engine, "--data", folder, *CORNER)
            return {key: result[key] for key in ("image_auroc", "pixel_ap", "aupro", "iap")}
        words = ("--method", "minmax", "--max-auroc-loss", 1, "--max-pixel-ap-loss", 1)
        images = ("--images", upright / "test" / "good", "--samples", 8, "--max-float", 0)
        result = _json("calibrate", engine, "--test", folder, *EACH, *images, *words)[-1]
        return dict(result["gate"]["fp32"])

    first, second = figures(upright), figures(turned)
    assert first == second and None not in first.values()
