"""The commands in the documentation of plans parse."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from edge_ad.cli.build import command
from edge_ad.cli.verbs import Verbs
from tests.conftest import ROOT

DOCS = ROOT / "docs"
COMMANDS = [
    line.strip()
    for page in ("tensorrt.md", "jetson.md")
    for line in (DOCS / page).read_text().splitlines()
    if line.startswith("    edge-ad ")
]


def test_the_pages_contain_commands() -> None:
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_parses(line: str) -> None:
    verb, *words = shlex.split(line, comments=True)[1:]
    verb_command = Verbs().get_command(click.Context(command), verb)
    assert verb_command is not None, f"no verb {verb}"
    assert verb_command.make_context(verb, words).params


def test_every_option_is_explained() -> None:
    text = (DOCS / "tensorrt.md").read_text()
    explained = set(re.findall(r"--[a-z0-9-]+", text))
    options = {max(option.opts, key=len) for option in command.params if option.opts[0] != "onnx"}
    assert options - explained <= {"--output", "--json", "--config", "--print-config"}
