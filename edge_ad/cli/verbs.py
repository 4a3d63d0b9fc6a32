"""The table of verbs, in the order a line engineer meets them."""

from __future__ import annotations

import importlib
import keyword

import click

# verb -> its one line in the help; module and attribute follow from the name
VERBS = {
    "capture": "Collect images of good parts from a camera.",
    "methods": "Compare the methods: what they need, cost and reach.",
    "train": "Fit a detector to images of good parts.",
    "attention": "Train EAR's digit attention on images of digits.",
    "import": "Turn a checkpoint trained elsewhere into weights.",
    "evaluate": "Measure a detector on labelled images.",
    "export": "Turn weights into an engine file.",
    "convert": "Turn an engine file into one of another precision.",
    "calibrate": "Turn an engine file into int8 that passes a gate.",
    "build": "Compile an engine file for TensorRT.",
    "verify": "Compare two artefacts on the same frames.",
    "threshold": "Set the rejection threshold from good images.",
    "run": "Judge frames and raise alarms.",
    "bench": "Measure engine and loop.",
    "inspect": "Print what a file is and where it came from.",
    "doctor": "Print what this machine has and what is missing.",
}


class Verbs(click.Group):
    """A group that knows its commands' names and imports each only to run it or explain it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        name = cmd_name + "_" * keyword.iskeyword(cmd_name)
        module = importlib.import_module(f"edge_ad.cli.{name}")
        command = module.command
        assert isinstance(command, click.Command)
        command.name = cmd_name  # the function behind it is called `command` in every module
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest verb when a verb is misspelt."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            ctx.fail(unknown("command", args[0], VERBS))
        return super().resolve_command(ctx, args)


def unknown(what: str, name: str, known: object) -> str:
    """'No such command 'rum'. Did you mean 'run'?'"""
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1)  # type: ignore[call-overload]
    return f"No such {what} '{name}'." + (f" Did you mean '{near[0]}'?" if near else "")
