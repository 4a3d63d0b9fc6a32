"""One shell script out of what `edge-ad doctor` says of the features that are missing something."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence

from edge_ad.machine.features import Feature

_HEAD = """\
#!/bin/sh
# What this machine is missing, printed by edge-ad doctor --fix. Read it first, and delete what you
# do not need; lines with a single # are reasons, and advice that no command can follow.
set -eu
PYTHON={python}  # the one that runs edge-ad
"""
_EXTRA = re.compile(r"pip install 'edge-ad\[([\w-]+)\]'")
_COMMAND = re.compile(r"(\S*python3?|pip|sudo|export) ")
_ENVIRONMENT = "python3 -m venv "


def fix_script(features: Sequence[Feature], python: str = sys.executable) -> str:
    """Return a POSIX shell script; extras of edge-ad are installed together, each fix once.

    Packages go where `python` finds them. What makes another environment is left to people.
    """
    head = _HEAD.format(python=shlex.quote(python))
    missing = [feature for feature in features if feature.missing]
    if not missing:
        return head + "\n# Nothing is missing.\n"
    extras = [
        (feature, match[1]) for feature in missing if (match := _EXTRA.fullmatch(feature.fix))
    ]
    blocks = [_reasons([feature for feature, _ in extras])] if extras else []
    if extras:
        blocks[0] += _fix(f"pip install 'edge-ad[{','.join(name for _, name in extras)}]'")
    others: dict[str, list[Feature]] = {}
    for feature in missing:
        if not _EXTRA.fullmatch(feature.fix):
            others.setdefault(feature.fix, []).append(feature)
    blocks += [_reasons(group) + _fix(fix) for fix, group in others.items()]
    return "\n".join([head, *blocks])


def _reasons(features: Sequence[Feature]) -> str:
    return "".join(_comment(f"{each.name}: needs {each.missing}") for each in features)


def _fix(fix: str) -> str:
    """Return commands, one a line so that the first failure ends the script.

    Advice, which a shell cannot follow, is a comment.
    """
    if not _COMMAND.match(fix) or ", then" in fix or ", in a" in fix:
        return _comment(fix) if fix else ""
    commands, another, rest = fix.partition(_ENVIRONMENT)
    lines = [f"{_line(command)}\n" for command in commands.split(" && ") if command]
    advice = _comment(f"and edge-ad in an environment that sees it: {another}{rest}")
    return "".join(lines) + (advice if another else "")


def _line(command: str) -> str:
    if command.startswith("pip "):
        return f'"$PYTHON" -m {command}'
    return command.replace("sudo apt install", "sudo apt-get install -y")


def _comment(text: str) -> str:
    return f"# {' '.join(text.split())}\n"
