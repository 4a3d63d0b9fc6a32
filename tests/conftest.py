"""Shared by all tests: a tiny ONNX engine, images for it, and a runner for commands."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias
from unittest import mock

import click
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.cli import edge_ad as edge_ad_group
from edge_ad.cli import main
from edge_ad.cli.verbs import VERBS
from edge_ad.files import sha256
from edge_ad.manifest import Sidecar, Threshold
from edge_ad.sidecar import save_sidecar


def pytest_collection_finish() -> None:
    """Take what was imported out of garbage collection, which would look through it each time.

    Nothing is collected before: the garbage of imports is small, and looking for it takes a second.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what can be computed again in a folder of this run, also that of child processes.

    matplotlib's list of this machine's fonts stays where it is: making it takes half a second.
    """
    fonts = os.environ.get("MPLCONFIGDIR", str(Path.home() / ".cache" / "matplotlib"))
    cache = str(tmp_path_factory.mktemp("cache"))
    with mock.patch.dict(os.environ, {"XDG_CACHE_HOME": cache, "MPLCONFIGDIR": fonts}):
        yield


@pytest.fixture
def german_time() -> Iterator[None]:
    """Set the clock on the wall to Berlin's."""
    with mock.patch.dict(os.environ, {"TZ": "Europe/Berlin"}):
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real images and weights; skip the test without it."""
    folder = Path(os.environ.get("EDGE_AD_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real images at {folder} (set EDGE_AD_SHARED)")
    return folder


def command_of(words: str) -> click.Command:
    """Return the command that words like `run` or `bundle install` name."""
    command: click.Command = edge_ad_group
    for word in words.split():
        assert isinstance(command, click.Group), words
        below = command.get_command(click.Context(command), word)
        assert below is not None, f"no such verb: {words}"
        command = below
    return command


def all_verbs() -> list[str]:
    """Return the verbs, and for those with actions each action in place of the verb."""
    return [
        f"{verb} {action}".strip()
        for verb in VERBS
        for action in getattr(command_of(verb), "commands", {"": None})
    ]


CompletedProcess: TypeAlias = subprocess.CompletedProcess[str]
MakeEngine = Callable[..., Path]


@pytest.fixture
def make_engine(tmp_path: Path) -> MakeEngine:
    """Return a function that copies a "green" engine.

    Its map is the green channel over 255, its score the maximum, or the mean with `score` "mean".
    The engines are real ONNX files, made by `engines/make_green.py`. `threshold` is stored beside
    the copy unless it is None.
    """

    def make(
        name: str = "green.onnx",
        *,
        side: int = 32,
        batch: int | None = 1,
        threshold: float | None = 0.5,
        score: str = "max",
    ) -> Path:
        path = tmp_path / name
        shutil.copy(ROOT / "tests" / "engines" / engine_name(side, batch, score), path)
        if threshold is not None:
            store_threshold(path, threshold)
        return path

    return make


def engine_name(side: int, batch: int | None, score: str = "max") -> str:
    return f"{'green' if score == 'max' else score}-{side}-b{batch or 'any'}.onnx"


def store_threshold(engine: Path, value: float) -> None:
    """Write a sidecar with `value` as image and pixel threshold."""
    threshold = Threshold(
        image=value, pixel=value, false_alarm_rate=0.01, confidence=0.95, images=300
    )
    save_sidecar(engine, Sidecar(engine_sha256=sha256(engine), threshold=threshold))


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes a folder of dim images; those in `bright` have a bright spot."""

    def make(name: str, count: int, bright: tuple[int, ...] = ()) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for index in range(count):
            cv2.imwrite(
                str(folder / f"{index:03d}.png"), part_image(spot=index in bright, seed=index)
            )
        return folder

    return make


def part_image(
    *, spot: bool = False, seed: int = 0, hw: tuple[int, int] = (64, 64)
) -> NDArray[np.uint8]:
    """Return a dim noisy image uint8 (h, w, 3).

    `spot` adds an anomaly, a bright 12 x 12 square at x = 20, y = 8.
    """
    noise = np.random.default_rng(seed).integers(20, 60, (*hw, 3))
    if spot:
        noise[8:20, 20:32] = 250
    return noise.astype(np.uint8)


def edge_ad(
    *arguments: object, stdout: int = subprocess.PIPE, timeout_s: float = 180
) -> CompletedProcess:
    """Run `edge-ad` in a separate process, for tests of the process itself; else see `invoke`."""
    command = [sys.executable, "-m", "edge_ad", *map(str, arguments)]
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=timeout_s, check=False
    )


def invoke(*arguments: object) -> CompletedProcess:
    """Run `edge-ad` in this process; errors, warnings and exit codes are those of a process."""
    command = ["edge-ad", *map(str, arguments)]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", command),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        logging_to(err),
        keeping_torchs_threads(),
    ):
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def keeping_torchs_threads() -> Iterator[None]:
    """Give torch the threads back that it had: `train` sets them for its process.

    With others, sums are added in another order, and small nets take more processor time.
    """
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else 0
    try:
        yield
    finally:
        if torch:
            torch.set_num_threads(threads)


@contextlib.contextmanager
def logging_to(stream: io.StringIO) -> Iterator[None]:
    """Log as the command does, which leaves a root logger with handlers, as pytest's, alone."""
    handler = logging.StreamHandler(stream)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
