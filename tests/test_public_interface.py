"""`import edge_ad`: exactly the public names, and nothing heavy before they are used."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import edge_ad

HEAVY = ("torch", "cv2", "numpy", "pydantic", "msgspec", "yaml", "onnxruntime", "click")


@pytest.mark.parametrize("name", edge_ad.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(edge_ad, name) is not None


def test_only_public_names_are_listed() -> None:
    assert dir(edge_ad) == sorted(edge_ad.__all__)


def test_the_runtime_sends_nothing_unless_the_user_says_so() -> None:
    code = "import os, edge_ad; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    for given, expected in (({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")):
        environment = {name: value for name, value in os.environ.items() if name[:4] != "ORT_"}
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=environment | given,
        )
        assert done.stdout.strip() == expected


def test_an_unknown_name_is_an_attribute_error() -> None:
    name = "detector_of"
    with pytest.raises(AttributeError, match="has no attribute 'detector_of'"):
        getattr(edge_ad, name)


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import edge_ad; edge_ad.__version__", HEAVY),
        ("import edge_ad; dir(edge_ad)", HEAVY),
        ("from edge_ad import EdgeAdError", HEAVY),
        (
            "from edge_ad import Detector, open_line, open_source; import edge_ad.cli.run",
            ("torch", "onnx", "onnxruntime", "PIL", "av", "numpy.ma", "pydantic"),
        ),
    ],
)
def test_nothing_heavy_is_loaded(code: str, unwanted: tuple[str, ...]) -> None:
    program = f"import sys; {code}; print([name for name in {unwanted} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert done.stdout.strip() == "[]"
