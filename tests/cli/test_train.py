"""`edge-ad train` as a command: options, exit codes, signals."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from click.testing import CliRunner, Result

from edge_ad.cli.train import command
from edge_ad.cli.train_format import format_result
from edge_ad.errors import DataError, EdgeAdError, IncompatibleError, OutletLost, UsageError
from edge_ad.images import write_image
from edge_ad.methods.weights import load_detector
from edge_ad.training import session
from edge_ad.training.loop import TrainingProgress
from edge_ad.training.progress_bar import TrainingBar
from tests.part_images import striped_part
from tests.torch_setup import narrow_resnet18
from tests.training.train_configs import write_parts, write_teacher

QUICK = ("--size", "32", "--width", "0.125", "--batch", "2", "--steps", "4", "--device", "cpu")
EACH = ("--parts-from", "each")  # comparing the images takes a fifth of the time


@pytest.fixture(autouse=True, scope="module")
def narrow() -> Iterator[None]:
    with narrow_resnet18():
        yield


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_teacher(tmp_path_factory.mktemp("teacher") / "teacher.pth")


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, trained: Trained) -> None:
    """Compare with nothing and draw no report: the module's first training did, and is tested."""
    del trained
    monkeypatch.setattr(session, "reference_line", lambda *_: {"skipped": "a test"})
    monkeypatch.setattr("edge_ad.training.report._draw", lambda *_: None)


@pytest.fixture
def folder(tmp_path: Path, teacher: Path) -> Path:
    (tmp_path / "teacher.pth").symlink_to(teacher)
    write_parts(tmp_path / "parts")
    return tmp_path


def arguments_for(folder: Path, *more: str) -> list[str]:
    places = ["--data", str(folder / "parts"), "-o", str(folder / "out.pt")]
    parts = () if "--part-id" in more else EACH
    teacher = str(folder / "teacher.pth")
    return [*places, "--teacher", teacher, *QUICK, "--threads", "1", *parts, *more]


def invoke(arguments: list[str]) -> Result:
    return CliRunner().invoke(command, arguments)


class Trained(NamedTuple):
    """The weights of an uninterrupted training and what the command printed."""

    weights: Path
    done: Result


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, teacher: Path) -> Trained:
    folder = tmp_path_factory.mktemp("whole")
    (folder / "teacher.pth").symlink_to(teacher)
    write_parts(folder / "parts")
    words = [word for word in arguments_for(folder) if word not in EACH]
    return Trained(folder / "out.pt", invoke(words))


def test_without_json_the_result_is_printed(trained: Trained) -> None:
    assert trained.done.exit_code == 0, trained.done.output
    assert "out.report.json" in trained.done.stdout
    assert "scores" in trained.done.stdout


def test_few_images_are_warned_about_and_the_end_says_what_comes_next(trained: Trained) -> None:
    out = trained.done.stdout
    assert "Collect 40 at least" in trained.done.stderr
    assert "tiles of parts set aside for this, with synthetic anomalies: image AUROC" in out
    assert out.splitlines()[-1] == f"next: edge-ad export {trained.weights}"


def test_parts_set_aside_are_printed_before_the_training_and_after_it(folder: Path) -> None:
    done = invoke(arguments_for(folder, "--set-aside", "threshold=0.4"))
    assert done.exit_code == 0, done.output
    assert "6 to train on, none to choose by, 4 set aside for the threshold" in done.stderr
    assert "support a false-alarm rate of 0.53 at best" in done.stderr
    assert "10: 6 trained on, 4 set aside for the threshold" in done.stdout


def test_a_draw_of_the_parts_keeps_the_usual_shares(folder: Path) -> None:
    done = invoke(arguments_for(folder, "--set-aside", "draw=1", "--json"))
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["settings"]["set_aside"] == {"selection": 0.1, "threshold": 0.2, "draw": 1}
    assert result["split"]["threshold"]["parts"] == 2


