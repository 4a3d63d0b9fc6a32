"""Help and completion: an example at the end of each help, and verbs and options completed."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edge_ad.cli import edge_ad
from edge_ad.cli.examples import EXAMPLES
from tests.conftest import all_verbs, command_of, invoke


@pytest.mark.parametrize("verb", all_verbs())
def test_the_help_ends_with_an_example_that_parses(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if verb == "calibrate":
        pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    shown = " ".join(command_of(verb).get_help(click.Context(command_of(verb))).split())
    assert f"Example: {EXAMPLES[verb]} Every option" in shown
    program, *arguments = shlex.split(EXAMPLES[verb])
    names, arguments = arguments[: verb.count(" ") + 1], arguments[verb.count(" ") + 1 :]
    assert (program, " ".join(names)) == ("edge-ad", verb)
    command_of(verb).make_context(verb, arguments)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("words", "expected"),
    [(["edge-ad", "thr"], "threshold"), (["edge-ad", "run", "--alarm"], "--alarm-k")],
)
def test_shells_complete_verbs_and_options(shell: str, words: list[str], expected: str) -> None:
    incomplete = "fish" in shell
    environment = {
        "_EDGE_AD_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join(words[:-1] if incomplete else words),
        "COMP_CWORD": words[-1] if incomplete else str(len(words) - 1),
    }
    done = CliRunner().invoke(edge_ad, [], env=environment, prog_name="edge-ad")
    assert expected in done.stdout, done.output


@pytest.mark.parametrize("name", ["engine.onnx", "notes.txt"])
def test_a_folder_is_answered_with_what_it_has(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    done = invoke("inspect", tmp_path)
    assert done.returncode == 2 and f"{tmp_path} is a folder" in done.stderr
    expected = f"edge-ad inspect {tmp_path / name}" if name == "engine.onnx" else "edge-ad train"
    assert expected in done.stderr
