"""Every error edge-ad raises on purpose, and the exit code a command ends with.

    EdgeAdError              1   failed while running
    +-- UsageError           2   an option or a configuration key that cannot be meant
    |   +-- DataError        2   a folder, image, mask or weights file unfit for its use
    +-- IncompatibleError    3   an engine unfit for this machine, version or contract
    |   +-- MissingExtra     3   a feature whose package is not installed
    +-- EngineLost           1   an engine that its graphics card can no longer run
    +-- GateFailed           4   accuracy, parity or false-alarm rate outside its limit
    +-- SourceLost           5   a camera, file or folder that gives no (more) frames
    |   +-- SourceTimeout    5   ... within the time allowed
    +-- SinkLost             6   an alarm channel or output folder that cannot be written

A message is one paragraph: what is wrong, what was expected, what was found, what to do.
"""

from __future__ import annotations

from collections.abc import Mapping


class EdgeAdError(Exception):
    """Base of all errors a user should read without a traceback."""

    exit_code = 1


class UsageError(EdgeAdError):
    exit_code = 2


class DataError(UsageError):
    pass


class IncompatibleError(EdgeAdError):
    exit_code = 3


class MissingExtra(IncompatibleError):
    """A package that this feature needs is absent; the message carries the install command."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs the package {package}, which is not installed. "
            f"Install it with: pip install 'edge-ad[{extra}]'"
        )


class EngineLost(EdgeAdError):
    """The engine is closed and what it held is freed; opening it anew may help."""


class GateFailed(EdgeAdError):
    """`facts` are the figures behind the verdict, for `--json`."""

    exit_code = 4

    def __init__(self, message: str, facts: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.facts = dict(facts or {})


class SourceLost(EdgeAdError):
    exit_code = 5


class SourceTimeout(SourceLost):
    pass


class OutletLost(EdgeAdError):
    exit_code = 6