def test_what_tells_parts_apart_is_printed_as_it_is_typed(folder: Path) -> None:
    done = invoke(arguments_for(folder, "--parts-from", "each", "--print-config"))
    assert "parts_from: each  # flag" in done.output


def test_one_side_is_printed_as_it_is_typed(folder: Path) -> None:
    config = invoke(arguments_for(folder, "--size", "64", "--print-config"))
    assert "size: 64  # flag" in config.output


def test_json_is_one_object_and_options_come_from_a_file_unless_flags_say_otherwise(
    folder: Path,
) -> None:
    config = folder / "train.yaml"
    config.write_text("seed: 3\nsize: 64\nrotation: small\nset: [lr_student=0.2]\ntiles: 1x2\n")
    flags = ("--size", "32x64", "--set", "student_share=0.5", "--set", "lr_student=0.3")
    done = invoke(arguments_for(folder, "-c", str(config), *flags, "--json"))
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["weights"] == str(folder / "out.pt")
    assert result["steps"] == {"student": 2, "segmentation": 2}
    assert (result["seed"], result["size_hw"], result["tiles"]) == (3, [32, 64], 20)
    assert result["settings"]["lr_student"] == 0.3
    assert result["settings"]["synthesis"]["rotation"] == "small"
    manifest = load_detector(folder / "out.pt").manifest
    assert (manifest.geometry.tiles, manifest.size_hw) == ((1, 2), (32, 64))


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        (["--method", "padim"], UsageError, "no method 'padim'"),
        (["--set", "lr_studnet=1"], UsageError, "Did you mean 'lr_student'"),
        (["--set", "lr_student"], UsageError, "expected NAME=VALUE"),
        (["--set", "lr_student=fast"], UsageError, "setting lr_student"),
        (["--teacher", "nowhere.pth"], DataError, "no such file. Expected the weights of"),
        (["--data", "nowhere"], DataError, "no such folder"),
        (["--textures", "nowhere"], DataError, "no such folder"),
        (["-o", "weights.onnx"], UsageError, r"ends in \.pt"),
        (
            ["--set-aside", "thresh=0.2"],
            UsageError,
            "selection=0.1,threshold=0.2,draw=3; got 'thresh=0.2'",
        ),
        (["--set-aside", "draw=-1"], UsageError, "setting set_aside.draw"),
        (["--set-aside", "threshold=1"], UsageError, "setting set_aside.threshold"),
        (["--set-aside", "selection=0.5,threshold=0.5"], UsageError, "no part to train on"),
        (["--set-aside", "threshold=few", "--folds", "2"], UsageError, "set_aside.threshold"),
        (["--set", "set_aside.threshold=0,1", "--folds", "2"], UsageError, "set_aside.threshold"),
        (["--set-aside", "selection=0.1,selection=0.3"], UsageError, "each once.*selection=0.3"),
        (["--set", "lr_tail=0.1", "--set", "lr_tail=1"], UsageError, "lr_tail is set twice"),
        (["--batch", "2", "--set", "batch=4"], UsageError, "--batch and --set batch=... exclude"),
        (["--part-id", "("], UsageError, "not a regular expression"),
        (["--part-id", "(0)", "--parts-from", "each"], UsageError, "exclude each other"),
        (["--branch", "left"], UsageError, "setting network.branch"),
        (["--arithmetic", "fp16"], UsageError, "needs a GPU"),
        (["--device", "cuda:99"], IncompatibleError, "sees .* CUDA device"),
        (["--resume"], UsageError, "nothing to resume"),
        (["--roi", "0,0,999,9"], UsageError, "region of interest"),
    ],
)
def test_wrong_options_are_refused(
    folder: Path, more: list[str], error: type[EdgeAdError], message: str
) -> None:
    done = invoke(arguments_for(folder, *more))
    assert type(done.exception) is error
    with pytest.raises(error, match=message):
        raise done.exception
    assert not (folder / "out.pt").exists()


