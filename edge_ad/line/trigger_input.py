"""What fires the triggers of cameras.

A new kind is one entry here, a module with its opener, and a test. `run --trigger`, its help and
error messages read this list.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from edge_ad.errors import SourceLost, UsageError
from edge_ad.uri import UriKind, unknown_scheme

if TYPE_CHECKING:
    from edge_ad.line.trigger import Trigger

FREE, SOFTWARE = "free", "software"

TRIGGERS = (
    UriKind(
        schemes=("gpio",),
        example="gpio:gpiochip0/17?edge=rising&debounce_ms=5",
        description="an edge on a line of a GPIO chip, with the time that the kernel notes",
        opener="edge_ad.line.gpio_trigger:open_gpio_trigger",
        checker="edge_ad.line.gpio_trigger:parse_gpio_trigger",
        syntax="path",
        options={
            "edge": "rising or falling, rising",
            "bias": "as-is, pull-up, pull-down or none; as-is",
            "debounce_ms": "how long a level must hold, and no further edge counts, 0",
        },
        extra="gpio",
    ),
)


def check_trigger(text: str) -> None:
    """Raise UsageError for what is not a trigger, MissingExtra when its package is missing."""
    if text not in (FREE, SOFTWARE):
        kind = _kind(text)
        kind.load_opener()
        kind.check(kind.parse(text))


def open_trigger(text: str, triggers: Sequence[Trigger]) -> AbstractContextManager[Any]:
    """Open what fires these triggers together; close it with `with`.

    Raises what `check_trigger` raises, and SourceLost for an input that cannot be opened.
    """
    if text == SOFTWARE:
        return nullcontext()
    kind = _kind(text)
    try:
        opened: AbstractContextManager[Any] = kind.load_opener()(kind.parse(text), triggers)
    except OSError as error:
        raise SourceLost(
            f"the trigger {text} cannot be opened ({error.strerror or error}). Check the chip, the "
            "line and the rights of this user on it."
        ) from error
    return opened


def trigger_help() -> str:
    """Return the help text of `--trigger`."""
    prefixes = ", ".join(prefix for kind in TRIGGERS for prefix in kind.prefixes)
    return (
        f"Judge frames that a trigger asks for, each as one part: {SOFTWARE}, or a URI "
        f"({prefixes}). Default: {FREE}, all frames."
    )


def _kind(text: str) -> UriKind:
    scheme, separator, _ = text.partition(":")
    for kind in TRIGGERS:
        if scheme in kind.schemes and separator:
            return kind
    known = [prefix for kind in TRIGGERS for prefix in kind.prefixes]
    if not separator:
        raise UsageError(
            f"there is no trigger '{text}'. Expected {FREE}, {SOFTWARE}, or {', '.join(known)}."
        )
    raise unknown_scheme("trigger", scheme, [FREE, SOFTWARE, *known])
