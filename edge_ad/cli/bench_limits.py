"""Limits and counts that `edge-ad bench` takes, and the check of its result."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import click

from edge_ad.errors import GateFailed, UsageError

_LIMIT = re.compile(r"^\s*([\w.\- ]+?)\s*(<=|>=|<|>)\s*([-+.\deE]+)\s*$")
_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_COUNT = 1024
_ENGINE = ("engine_fps", "calls", "n", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "p99.9_ms", "max_ms")
_LOOP = ("stages", "loop_fps", "loop_engine_fps", "loop_ratio", "loop_frames", "loop_latency_ms",
         "loop_engine_ms")  # fmt: skip
_ALWAYS = ("load_average", "conditions", "energy", "batch", "schema", "upper_ms")


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
        if len(set(numbers)) < len(numbers):
            self.fail(f"each number is measured once; got '{value}'")
        return numbers


def check_names(
    limits: Iterable[tuple[str, str, float]], *, camera: bool, options: Mapping[str, Any]
) -> None:
    """Raise UsageError for a limit on what these options do not measure, before they do."""
    names = list(_ENGINE if not options["scenario"] else ["scenario"])
    names += _LOOP if camera else []
    names += [name for name in ("roofline", "estimate", "capacity") if options[name]]
    names += ["rate"] if options["rate_hz"] is not None else []
    names += [name for name in ("streams", "batches") if options[name]]
    for name, _, _ in limits:
        if not any(name == known or name.startswith(f"{known}.") for known in (*names, *_ALWAYS)):
            raise UsageError(
                f"--assert {name}: not measured with these options. They measure "
                f"{', '.join(names)}; what has parts by a dotted name, like stages.decode.p50_ms."
            )


def check_limits(result: dict[str, Any], limits: tuple[tuple[str, str, float], ...]) -> None:
    """Raise GateFailed for a limit that does not hold, UsageError for a figure not measured."""
    from edge_ad.cli.bench_format import flat_figures

    known, failures = flat_figures(result), []
    for name, comparison, limit in limits:
        if name not in known:
            raise UsageError(f"--assert {name}: not measured. Measured: {', '.join(known)}.")
        value = known[name]
        if value is None:
            failures.append(
                f"expected {name} {comparison} {limit:g}, but the sample is too small for this "
                "percentile. Measure longer with --duration-s"
            )
        elif not _COMPARE[comparison](value, limit):
            failures.append(f"expected {name} {comparison} {limit:g}, got {value}")
    if failures:
        raise GateFailed(f"{'; '.join(failures)}.")
