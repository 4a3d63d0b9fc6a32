from __future__ import annotations

from pathlib import Path

import pytest

import edge_ad
from edge_ad.errors import IncompatibleError
from edge_ad.files import sha256
from edge_ad.geometry import Geometry
from edge_ad.manifest import Manifest, Sidecar, Threshold, manifest_from_json
from edge_ad.sidecar import check_geometry, load_sidecar, save_sidecar, set_threshold, sidecar_path

THRESHOLD = Threshold(image=0.1, pixel=0.2, false_alarm_rate=0.01, confidence=0.95, images=300)


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"graph")
    return path


def test_a_manifest_can_be_read_back() -> None:
    geometry = Geometry(roi_xywh=(1, 2, 3, 4), ignore=(((0, 0), (5, 0), (0, 5)),), tiles=(2, 3))
    manifest = Manifest(method="destseg", size_hw=(128, 256), batch=None, geometry=geometry)
    assert manifest_from_json(manifest.to_json(), "x") == manifest


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"method": "a", "size_hw": [0, 1]}', '{"method": 3}']
)
def test_a_foreign_manifest_is_named(text: str) -> None:
    with pytest.raises(IncompatibleError, match=r"x\.onnx: its edge-ad manifest"):
        manifest_from_json(text, "x.onnx")


def test_a_sidecar_can_be_read_back(engine: Path) -> None:
    sidecar = Sidecar(engine_sha256=sha256(engine), threshold=THRESHOLD)
    assert save_sidecar(engine, sidecar) == sidecar_path(engine)
    assert load_sidecar(engine) == sidecar


def test_a_plan_for_any_number_of_images_stays_one(engine: Path) -> None:
    manifest = Manifest(method="destseg", size_hw=(128, 256), batch=None)
    save_sidecar(engine, Sidecar(engine_sha256=sha256(engine), manifest=manifest))
    stored = load_sidecar(engine)
    assert stored is not None and stored.manifest == manifest


def test_a_missing_sidecar_is_none(engine: Path) -> None:
    assert load_sidecar(engine) is None


def test_a_sidecar_of_another_engine_is_refused(engine: Path) -> None:
    save_sidecar(engine, Sidecar(engine_sha256=sha256(engine), threshold=THRESHOLD))
    engine.write_bytes(b"another graph")
    with pytest.raises(IncompatibleError, match="edge-ad threshold"):
        load_sidecar(engine)


@pytest.mark.parametrize(
    ("stored", "edited"), [("image: 0.1", "image: 0.3"), ("rate: 0.01", "rate: 0.001")]
)
def test_a_threshold_that_was_edited_is_refused(engine: Path, stored: str, edited: str) -> None:
    path = set_threshold(engine, THRESHOLD)
    text = path.read_text()
    path.write_text("# a remark\n" + text)
    assert load_sidecar(engine) is not None
    path.write_text(text.replace(stored, edited))
    with pytest.raises(IncompatibleError, match=r"was changed since .*Restore the file: .*"):
        load_sidecar(engine)


def test_a_sidecar_written_elsewhere_needs_no_digest(engine: Path) -> None:
    set_threshold(engine, THRESHOLD)
    lines = sidecar_path(engine).read_text().splitlines()
    kept = [line for line in lines if not line.startswith("threshold_sha256")]
    assert len(kept) == len(lines) - 1
    sidecar_path(engine).write_text("\n".join(kept))
    assert load_sidecar(engine) is not None


@pytest.mark.parametrize("text", ["", "a: [", "engine_sha256: 3", "- 1", "engine_sha256: a\nx: 1"])
def test_a_broken_sidecar_is_named(engine: Path, text: str) -> None:
    sidecar_path(engine).write_text(text)
    with pytest.raises(IncompatibleError, match=r"a\.onnx\.yaml"):
        load_sidecar(engine)


ROI = Geometry(roi_xywh=(0, 32, 64, 32))


