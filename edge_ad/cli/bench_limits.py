"""Limits and counts that `edge-ad bench` takes, and the check of its result."""

from __future__ import annotations

import math
import operator
import re
from contextlib import suppress
from typing import Any

import click

from edge_ad.errors import GateFailed, UsageError

_LIMIT = re.compile(r"^\s*([\w.\- ]+?)\s*(<=|>=|<|>)\s*([-+.\deE]+)\s*$")
_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_COUNT = 1024


class Limit(click.ParamType[Any]):
    """A limit on a figure, like `p99_ms<8` or `loop_ratio>=0.9`."""

    name = "name<value"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, str, float]:
        match = _LIMIT.match(str(value))
        with suppress(ValueError):
            if match is not None and math.isfinite(limit := float(match[3])):
                return match[1], match[2], limit
        self.fail(f"expected a comparison like p99_ms<8 or loop_ratio>=0.9; got '{value}'")


class Counts(click.ParamType[Any]):
    """Numbers to try in turn, like `1,2,4`."""

    name = "n,n,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        text = str(value).strip("[]")
        if not re.fullmatch(r"\s*\d{1,4}\s*(,\s*\d{1,4}\s*)*", text):
            self.fail(f"expected numbers like 1,2,4; got '{value}'")
        numbers = tuple(int(number) for number in text.split(","))
        if not all(1 <= number <= _COUNT for number in numbers):
            self.fail(f"each number lies between 1 and {_COUNT}; got '{value}'")
        return numbers


def check_limits(result: dict[str, Any], limits: tuple[tuple[str, str, float], ...]) -> None:
    """Raise GateFailed for a limit that does not hold, UsageError for a figure not measured."""
    from edge_ad.cli.bench_format import flat_figures

    known = flat_figures(result)
    for name, comparison, limit in limits:
        if name not in known:
            numbers = [key for key, value in known.items() if "." not in key and value is not None]
            raise UsageError(f"--assert {name}: not measured. Measured: {', '.join(numbers)}.")
        value = known[name]
        if value is None:
            raise GateFailed(
                f"expected {name} {comparison} {limit:g}, but the sample is too small for this "
                "percentile. Measure longer with --duration-s."
            )
        if not _COMPARE[comparison](value, limit):
            raise GateFailed(f"expected {name} {comparison} {limit:g}, got {value}.")
