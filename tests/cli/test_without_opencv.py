"""A machine on which OpenCV does not load: every verb names the command that helps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_ad.cli.verbs import VERBS
from edge_ad.machine.opencv import describe_problem, opencv_problem
from tests.conftest import CompletedProcess
from tests.timing import LIMIT_S

LIBRARY = "libxcb.so.1: cannot open shared object file: No such file or directory"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Return a folder whose `cv2` fails as it does without graphics libraries."""
    package = tmp_path / "cv2"
    package.mkdir()
    (package / "__init__.py").write_text(f"raise ImportError({LIBRARY!r}, name='cv2')\n")
    return tmp_path


def edge_ad(broken: Path, *words: str) -> CompletedProcess:
    paths = os.pathsep.join([str(broken), *sys.path])
    return subprocess.run(
        [sys.executable, "-m", "edge_ad", *words],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


ARGUMENTS = {
    "run": ["--camera", "a", "--engine", "b.onnx"],
    "train": ["--data", "a", "-o", "a.pt"],
    "calibrate": ["a.onnx", "--images", "a"],
    "inspect": ["a"],
    "methods": [],
}


@pytest.mark.parametrize("verb", ARGUMENTS)
def test_every_verb_names_the_command_that_helps(broken: Path, verb: str) -> None:
    done = edge_ad(broken, verb, *ARGUMENTS[verb], "--json")
    assert done.returncode == 3 and "Traceback" not in done.stderr
    assert "libxcb.so.1" in done.stderr and "install opencv-python-headless" in done.stderr
    assert json.loads(done.stdout)["exit"] == 3


def test_doctor_works_and_says_what_to_install(broken: Path) -> None:
    done = edge_ad(broken, "doctor")
    assert done.returncode == 0, done.stderr
    assert "OpenCV does not load on this machine (libxcb.so.1" in done.stdout
    assert "install opencv-python-headless" in done.stdout


def test_the_list_of_verbs_needs_no_opencv(broken: Path) -> None:
    listed = edge_ad(broken, "--help").stdout
    assert [verb for verb in VERBS if verb not in listed] == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ImportError(LIBRARY, name="cv2"), "needs no graphics libraries"),
        (ModuleNotFoundError("No module named 'cv2'", name="cv2"), "OpenCV is not installed."),
        (ImportError("numpy.core.multiarray failed to import"), "does not load (numpy.core"),
    ],
)
def test_each_kind_of_failure_has_its_sentence(error: ImportError, words: str) -> None:
    assert words in describe_problem(error)
    assert sys.executable in str(opencv_problem(error))
