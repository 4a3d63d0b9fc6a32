"""The errors that edge-ad raises on purpose, and the exit code of a command that ends with one.

    EdgeAdError              1   a failure while running
    +-- UsageError           2   an option or a configuration key that is wrong
    |   +-- InvalidConfig    2   several of them at once
    |   +-- DataError        2   a folder, image, mask or weights file unfit for its use
    +-- IncompatibleError    3   an engine unfit for this machine, version or contract
    |   +-- MissingExtra     3   a feature whose package is not installed
    +-- EngineLost           7   an engine that its GPU can no longer run
    +-- InvalidOutput        1   an engine output of NaN or Inf, which fails a candidate's gate
    +-- GateFailed           4   accuracy, parity or false-alarm rate outside its limit
    +-- SourceLost           5   a camera, file or folder that gives no more frames
    |   +-- SourceTimeout    5   ... within the time allowed
    +-- OutletLost           6   an alarm channel or output folder that cannot be written
    |   +-- Refused          6   ... an event that the other side does not take

A message is one paragraph: what is wrong, what was expected, what was given, what to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager


class EdgeAdError(Exception):
    """Base of all errors that a user reads without a traceback."""

    exit_code = 1


class UsageError(EdgeAdError):
    """An option or a configuration key is wrong, or options contradict each other."""

    exit_code = 2


class DataError(UsageError):
    """A folder, image, mask or weights file is missing, damaged or unfit for its use."""


class InvalidConfig(UsageError):
    """A configuration has one or more problems, which are listed all at once.

    `facts` are the problems for `--json`. The exit code is that of the problems, or that of a
    UsageError when they differ.
    """

    def __init__(
        self,
        problems: Sequence[str],
        facts: Sequence[Mapping[str, object]] = (),
        exit_code: int = UsageError.exit_code,
    ) -> None:
        lines = [f"{len(problems)} problems:", *(f"  - {problem}" for problem in problems)]
        super().__init__(problems[0] if len(problems) == 1 else "\n".join(lines))
        listed = list(facts) or [{"message": problem} for problem in problems]
        self.facts: dict[str, object] = {"problems": listed}
        self.exit_code = exit_code


class IncompatibleError(EdgeAdError):
    """An engine does not fit this machine, this version of edge-ad or the engine contract."""

    exit_code = 3


class MissingExtra(IncompatibleError):
    """A package that a feature needs is not installed; the message has the install command."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs the package {package}, which is not installed. "
            f"Install it with: pip install 'edge-ad[{extra}]'"
        )


@contextmanager
def naming(name: object) -> Iterator[None]:
    """Begin the message of a UsageError in this block with the name of the file it is about."""
    try:
        yield
    except UsageError as error:
        raise type(error)(f"{name}: {error}") from error


class EngineLost(EdgeAdError):
    """An engine failed on its GPU and is closed, its memory freed.

    A line opens it again; when that fails, it ends with this error, since CUDA wants a new process.
    """

    exit_code = 7


class InvalidOutput(EdgeAdError):
    """The output of an engine contains NaN or Inf."""


class GateFailed(EdgeAdError):
    """A measured figure is outside its limit; `facts` are the figures, for `--json`."""

    exit_code = 4

    def __init__(self, message: str, facts: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.facts = dict(facts or {})


class SourceLost(EdgeAdError):
    """A camera, file or folder gives no more frames."""

    exit_code = 5


class SourceTimeout(SourceLost):
    """A camera gave no frame within the time allowed."""


class OutletLost(EdgeAdError):
    """An alarm channel or output folder cannot be written."""

    exit_code = 6


class Refused(OutletLost):
    """The other side of an outlet does not take an event, though it can be reached.

    The event is tried again, after `retry_after_s` where the other side says so, and becomes a dead
    letter when it was refused too often.
    """

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
