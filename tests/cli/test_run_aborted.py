"""An error that is raised while a camera is open ends the process with its own exit code.

A thread inside OpenCV or the engine when the interpreter ends takes the process down with SIGABRT.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.timing import LIMIT_S

MakePath = Callable[..., Path]

RAISING = """
from edge_ad.errors import OutletLost

def raising(*words, **options):
    raise OutletLost("nothing goes")
"""
PATCHES = {
    "after the source was opened": "import edge_ad.line.open as c; c.Inspector = raising",
    "while the line is opened": "import edge_ad.line.open as c; c.Supervisor = raising",
    "while frames are inspected": (
        "from edge_ad.line.supervisor import Supervisor\n"
        "wait = Supervisor.wait\n"
        "def once(line, timeout_s):\n"
        "    Supervisor.wait = wait\n"
        "    line.wait(0.3)\n"
        "    raising()\n"
        "Supervisor.wait = once"
    ),
}
RUN = """
import runpy, sys
sys.argv = ["edge-ad", *sys.argv[1:]]
runpy.run_module("edge_ad", run_name="__main__")
"""
LEFT_OPEN = """
import sys
from edge_ad.source import open_source

sources = [open_source(sys.argv[1]) for _ in range(3)]
next(iter(sources[0]))
sys.exit(6)
"""

HANGING = """
import os, runpy, sys, threading
from edge_ad.source import buffered

class Global:
    def __del__(self, write=os.write):
        write(1, b"Python took itself down")

def camera():
    threading.Event().wait()
    yield

there, buffered.CLOSE_WITHIN_S = Global(), 0.01
buffered.BufferedSource("hung", camera, live=True, timeout_s=1, open_within_s=60).close()
print("before")
sys.argv = ["edge-ad", *sys.argv[1:]]
runpy.run_module("edge_ad", run_name="__main__")
"""


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Long enough that its thread is still reading when the error comes: 200 frames, 4 encoded."""
    path = tmp_path_factory.mktemp("video") / "line.avi"
    rng = np.random.default_rng(0)
    frames = [rng.integers(20, 200, (480, 640, 3)).astype(np.uint8) for _ in range(4)]
    jpegs = [cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=30, width=640, height=480, pix_fmt="yuvj420p")
        for index in range(200):
            packet = av.Packet(jpegs[index % 4])
            packet.stream, packet.time_base = stream, Fraction(1, 30)
            packet.pts = packet.dts = index
            packet.is_keyframe = True
            container.mux(packet)
    return path


def python(code: str, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)


@pytest.mark.parametrize("when", PATCHES)
def test_an_error_ends_the_run_with_its_own_exit_code(
    make_engine: MakePath, video: Path, when: str
) -> None:
    code = RAISING + PATCHES[when] + RUN
    done = python(code, "run", "--camera", video, "--engine", make_engine(), "--quiet")
    assert done.returncode == 6, done.stderr
    assert done.stderr.splitlines()[-1] == "edge-ad: nothing goes"


def test_sources_left_open_do_not_abort_the_interpreter(video: Path) -> None:
    done = python(LEFT_OPEN, video)
    assert (done.returncode, done.stderr) == (6, "")


@pytest.mark.parametrize(("words", "code"), [(("methods",), 0), (("sheet", "nowhere"), 2)])
def test_a_driver_that_hangs_does_not_see_the_interpreter_end(
    words: tuple[str, ...], code: int
) -> None:
    done = python(HANGING, *words)
    assert done.returncode == code, done.stderr
    assert done.stdout.startswith("before")
    assert "took itself down" not in done.stdout
