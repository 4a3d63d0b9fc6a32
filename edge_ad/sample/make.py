"""Make the shipped footage and detector, with edge-ad's own commands and nothing else.

    python -m edge_ad.sample.make --teacher resnet18.pth [--minutes 30] [--work DIR]

Videos of normal plates use the same codec as the footage; `capture` picks images from them and
from the synthetic camera itself; `train`, `export` and `threshold` make the detector. Nothing is
replaced unless `run` on the footage then detects every defect and raises no other alarm.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from edge_ad.errors import EdgeAdError, UsageError
from edge_ad.files import write_bytes
from edge_ad.sample.check import compare, read_records, read_truth, require_all_detected
from edge_ad.sample.footage import PLAN, record, shipped_line
from edge_ad.synthetic_line import SyntheticLine, SyntheticLineSpec

HERE = Path(__file__).parent
FILES = ("footage.mp4", "footage.mp4.yaml", "engine.onnx", "engine.onnx.yaml")
ROI = "69,54,182,132"  # the plates' lane, as high as a rotated and displaced plate
SIZE = "128x176"  # nearly the camera's resolution: fine scratches are one or two pixels wide
TRAIN_SEEDS, THRESHOLD_SEEDS = range(101, 119), range(201, 207)
TRAIN_FRAMES, THRESHOLD_FRAMES = 450, 520
TRAIN_EVERY = (
    10  # coprime with the 27 frames from plate to plate, so plates appear at every position
)
SETTINGS = (
    *("--width", "0.25", "--batch", "16", "--arithmetic", "bf16", "--branch", "segmentation"),
    *("--set", "student_time=0.5", "--set", "synthesis.structural_share=0.5"),
    # the threshold comes from other plates, and the branch is given
    *("--set", "lr_tail=0.3", "--set-aside", "none"),
)
FALSE_ALARM_RATE = "0.001"


def make(work: Path, teacher: Path, minutes: float) -> None:
    """Make all four files in `work`, check them, and replace the shipped ones."""
    record(shipped_line(), shipped_line().frames_until(len(PLAN)), work / FILES[0])
    normal, held_back = work / "normal", work / "threshold"
    capture_normal(normal, work, TRAIN_SEEDS, TRAIN_FRAMES, every=TRAIN_EVERY)
    train(normal, work / "sample.pt", teacher, minutes)
    engine = work / "engine.onnx"
    edge_ad("export", work / "sample.pt", "-o", engine, "--store-weights", "int8")
    capture_normal(held_back, work, THRESHOLD_SEEDS, THRESHOLD_FRAMES, every=1)
    edge_ad("threshold", engine, "--images", held_back, "--false-alarm-rate", FALSE_ALARM_RATE)
    check(work)
    for name in FILES:
        write_bytes(HERE / name, (work / name).read_bytes())


def capture_normal(
    folder: Path, work: Path, seeds: Sequence[int], frames: int, *, every: int
) -> None:
    """Capture images of normal plates, from a video or directly, alternating by seed."""
    for number, seed in enumerate(seeds):
        camera = f"pattern://?fps=0&defects=0&seed={seed}&frames={frames}"
        if number % 2 == 0:
            camera = str(work / f"normal-{seed}.mp4")
            record(SyntheticLine(SyntheticLineSpec(seed=seed, defects=0.0)), frames, Path(camera))
        edge_ad("capture", "--camera", camera, "--every", every, "--count", frames, "-o", folder)


def train(normal: Path, weights: Path, teacher: Path, minutes: float) -> None:
    """Train the detector for the given minutes."""
    fixed = ("--method", "destseg", "--rotation", "none", "--seed", 0, "--budget-minutes", minutes)
    where = ("--data", normal, "-o", weights, "--teacher", teacher, "--size", SIZE, "--roi", ROI)
    edge_ad("train", *where, *fixed, *SETTINGS)


def check(work: Path) -> None:
    """Run on the footage; raises GateFailed unless exactly the defects raise alarms."""
    records = work / "run.jsonl"
    records.write_text(
        edge_ad("run", "--camera", work / FILES[0], "--engine", work / "engine.onnx", "--json"),
        encoding="utf-8",
    )
    result = compare(read_records(records), read_truth(work / FILES[1]))
    click.echo(json.dumps(result.summary(), indent=1), err=True)
    require_all_detected(result)


def edge_ad(*args: object) -> str:
    """Run one command and return its stdout; raises EdgeAdError when it fails."""
    command = [sys.executable, "-m", "edge_ad", *map(str, args)]
    click.echo(f"$ edge-ad {' '.join(map(str, args))}", err=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise EdgeAdError(
            f"edge-ad {args[0]} failed with exit code {done.returncode}; see its messages above."
        )
    return done.stdout


@click.command()
@click.option(
    "--teacher",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="ResNet-18 weights from ImageNet, in torchvision's format.",
)
@click.option("--minutes", default=30.0, show_default=True, type=click.FloatRange(0, min_open=True))
@click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the intermediate files in this new folder.",
)
def main(teacher: Path, minutes: float, work: Path | None) -> None:
    """Make the shipped footage and detector again."""
    if not teacher.is_file():
        raise click.ClickException(
            f"--teacher {teacher}: no such file. Expected ResNet-18 weights."
        )
    folder = work or Path(tempfile.mkdtemp(prefix="edge-ad-sample-"))
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"--work {folder}: the folder is not empty. Choose a new one.")
        folder.mkdir(parents=True, exist_ok=True)
        make(folder, teacher, minutes)
    except EdgeAdError as error:
        raise click.ClickException(str(error)) from error
    finally:
        if work is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