@pytest.mark.parametrize("size", ["big", "16", "32x32x32", "4096", ""])
def test_a_wrong_size_is_refused(folder: Path, size: str) -> None:
    done = invoke(arguments_for(folder, "--size", size))
    assert done.exit_code == 2


def test_one_side_keeps_the_ratio_of_long_parts(folder: Path) -> None:
    for path in (folder / "parts").iterdir():
        write_image(path, striped_part(int(path.stem), (120, 48)))
    done = invoke(arguments_for(folder, "--size", "64", "--json"))
    assert json.loads(done.stdout)["size_hw"] == [96, 48]


def test_the_end_of_the_steps_is_said_before_what_takes_more_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with TrainingBar() as bar:
        bar.update(TrainingProgress("collect", 1, 0.5, 20.0, {}))
        assert capsys.readouterr().err == ""
        bar.update(TrainingProgress("collect", 2, 1.0, 40.0, {}))
    assert capsys.readouterr().err == "trained in 2 steps; measuring the result\n"


@pytest.mark.slow
def test_signals_leave_a_checkpoint_that_resumes(
    folder: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, signals = TrainingBar.update, {1: signal.SIGTERM, 3: signal.SIGINT}

    def update_and_signal(bar: TrainingBar, progress: TrainingProgress) -> None:
        update(bar, progress)
        if progress.step in signals:
            signal.raise_signal(signals.pop(progress.step))

    monkeypatch.setattr(TrainingBar, "update", update_and_signal)
    for more, code in (([], 143), (["--resume"], 130)):
        assert invoke(arguments_for(folder, *more)).exit_code == code
        assert [path.name for path in folder.glob("out*")] == ["out.checkpoint.pt"]
    assert invoke(arguments_for(folder, "--resume")).exit_code == 0
    first, second = (load_detector(path).module.state_dict()
                     for path in (trained.weights, folder / "out.pt"))  # fmt: skip
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_disk_too_small_for_weights_and_checkpoint_is_named_before_the_first_step(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(folder)._replace(free=16 << 20)  # enough for a report alone
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    done = invoke(arguments_for(folder))
    assert isinstance(done.exception, OutletLost)
    assert "16 MiB are free, but weights, checkpoint and report need" in str(done.exception)
    assert list(folder.glob("out*")) == []


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), r"px 3 needs --method patchcore"),
        (("--method", "patchcore", "--preset", "fine"), r"leave out --preset fine"),
        (("--method", "patchcore", "--set", "network.levels=1,2"), r"leave out --set network\.lev"),
        (("--method", "patchcore", "--size", "64x64"), r"takes --size as one side"),
    ],
)
def test_a_smallest_defect_decides_what_other_options_would(
    folder: Path, words: tuple[str, ...], problem: str
) -> None:
    given = ["--data", str(folder / "parts"), "-o", str(folder / "out.pt")]
    done = invoke([*given, "--smallest-defect-px", "3", *words])
    assert isinstance(done.exception, UsageError)
    assert re.search(problem, str(done.exception))


def test_missed_small_anomalies_are_said_where_larger_ones_are_detected(trained: Trained) -> None:
    report = json.loads(trained.weights.with_suffix(".report.json").read_text("utf-8"))
    larger = dict.fromkeys(("texture", "structural", "light spot"), 0.9)
    for specks, said in ((0.55, True), (0.89, False)):
        by_kind = larger | {"specks": specks, "hairline": 0.97}
        report["held_back_figures"]["by_kind"] = by_kind
        text = format_result(report)
        assert ("specks 0.55 (" in text) is ("--smallest-defect-px" in text) is said
        assert "hairline 0.97" not in text
    assert report["image_px_per_input_px"] == pytest.approx(1.62)


def test_the_depth_of_deep_images_is_printed(trained: Trained) -> None:
    report = json.loads(trained.weights.with_suffix(".report.json").read_text("utf-8"))
    assert "depth " not in format_result(report)
    assert "depth     12 bits\n" in format_result(report | {"bit_depth": 12})
