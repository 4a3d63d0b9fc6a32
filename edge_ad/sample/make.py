"""Makes the shipped footage and detector, with edge-ad's own commands and nothing else.

    python -m edge_ad.sample.make --teacher resnet18.pth [--minutes 30] [--work DIR]

Films of good plates go through the same codec as the footage; `capture` picks images from them
and from the bare synthetic camera, `train`, `export` and `threshold` make the detector, and `run`
over the footage must find every planted plate and raise no other alarm before anything is replaced.
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
from edge_ad.sample.check import compare, read_records, read_truth, require_all_found
from edge_ad.sample.footage import PLAN, film, shipped_line
from edge_ad.synthetic_line import SyntheticLine, SyntheticLineSpec

HERE = Path(__file__).parent
FILES = ("footage.mp4", "footage.mp4.yaml", "engine.onnx", "engine.onnx.yaml")
ROI = "69,54,182,132"  # the plates' lane, as deep as a turned and displaced plate
SIZE = "128x176"  # nearly the camera's own pixels: fine scratches are one or two of them wide
TRAIN_SEEDS, THRESHOLD_SEEDS = range(101, 119), range(201, 207)
TRAIN_FRAMES, THRESHOLD_FRAMES = 450, 520
TRAIN_EVERY = 10  # shares no factor with the 27 frames from plate to plate: every place is seen
SETTINGS = (
    *("--width", "0.25", "--batch", "16", "--arithmetic", "bf16", "--branch", "segmentation"),
    *(
        "--set",
        "student_time=0.5",
        "--set",
        "synthesis.structural_share=0.5",
        "--set",
        "lr_tail=0.3",
    ),
)
FALSE_ALARM_RATE = "0.001"


def make(work: Path, teacher: Path, minutes: float) -> None:
    """Make all four files in `work`, check them, and put them in place."""
    film(shipped_line(), shipped_line().frames_until(len(PLAN)), work / FILES[0])
    good, held_back = work / "good", work / "threshold"
    capture_good(good, work, TRAIN_SEEDS, TRAIN_FRAMES, every=TRAIN_EVERY)
    train(good, work / "sample.pt", teacher, minutes)
    engine = work / "engine.onnx"
    edge_ad("export", work / "sample.pt", "-o", engine, "--store-weights", "int8")
    capture_good(held_back, work, THRESHOLD_SEEDS, THRESHOLD_FRAMES, every=1)
    edge_ad("threshold", engine, "--images", held_back, "--false-alarm-rate", FALSE_ALARM_RATE)
    check(work)
    for name in FILES:
        write_bytes(HERE / name, (work / name).read_bytes())


def capture_good(
    folder: Path, work: Path, seeds: Sequence[int], frames: int, *, every: int
) -> None:
    """Images of good plates: from films for every second seed, bare from the others."""
    for number, seed in enumerate(seeds):
        camera = f"pattern://?fps=0&defects=0&seed={seed}&frames={frames}"
        if number % 2 == 0:
            camera = str(work / f"good-{seed}.mp4")
            film(SyntheticLine(SyntheticLineSpec(seed=seed, defects=0.0)), frames, Path(camera))
        edge_ad("capture", "--camera", camera, "--every", every, "--count", frames, "-o", folder)


def train(good: Path, weights: Path, teacher: Path, minutes: float) -> None:
    """Fit the detector for so many minutes."""
    fixed = ("--method", "destseg", "--rotation", "none", "--seed", 0, "--budget-minutes", minutes)
    where = ("--data", good, "-o", weights, "--teacher", teacher, "--size", SIZE, "--roi", ROI)
    edge_ad("train", *where, *fixed, *SETTINGS)


def check(work: Path) -> None:
    """Run over the footage; raises GateFailed unless every planted plate and no other alarms."""
    records = work / "run.jsonl"
    records.write_text(
        edge_ad("run", "--camera", work / FILES[0], "--engine", work / "engine.onnx", "--json"),
        encoding="utf-8",
    )
    outcome = compare(read_records(records), read_truth(work / FILES[1]))
    click.echo(json.dumps(outcome.summary(), indent=1), err=True)
    require_all_found(outcome)


def edge_ad(*words: object) -> str:
    """Run one command and return its stdout; raises EdgeAdError when it fails."""
    command = [sys.executable, "-m", "edge_ad", *map(str, words)]
    click.echo(f"$ edge-ad {' '.join(map(str, words))}", err=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise EdgeAdError(f"edge-ad {words[0]} ended with exit code {done.returncode}.")
    return done.stdout


@click.command()
@click.option(
    "--teacher",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="ResNet-18 weights from ImageNet, as torchvision keeps them.",
)
@click.option("--minutes", default=30.0, show_default=True, type=click.FloatRange(0, min_open=True))
@click.option(
    "--work", type=click.Path(path_type=Path, file_okay=False), help="Keep what lies between."
)
def main(teacher: Path, minutes: float, work: Path | None) -> None:
    """Make the shipped footage and detector anew."""
    if not teacher.is_file():
        raise click.ClickException(f"--teacher {teacher}: no such file.")
    folder = work or Path(tempfile.mkdtemp(prefix="edge-ad-sample-"))
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"--work {folder}: holds files already. Name a new folder.")
        folder.mkdir(parents=True, exist_ok=True)
        make(folder, teacher, minutes)
    except EdgeAdError as error:
        raise click.ClickException(str(error)) from error
    finally:
        if work is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
