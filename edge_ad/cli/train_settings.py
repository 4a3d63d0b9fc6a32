"""What options of `train` say about its settings: --set, --set-aside, and those with a name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge_ad.errors import UsageError


def assignments(texts: Sequence[str]) -> dict[str, Any]:
    """Parse every `--set name=value`. Raises UsageError for a name that is given twice."""
    given: dict[str, Any] = {}
    for text in texts:
        name, value = _assignment(text)
        if name in given:
            raise UsageError(f"--set {text}: {name} is set twice. Give it once.")
        given[name] = value
    return given


def add_settings(given: dict[str, Any], option: str, named: dict[str, Any]) -> None:
    """Add the settings of an option. Raises UsageError for one that `--set` has, too."""
    for name, value in named.items():
        if value is None:
            continue
        if name in given:
            raise UsageError(f"{option} and --set {name}=... exclude each other: give one of them.")
        given[name] = value


def _assignment(text: str) -> tuple[str, Any]:
    """Split `name=value`; a value with commas is a list."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--set {text}: expected NAME=VALUE, like lr_student=0.2.")
    return name.strip(), value.split(",") if "," in value else value.strip()


def set_aside(text: str | None) -> dict[str, Any]:
    """Parse 'selection=0.1,threshold=0.2', of which one may be missing, or 'none'.

    `draw=3` may follow, or stand alone with the usual shares.
    """
    if text is None:
        return {}
    given: dict[str, Any] = {}
    for item in [] if text == "none" else text.split(","):
        name, _, value = item.partition("=")
        known = name.strip() in ("selection", "threshold", "draw")
        if not known or not value.strip() or name.strip() in given:
            raise UsageError(
                f"--set-aside {text}: expected none, or shares of the parts and a draw, each once, "
                f"like selection=0.1,threshold=0.2,draw=3; got '{item}'."
            )
        given[name.strip()] = value.strip()
    if set(given) != {"draw"}:
        given = {"selection": 0.0, "threshold": 0.0} | given
    return {f"set_aside.{name}": value for name, value in given.items()}
