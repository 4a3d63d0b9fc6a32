"""What the documentation tells people to type is understood."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from edge_ad.cli.build import command

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
LINES = [
    line.strip()
    for page in ("tensorrt.md", "jetson.md")
    for line in (DOCS / page).read_text().splitlines()
    if line.startswith("    edge-ad build")
]


def test_there_is_something_to_check() -> None:
    assert len(LINES) >= 2


@pytest.mark.parametrize("line", LINES)
def test_every_build_line_parses(line: str) -> None:
    words = shlex.split(line, comments=True)[2:]
    assert command.make_context("build", words).params["onnx"].suffix == ".onnx"


def test_every_option_is_explained() -> None:
    text = (DOCS / "tensorrt.md").read_text()
    explained = set(re.findall(r"--[a-z0-9-]+", text))
    options = {max(option.opts, key=len) for option in command.params if option.opts[0] != "onnx"}
    assert options - explained <= {"--output", "--json", "--config", "--print-config"}
