"""Limits and counts that `edge-ad bench` takes, and the check of its result."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

import click

from edge_ad.errors import GateFailed, UsageError

_LIMIT = re.compile(r"^\s*([\w.\- ]+?)\s*(<=|>=|<|>)\s*([-+.\deE]+)\s*$")
_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_COUNT = 1024
_PERCENTILES = ("p50", "p90", "p95", "p99", "p99.9")
_TIMES = ("n", *(f"{name}_ms" for name in (*_PERCENTILES, "max")))
_ENGINE = ("engine_fps", "calls", *_TIMES)
_LOOP = ("stages", "loop_fps", "loop_engine_fps", "loop_ratio", "loop_frames", "loop_invalid",
         "loop_latency_ms", "loop_engine_ms")  # fmt: skip
_ALWAYS = ("load_average", "conditions", "energy", "batch", "schema", "upper_ms")
_STAGES = ("decode", "hand-over", "gate", "preprocess", "launch", "upload", "inference", "download",
           "judge", "outlets", "store")  # fmt: skip


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
    parts = _parts(options)
    for name, _, _ in limits:
        section = name.partition(".")[0]
        if not any(name == known or name.startswith(f"{known}.") for known in (*names, *_ALWAYS)):
            raise UsageError(
                f"--assert {name}: not measured with these options. They measure "
                f"{', '.join(names)}; what has parts by a dotted name, like stages.decode.p50_ms."
            )
        if section in parts and name not in parts[section]:
            near = get_close_matches(name, parts[section], cutoff=0.0) or parts[section][:3]
            raise UsageError(
                f"--assert {name}: {section} has no such figure. It has {len(parts[section])}, "
                f"the nearest {' and '.join(near[:2])}."
            )


def _parts(options: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the names of the figures of each section whose parts are known beforehand."""
    of = {
        "stages": [f"{stage}.{time}" for stage in _STAGES for time in (*_TIMES, "share")],
        "loop_latency_ms": list(_TIMES),
        "loop_engine_ms": list(_TIMES),
        "upper_ms": list(_PERCENTILES),
        "rate": [*_TIMES, "rate_hz", "behind_s", *(f"upper_ms.{name}" for name in _PERCENTILES)],
        "capacity": ["streams", "rate_hz", "latency_ms"],
    }
    for section, speeds in (
        ("streams", ("streams", "fps", "slowest_fps")),
        ("batches", ("batch", "images_per_s")),
    ):
        numbers = options[section] or ()
        of[section] = [f"{number}.{name}" for number in numbers for name in (*speeds, *_TIMES)]
    return {section: [f"{section}.{name}" for name in names] for section, names in of.items()}


def check_result(
    result: dict[str, Any],
    limits: tuple[tuple[str, str, float], ...],
    *,
    allow_unstable: bool,
) -> None:
    """Raise GateFailed for a limit that does not hold and for a result that is not stable.

    Raises UsageError for a figure that was not measured.
    """
    failures = _not_met(result, limits)
    if result.get("unstable") and not allow_unstable:
        failures.append(
            f"unstable: {'; '.join(result['unstable'])}. {_beside(result['conditions'])} Measure "
            "longer (--duration-s), on a quiet machine, or accept it with --allow-unstable"
        )
    if failures:
        raise GateFailed(f"{'; '.join(failures)}.")


def _not_met(result: dict[str, Any], limits: tuple[tuple[str, str, float], ...]) -> list[str]:
    """Return in words the limits that do not hold."""
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
    return failures


def _beside(conditions: Mapping[str, Any]) -> str:
    """Return what ran beside the measurement, where that is known."""
    others = conditions.get("other_cores")
    if others is None:
        return "Something else works on this machine, or its clock changes: see conditions."
    return (
        f"Other programs took {others} of {conditions['cores']} cores meanwhile; what is left is "
        "the machine's clock, or the engine."
    )