def set_with(geometry: Geometry) -> Threshold:
    return THRESHOLD.replace(geometry=geometry)


def test_a_sidecar_keeps_the_geometry_of_its_threshold(engine: Path) -> None:
    threshold = set_with(ROI.changed({"ignore": (((0, 0), (5, 0), (0, 5)),), "tiles": (2, 3)}))
    set_threshold(engine, threshold)
    sidecar = load_sidecar(engine)
    assert sidecar is not None and sidecar.threshold == threshold
    assert Threshold.from_dict(threshold.to_dict()) == threshold


def test_the_shipped_threshold_is_readable() -> None:
    shipped = Path(edge_ad.__file__).parent / "sample" / "engine.onnx"
    sidecar = load_sidecar(shipped)
    assert sidecar is not None and sidecar.threshold is not None
    lane = sidecar.threshold.geometry
    assert lane is not None and lane.roi_xywh is not None
    check_geometry(shipped, sidecar.threshold, lane, lane)
    with pytest.raises(IncompatibleError, match="--roi"):
        check_geometry(shipped, sidecar.threshold, Geometry(), lane)


@pytest.mark.parametrize(
    ("threshold", "used", "trained"),
    [
        pytest.param(Geometry(), Geometry(), Geometry(), id="no options"),
        pytest.param(ROI, ROI, Geometry(), id="the same flags"),
        pytest.param(ROI, ROI, ROI, id="from training"),
        pytest.param(
            Geometry(overlap=0.1), Geometry(overlap=0.3), Geometry(), id="one tile overlaps nothing"
        ),
    ],
)
def test_a_threshold_holds_for_its_own_geometry(
    threshold: Geometry, used: Geometry, trained: Geometry
) -> None:
    check_geometry(Path("a.onnx"), set_with(threshold), used, trained)


@pytest.mark.parametrize(
    ("threshold", "used", "trained", "parts"),
    [
        pytest.param(
            Geometry(), ROI, Geometry(),
            ["--roi expected none, got 0,32,64,32", "with no geometry options",
             "edge-ad threshold 'a b.onnx' --images GOOD_DIR --false-alarm-rate 0.01 "
             "--confidence 0.95 --roi 0,32,64,32  (or"], id="a region for the line alone",
        ),
        pytest.param(
            ROI, Geometry(), Geometry(),
            ["--roi expected 0,32,64,32, got none", "with --roi 0,32,64,32",
             "--confidence 0.95  (or"], id="a region for the threshold alone",
        ),
        pytest.param(
            ROI, ROI.changed({"tiles": (2, 1), "overlap": 0.2}), ROI,
            ["--tiles expected 1x1, got 2x1; --overlap expected none, got 0.2",
             "--confidence 0.95 --tiles 2x1 --overlap 0.2  (or"], id="tiles",
        ),
        pytest.param(
            Geometry(ignore=(((0, 0), (5, 0), (0, 5)),)),
            Geometry(ignore=(((0, 0), (5, 0), (0, 9)),)), Geometry(),
            ["--ignore expected 0,0 5,0 0,5, got 0,0 5,0 0,9", "with --ignore '0,0 5,0 0,5'",
             "--ignore '0,0 5,0 0,9'  (or"], id="polygons",
        ),
    ],
)  # fmt: skip
def test_another_geometry_is_refused_with_the_command_that_fixes_it(
    threshold: Geometry, used: Geometry, trained: Geometry, parts: list[str]
) -> None:
    with pytest.raises(IncompatibleError) as raised:
        check_geometry(Path("a b.onnx"), set_with(threshold), used, trained)
    for part in parts:
        assert part in str(raised.value)


def test_the_order_of_ignored_polygons_does_not_matter() -> None:
    one, two = ((0, 0), (5, 0), (0, 5)), ((9, 9), (5, 9), (9, 5))
    both = [Geometry(ignore=(one, two)), Geometry(ignore=(two, one))]
    check_geometry(Path("a.onnx"), set_with(both[0]), both[1], Geometry())
