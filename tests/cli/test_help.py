"""Help and completion: an example at the end of each help, and verbs and options completed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edge_ad.cli import edge_ad
from edge_ad.cli.examples import EXAMPLES
from edge_ad.cli.option_groups import ENGINE, GEOMETRY, GROUPS, GroupedCommand
from tests.conftest import all_verbs, command_of, invoke


@pytest.mark.parametrize("verb", all_verbs())
def test_the_help_ends_with_an_example_that_parses(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if verb == "calibrate":
        pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    shown = " ".join(command_of(verb).get_help(click.Context(command_of(verb))).split())
    assert f"Example: {EXAMPLES[verb]} Every option can be set" in shown
    program, *arguments = shlex.split(EXAMPLES[verb])
    names, arguments = arguments[: verb.count(" ") + 1], arguments[verb.count(" ") + 1 :]
    assert (program, " ".join(names)) == ("edge-ad", verb)
    command_of(verb).make_context(verb, arguments)


@pytest.mark.parametrize("verb", ["bundle", "keys"])
def test_the_list_of_a_group_has_whole_sentences(verb: str) -> None:
    group = command_of(verb)
    assert isinstance(group, click.Group)
    shown = " ".join(group.get_help(click.Context(group)).split())
    for action in group.commands.values():
        sentence = " ".join((action.help or "").partition("\n\n")[0].split())
        assert f"{action.name} {sentence}" in shown


@pytest.mark.parametrize("verb", GROUPS)
def test_the_sections_of_a_help_name_options_of_its_verb_once(verb: str) -> None:
    command = command_of(verb)
    named = [name for names in GROUPS[verb].values() for name in names]
    shared = {name for names in (*GEOMETRY.values(), *ENGINE.values()) for name in names}
    assert set(named) - shared <= {param.name for param in command.params}
    assert len(named) == len(set(named)) and isinstance(command, GroupedCommand)


@pytest.mark.parametrize("verb", GROUPS)
def test_every_option_stands_once_in_a_help_with_sections(verb: str) -> None:
    command = command_of(verb)
    _, shown = command.get_help(click.Context(command)).split("\nOptions:\n")
    options = [param for param in command.params if isinstance(param, click.Option)]
    for option in options:
        name = re.escape(max(option.opts, key=len))
        assert len(re.findall(rf"^  (-\w, )?{name}(?![-\w])", shown, re.MULTILINE)) == 1, name
    assert shown.index(" --help ") > shown.index("Output and configuration:")


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
