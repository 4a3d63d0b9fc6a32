"""One shell script out of what `edge-ad doctor` says of the features that are missing something."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edge_ad.machine.features import Feature

_HEAD = """\
#!/bin/sh
# What this machine is missing, printed by edge-ad doctor --fix. Read it first, and delete what you
# do not need; lines with a single # are reasons, and advice that no command can follow.
set -eu
"""
_EXTRA = re.compile(r"pip install 'edge-ad\[([\w-]+)\]'")
_COMMAND = re.compile(r"(pip|sudo|export|python3?) ")


def fix_script(features: Sequence[Feature]) -> str:
    """Return a POSIX shell script; extras of edge-ad are installed together, each fix once."""
    missing = [feature for feature in features if feature.missing]
    if not missing:
        return _HEAD + "\n# Nothing is missing.\n"
    extras = [
        (feature, match[1]) for feature in missing if (match := _EXTRA.fullmatch(feature.fix))
    ]
    blocks = [_reasons([feature for feature, _ in extras])] if extras else []
    if extras:
        blocks[0] += f"pip install 'edge-ad[{','.join(name for _, name in extras)}]'\n"
    others: dict[str, list[Feature]] = {}
    for feature in missing:
        if not _EXTRA.fullmatch(feature.fix):
            others.setdefault(feature.fix, []).append(feature)
    blocks += [_reasons(group) + _fix(fix) for fix, group in others.items()]
    return "\n".join([_HEAD, *blocks])


def _reasons(features: Sequence[Feature]) -> str:
    return "".join(_comment(f"{each.name}: needs {each.missing}") for each in features)


def _fix(fix: str) -> str:
    """Return a command as a line; advice, which a shell cannot follow, as a comment."""
    is_command = _COMMAND.match(fix) and ", then" not in fix and ", in a" not in fix
    return f"{fix}\n" if is_command else (_comment(fix) if fix else "")


def _comment(text: str) -> str:
    return f"# {' '.join(text.split())}\n"
