"""The list of verbs, in the order of a project."""

from __future__ import annotations

import importlib
import keyword
import re

import click

from edge_ad.cli.examples import EXAMPLES
from edge_ad.cli.session import discard_stdout
from edge_ad.errors import OutletLost

# verb: its line in the help; the module has the verb's name
VERBS = {
    "capture": "Collect images of good parts from a camera.",
    "dataset": "Count the parts in a folder of good images.",
    "methods": "Compare the methods: requirements, cost and accuracy.",
    "train": "Fit a detector to images of good parts.",
    "attention": "Train EAR's digit attention on images of digits.",
    "import": "Import a checkpoint or an ONNX file from elsewhere.",
    "evaluate": "Measure a detector on labelled images.",
    "export": "Export weights as an engine file.",
    "export-triton": "Write engines as models of a Triton server.",
    "convert": "Convert an engine file to another precision.",
    "calibrate": "Quantize an engine file to int8, with an accuracy gate.",
    "build": "Compile an engine file for TensorRT.",
    "verify": "Compare two model files on the same frames.",
    "threshold": "Set the rejection threshold from good images.",
    "run": "Inspect frames and raise alarms.",
    "service": "Print a systemd unit that runs a line.",
    "ctl": "Control a running line: state, threshold, rule, pause.",
    "page": "Serve the operator's page of a line to browsers.",
    "events": "List, follow and mark the events of a line.",
    "outbox": "List, retry and drop what waits for a line's outlets.",
    "outlet": "Send a test alarm to an outlet.",
    "drift": "List what has changed in a line's images, and since when.",
    "samples": "List the images that a line has kept for training.",
    "report": "Write one page about a shift: parts, alarms, images.",
    "sheet": "Draw the newest evidence images of a line on one sheet.",
    "rejudge": "Judge an archive of images again.",
    "bundle": "Sign what a line runs, install it on devices, take it back.",
    "keys": "Make signing keys, and say which ones a device trusts.",
    "bench": "Measure the speed of engine and loop.",
    "inspect": "Describe a file and its origin.",
    "doctor": "List what this machine has and what is missing.",
}


class Verbs(click.Group):
    """A group that imports a command only to run it or to show its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        name = cmd_name.replace("-", "_") + "_" * keyword.iskeyword(cmd_name)
        module = importlib.import_module(f"edge_ad.cli.{name}")
        command = module.command
        assert isinstance(command, click.Command)
        command.name = cmd_name  # the function behind it is called `command` in every module
        command.epilog = command.epilog or _epilog(cmd_name)
        for action, below in getattr(command, "commands", {}).items():
            below.epilog = _epilog(f"{cmd_name} {action}")
            below.short_help = (below.help or "").partition("\n\n")[0]  # click cuts off its own
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run a verb. A reader of stdout that left is an error: click would exit without a word."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            discard_stdout()
            raise OutletLost("the reader of stdout left before everything was printed.") from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest verb when a verb is misspelt."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            ctx.fail(unknown("command", args[0], VERBS))
        return super().resolve_command(ctx, args)


def _epilog(verb: str) -> str:
    """Return the end of a verb's help; after a backspace character click does not wrap lines."""
    variable = f"EDGE_AD_{re.sub('[ -]', '_', verb)}_CONFIG".upper()
    return (
        f"\b\nExample:\n  {EXAMPLES[verb]}\n\n"
        f"Every option can be set by an environment variable, too, such as {variable}=FILE."
    )


def unknown(kind: str, name: str, known: object) -> str:
    """Return a message like: No such command 'rum'. Did you mean 'run'?"""
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1)  # type: ignore[call-overload]
    return f"No such {kind} '{name}'." + (f" Did you mean '{near[0]}'?" if near else "")
