"""`edge-ad threshold` from end to end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.data_split import DataSplit, ImageSet
from edge_ad.images import read_image
from edge_ad.manifest import manifest_from_json
from edge_ad.parts import identify
from edge_ad.sidecar import load_sidecar
from tests.conftest import CompletedProcess, invoke, part_image

MakePath = Callable[..., Path]
EACH = ("--parts-from", "each")  # as the images are: comparing 60 takes a second


def threshold(*args: object) -> CompletedProcess:
    return invoke("threshold", *args)


def test_a_threshold_is_stored_and_the_line_uses_it(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    engine, good = make_engine(threshold=None, score="mean"), make_folder("good", 60)
    done = threshold(engine, "--images", good, *EACH, "--false-alarm-rate", 0.05, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["images"], result["parts_needed"], result["near_duplicates"]) == (60, 59, 0)
    sidecar = load_sidecar(engine)
    assert sidecar is not None and sidecar.threshold is not None
    assert sidecar.threshold.image == result["threshold"] < 60 / 255
    assert len(sidecar.threshold.data_sha256) == 64
    parts = make_folder("parts", 6, bright=(2, 3))
    run = invoke("run", "--json", "--engine", engine, "--camera", parts)
    assert json.loads(run.stdout.splitlines()[-1])["rejected"] == 2


def test_too_few_images_for_a_rate_are_refused_and_nothing_is_stored(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    engine, good = make_engine(threshold=None, score="mean"), make_folder("good", 20)
    args = (engine, "--images", good, *EACH, "--false-alarm-rate", 0.01)
    done = threshold(*args)
    assert done.returncode == 4 and "299" in done.stderr
    assert load_sidecar(engine) is None
    done = threshold(*args, "--at-best")
    assert done.returncode == 0 and "Requested was 0.01, which needs 299 parts" in done.stdout
    assert load_sidecar(engine) is not None


def test_without_a_rate_it_is_the_lowest_that_the_parts_support(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    args = (make_engine(score="mean"), "--images", make_folder("good", 20), *EACH)
    done = threshold(*args)
    assert done.returncode == 0 and "At most 0.15 of normal parts" in done.stdout
    assert "0.05 needs 59 parts, 0.01 needs 299. Collect more for a lower rate." in done.stdout
    result = json.loads(threshold(*args, "--json").stdout)
    assert (result["rate"], result["requested_rate"], result["parts_needed"]) == (0.15, None, None)
    assert result["threshold"] == result["highest"][0][1], "no rate is lower than the maximum's"


def test_a_refusal_in_json_carries_the_figures(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    args = ("--images", make_folder("good", 20), *EACH, "--false-alarm-rate", 0.001)
    done = threshold(make_engine(score="mean"), *args, "--json")
    result = json.loads(done.stdout)
    assert done.returncode == result["exit"] == 4 and result["error"] == "GateFailed"
    assert (result["images"], result["parts_needed"]) == (20, 2995)
    assert result["supported_rate"] == pytest.approx(0.139, abs=1e-3)


def test_the_highest_scores_are_named_since_a_bad_part_may_be_among_them(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    engine, good = make_engine(score="mean"), make_folder("good", 9, bright=(4,))
    done = threshold(engine, "--images", good, *EACH)
    assert done.returncode == 4 and "show good parts: 004.png 0.98" in done.stderr
    (good / "004.png").unlink()
    result = json.loads(threshold(engine, "--images", good, *EACH, "--json").stdout)
    assert len(result["highest"]) == 3 and result["highest"][0][1] == result["threshold"]


def test_weights_get_no_threshold(tmp_path: Path, make_folder: MakePath) -> None:
    done = threshold(tmp_path / "destseg.pt", "--images", make_folder("good", 2))
    assert done.returncode == 2 and "edge-ad export" in done.stderr


def test_another_geometry_than_the_engines_is_reported(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    args = ("--images", make_folder("good", 5), *EACH)
    done = threshold(make_engine(score="mean"), *args, "--tiles", "2x2")
    assert done.returncode == 0 and "run needs --tiles 2x2" in done.stderr
    assert "geometry" not in threshold(make_engine(score="mean"), *args).stderr


@pytest.mark.parametrize(
    "verb", [("run", "--camera"), ("evaluate", "--data"),
             ("bench", "--rounds", 1, "--duration-s", 0.01, "--warmup-ms", 0, "--allow-unstable",
              "--camera")],
)  # fmt: skip
def test_a_threshold_for_another_region_is_refused_unless_one_is_given(
    make_engine: MakePath, make_folder: MakePath, verb: tuple[object, ...]
) -> None:
    if verb[0] == "evaluate":
        pytest.importorskip("scipy", reason="metrics need edge-ad[evaluate]")
    engine, good = make_engine(score="mean"), make_folder("good", 5)
    roi = ("--roi", "0,0,64,32")
    done = threshold(engine, "--images", good, *EACH, *roi)
    assert done.returncode == 0, done.stderr
    test = good.parent / "data" / "test" / "good"
    shutil.copytree(good, test)
    images = test.parent.parent if verb[0] == "evaluate" else good
    args = (*verb, images, *([] if verb[0] == "evaluate" else ["--engine"]), engine, "--json")
    done = invoke(*args)
    assert done.returncode == 3 and "Traceback" not in done.stderr, done.stderr
    assert "--roi expected 0,0,64,32, got none" in done.stderr
    assert f"edge-ad threshold {engine} --images GOOD_DIR --false-alarm-rate" in done.stderr
    assert invoke(*args, *roi).returncode == 0
    assert invoke(*args, "--threshold", 0.5).returncode == 0


def test_a_plot_that_cannot_be_written_is_refused_before_images_are_judged(
    tmp_path: Path,
) -> None:
    (tmp_path / "a").touch()
    words = ("--images", tmp_path / "no images", "--plot", tmp_path / "a" / "scores.png")
    done = threshold(tmp_path / "engine.onnx", *words)
    assert done.returncode == 6 and "cannot be written" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("score", ["mean", "max"])
def test_scores_and_cost_are_plotted_also_on_refusal(
    make_engine: MakePath, make_folder: MakePath, tmp_path: Path, score: str
) -> None:
    pytest.importorskip("matplotlib")
    args = ("--images", make_folder("good", 60), *EACH, "--false-alarm-rate", 0.05)
    done = threshold(make_engine(score=score), *args, "--plot", tmp_path / "scores.png")
    assert done.returncode == (0 if score == "mean" else 4), done.stderr
    assert read_image(tmp_path / "scores.png").shape == (480, 1300, 3)


def test_a_threshold_at_a_tied_maximum_is_refused_and_nothing_is_stored(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    engine = make_engine(threshold=None)  # the maximum of the green channel takes few values
    args = ("--images", make_folder("good", 60), *EACH, "--false-alarm-rate", 0.05)
    done = threshold(engine, *args)
    assert done.returncode == 4 and "the highest score, which" in done.stderr
    assert load_sidecar(engine) is None


def test_a_score_clamped_to_its_maximum_is_refused(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    onnx = pytest.importorskip("onnx")
    engine, good = make_engine(threshold=None, score="mean"), make_folder("good", 60)
    model = onnx.load(engine)
    model.graph.node[-1].output[0] = "raw"
    model.graph.initializer.append(onnx.helper.make_tensor("top", 1, [], [0.1]))
    model.graph.node.append(onnx.helper.make_node("Min", ["raw", "top"], ["anomaly_score"]))
    onnx.save(model, engine)
    done = threshold(engine, "--images", good, *EACH, "--false-alarm-rate", 0.05, "--json")
    assert done.returncode == 4 and json.loads(done.stdout)["distinct_scores"] == 1
    assert "all 60 normal parts score exactly 0.1" in done.stderr
    assert load_sidecar(engine) is None


def test_labelled_anomalies_tell_the_escapes(
    make_engine: MakePath, make_folder: MakePath, tmp_path: Path
) -> None:
    engine, good = make_engine(threshold=None, score="mean"), make_folder("good", 60)
    for kind, spot in (("spot", True), ("faint", False)):
        (tmp_path / "bad" / kind).mkdir(parents=True)
        for seed in range(5):
            image = part_image(spot=spot, seed=100 + seed) // (1 if spot else 2)
            cv2.imwrite(str(tmp_path / "bad" / kind / f"{seed}.png"), image)
    args = ("--images", good, *EACH, "--false-alarm-rate", 0.05, "--anomalies", tmp_path / "bad")
    done = threshold(engine, *args)
    assert done.returncode == 0, done.stderr
    assert "Escapes: 5 of 10 (50.0%; 95 % interval 18.7% to 81.3%) labelled" in done.stdout
    result = json.loads(threshold(engine, *args, "--json").stdout)["escapes"]
    assert (result["count"], result["images"], result["kind"]) == (5, 10, "labelled")
    assert result["kinds"]["faint"]["share"] == 1 and result["kinds"]["spot"]["share"] == 0
    sidecar = load_sidecar(engine)
    assert sidecar and sidecar.threshold and sidecar.threshold.escapes
    assert sidecar.threshold.escapes.count == 5


def test_a_threshold_at_which_every_anomaly_passes_is_refused(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    engine, good = make_engine(threshold=None, score="mean"), make_folder("good", 60)
    same = make_folder("bad", 3)
    args = (engine, "--images", good, *EACH, "--false-alarm-rate", 0.05, "--anomalies")
    done = threshold(*args, same, "--json")
    assert done.returncode == 4 and "none of 3 labelled anomalies" in done.stderr
    assert json.loads(done.stdout)["escapes"]["count"] == 3
    assert load_sidecar(engine) is None
    assert threshold(*args, good).returncode == 2, "the normal images themselves"


@pytest.mark.parametrize("bad", ["missing", "empty", "all unreadable"])
def test_bad_images_are_named(make_engine: MakePath, make_folder: MakePath, bad: str) -> None:
    folder = make_folder("good", 0 if bad == "empty" else 2)
    for image in folder.iterdir():
        image.write_bytes(b"")
    uri = folder / "none" if bad == "missing" else folder
    done = threshold(make_engine(score="mean"), "--images", uri)
    assert done.returncode == 2 and str(uri) in done.stderr
    assert "Traceback" not in done.stderr


def with_split(engine: Path, split: DataSplit) -> None:
    """Write a record of the training into an engine."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(engine)
    (entry,) = model.metadata_props
    manifest = manifest_from_json(entry.value, "mean").replace(data_split=split)
    entry.value = manifest.to_json()
    onnx.save(model, engine)


