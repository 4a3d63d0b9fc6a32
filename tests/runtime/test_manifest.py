from __future__ import annotations

from pathlib import Path

import pytest

from edge_ad.errors import IncompatibleError
from edge_ad.files import sha256
from edge_ad.geometry import Geometry
from edge_ad.manifest import (
    Manifest,
    Sidecar,
    Threshold,
    load_sidecar,
    manifest_from_json,
    save_sidecar,
    sidecar_path,
)

THRESHOLD = Threshold(image=0.1, pixel=0.2, false_alarm_rate=0.01, confidence=0.95, images=300)


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"graph")
    return path


def test_a_manifest_survives_its_journey() -> None:
    geometry = Geometry(roi_xywh=(1, 2, 3, 4), ignore=(((0, 0), (5, 0), (0, 5)),), tiles=(2, 3))
    manifest = Manifest(method="destseg", size_hw=(128, 256), batch=None, geometry=geometry)
    assert manifest_from_json(manifest.model_dump_json(), "x") == manifest


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"method": "a", "size_hw": [0, 1]}', '{"method": 3}']
)
def test_a_foreign_manifest_is_named(text: str) -> None:
    with pytest.raises(IncompatibleError, match=r"x\.onnx: its edge-ad manifest"):
        manifest_from_json(text, "x.onnx")


def test_a_sidecar_survives_its_journey(engine: Path) -> None:
    sidecar = Sidecar(engine_sha256=sha256(engine), threshold=THRESHOLD)
    assert save_sidecar(engine, sidecar) == sidecar_path(engine)
    assert load_sidecar(engine) == sidecar


def test_no_sidecar_is_no_error(engine: Path) -> None:
    assert load_sidecar(engine) is None


def test_a_sidecar_of_other_bytes_is_refused(engine: Path) -> None:
    save_sidecar(engine, Sidecar(engine_sha256=sha256(engine), threshold=THRESHOLD))
    engine.write_bytes(b"another graph")
    with pytest.raises(IncompatibleError, match="edge-ad threshold"):
        load_sidecar(engine)


@pytest.mark.parametrize("text", ["", "a: [", "engine_sha256: 3", "- 1", "engine_sha256: a\nx: 1"])
def test_a_broken_sidecar_is_named(engine: Path, text: str) -> None:
    sidecar_path(engine).write_text(text)
    with pytest.raises(IncompatibleError, match=r"a\.onnx\.yaml"):
        load_sidecar(engine)
