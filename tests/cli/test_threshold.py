"""`edge-ad threshold` from end to end."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_ad.files import sha256_of
from edge_ad.manifest import Provenance, load_sidecar, manifest_from_json
from tests.conftest import edge_ad

MakePath = Callable[..., Path]


def threshold(*args: object) -> subprocess.CompletedProcess[str]:
    return edge_ad("threshold", *args)


def test_a_threshold_is_stored_and_the_line_uses_it(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    engine, good = make_engine(threshold=None), make_folder("good", 60)
    done = threshold(engine, "--images", good, "--false-alarm-rate", 0.05, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["images"], result["images_needed"], result["near_duplicates"]) == (60, 59, 0)
    sidecar = load_sidecar(engine)
    assert sidecar is not None and sidecar.threshold is not None
    assert sidecar.threshold.image == result["image"] < 60 / 255
    assert len(sidecar.threshold.data_sha256) == 64
    run = subprocess.run(
        [sys.executable, "-m", "edge_ad", "run", "--json", "--engine", str(engine),
         "--camera", str(make_folder("parts", 6, bright=(2, 3)))],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(run.stdout.splitlines()[-1])["rejected"] == 2


def test_too_few_images_are_refused_and_nothing_is_stored(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    engine, good = make_engine(threshold=None), make_folder("good", 20)
    done = threshold(engine, "--images", good)
    assert done.returncode == 4 and "2995" in done.stderr
    assert load_sidecar(engine) is None
    done = threshold(engine, "--images", good, "--at-best")
    assert done.returncode == 0 and "0.14" in done.stdout
    assert load_sidecar(engine) is not None


def test_a_refusal_in_json_carries_the_figures(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    done = threshold(make_engine(), "--images", make_folder("good", 20), "--json")
    result = json.loads(done.stdout)
    assert done.returncode == result["exit"] == 4 and result["error"] == "GateFailed"
    assert (result["images"], result["images_needed"]) == (20, 2995)
    assert result["supported_rate"] == pytest.approx(0.139, abs=1e-3)


def test_the_highest_scores_are_named_since_a_bad_part_may_be_among_them(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    args = ("--images", make_folder("good", 9, bright=(4,)), "--at-best")
    assert "good parts: 004.png 0.98" in threshold(make_engine(), *args).stderr
    result = json.loads(threshold(make_engine(), *args, "--json").stdout)
    assert result["highest"][0] == ["004.png", pytest.approx(250 / 255)]


def test_images_the_detector_was_trained_on_are_named_as_such(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    onnx = pytest.importorskip("onnx")
    engine, good = make_engine(), make_folder("good", 5)
    model = onnx.load(engine)
    provenance = Provenance(data_sha256=sha256_of(good.iterdir()))
    (entry,) = model.metadata_props
    manifest = manifest_from_json(entry.value, "green").model_copy(
        update={"provenance": provenance}
    )
    entry.value = manifest.model_dump_json()
    onnx.save(model, engine)
    done = threshold(engine, "--images", good, "--at-best")
    assert done.returncode == 0 and "was trained on" in done.stderr
    (good / "000.png").unlink()
    assert "was trained on" not in threshold(engine, "--images", good, "--at-best").stderr


def test_weights_get_no_threshold(tmp_path: Path, make_folder: MakePath) -> None:
    done = threshold(tmp_path / "destseg.pt", "--images", make_folder("good", 2))
    assert done.returncode == 2 and "edge-ad export" in done.stderr


def test_another_geometry_than_the_engines_is_reported(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    args = ("--images", make_folder("good", 5), "--at-best")
    done = threshold(make_engine(), *args, "--tiles", "2x2")
    assert done.returncode == 0 and "run needs --tiles 2x2" in done.stderr
    assert "geometry" not in threshold(make_engine(), *args).stderr


@pytest.mark.parametrize(
    "verb", [("run", "--camera"), ("bench", "--rounds", 1, "--duration-s", 0, "--camera"),
             ("evaluate", "--data")],
)  # fmt: skip
def test_a_threshold_for_another_region_is_refused_unless_one_is_given(
    make_engine: MakePath, make_folder: MakePath, verb: tuple[object, ...]
) -> None:
    if verb[0] == "evaluate":
        pytest.importorskip("sklearn", reason="metrics need edge-ad[evaluate]")
    engine, good = make_engine(), make_folder("good", 5)
    roi = ("--roi", "0,0,64,32")
    done = threshold(engine, "--images", good, "--at-best", *roi)
    assert done.returncode == 0, done.stderr
    test = good.parent / "data" / "test" / "good"
    shutil.copytree(good, test)
    images = test.parent.parent if verb[0] == "evaluate" else good
    args = (*verb, images, *([] if verb[0] == "evaluate" else ["--engine"]), engine, "--json")
    done = edge_ad(*args)
    assert done.returncode == 3 and "Traceback" not in done.stderr, done.stderr
    assert "--roi expected 0,0,64,32, got none" in done.stderr
    assert f"edge-ad threshold {engine} --images GOOD_DIR --false-alarm-rate" in done.stderr
    assert edge_ad(*args, *roi).returncode == 0
    assert edge_ad(*args, "--threshold", 0.5).returncode == 0


def test_the_scores_are_plotted(
    make_engine: MakePath, make_folder: MakePath, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    args = ("--images", make_folder("good", 9), "--at-best", "--plot", tmp_path / "scores.png")
    assert threshold(make_engine(), *args).returncode == 0
    assert (tmp_path / "scores.png").stat().st_size > 5000


@pytest.mark.parametrize("bad", ["missing", "empty", "all unreadable"])
def test_bad_images_are_named(make_engine: MakePath, make_folder: MakePath, bad: str) -> None:
    folder = make_folder("good", 0 if bad == "empty" else 2)
    for image in folder.iterdir():
        image.write_bytes(b"")
    uri = folder / "none" if bad == "missing" else folder
    done = threshold(make_engine(), "--images", uri, "--at-best")
    assert done.returncode == 2 and str(uri) in done.stderr
    assert "Traceback" not in done.stderr