def test_of_a_training_folder_the_parts_set_aside_carry_the_threshold(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    engine, good = make_engine(threshold=None, score="mean"), make_folder("good", 60)
    paths = sorted(good.iterdir())
    for number, path in enumerate(paths):
        path.rename(good / f"part{number // 3:02d}_{number % 3}.png")
    paths = sorted(good.iterdir())
    sets = [ImageSet.of(map(identify, some), []) for some in
            (paths[:21], paths[21:30], paths[30:])]  # fmt: skip
    rule = r"--part-id part(\d+)"
    with_split(engine, DataSplit(rule=rule, trained=sets[0], selection=sets[1], threshold=sets[2]))
    done = threshold(engine, "--images", good, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["parts"], result["images"], result["set_aside"]) == (10, 30, 30)
    assert result["rate"] == 0.26 and result["by"] == "part"
    assert "30 images of 10 parts that the training had set aside" in done.stderr
    for path in paths[30:]:
        path.unlink()
    done = threshold(engine, "--images", good, "--json")
    assert done.returncode == 4 and "10 of these 10 parts" in done.stderr
    assert json.loads(done.stdout)["trained_images"] == 30


def test_frames_that_show_one_part_are_refused_until_their_number_is_said(
    make_engine: MakePath, tmp_path: Path
) -> None:
    engine, video = make_engine(threshold=None, score="mean"), tmp_path / "parts.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 64))
    levels = np.random.default_rng(3).integers(0, 40, 24)
    for seed, level in enumerate(np.repeat(levels, 4)):
        writer.write(part_image(seed=seed) + np.uint8(level))
    writer.release()
    args = (engine, "--images", video, "--json")
    done = threshold(*args)
    assert done.returncode == 4 and "--frames-per-part" in done.stderr, done.stdout
    assert load_sidecar(engine) is None
    result = json.loads(threshold(*args, "--frames-per-part", 4).stdout)
    assert (result["parts"], result["images"]) == (24, 96)
    sidecar = load_sidecar(engine)
    assert sidecar and sidecar.threshold and sidecar.threshold.frames_per_part == 4


@pytest.mark.parametrize(
    ("options", "reason"),
    [(("--frames-per-part", 3), "names a folder"), (("--frames", 3), "names a folder"),
     (("--part-id", "(a)", "--parts-from", "each"), "exclude each other"),
     (("--parts-from", "looks"), "one of: table, capture, folders, names, images, each"),
     (("--part-id", "[0-9]+"), "group")],
)  # fmt: skip
def test_options_of_parts_that_do_not_fit_are_refused(
    make_engine: MakePath, make_folder: MakePath, options: tuple[object, ...], reason: str
) -> None:
    done = threshold(make_engine(score="mean"), "--images", make_folder("good", 3), *options)
    assert done.returncode == 2 and reason in done.stderr


def test_a_part_id_decides_how_many_parts_there_are(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    engine, good = make_engine(score="mean"), make_folder("good", 60)
    args = (engine, "--images", good, "--part-id", r"(\d\d)\d\.png", "--json")
    by_part = json.loads(threshold(*args).stdout)
    by_image = json.loads(threshold(*args, "--by", "image").stdout)
    assert (
        (by_part["parts"], by_part["images"]) == (by_image["parts"], by_image["images"]) == (6, 60)
    )
    assert by_image["threshold"] <= by_part["threshold"] and by_image["by"] == "image"
