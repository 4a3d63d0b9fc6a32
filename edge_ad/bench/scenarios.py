"""MLPerf Inference's scenarios for one engine (MLCommons, inference rules, section 3 and appendix).

They differ from the official benchmark in one point: the model and the data are the user's own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

from edge_ad.bench.engine_calls import random_batch, timed_call
from edge_ad.bench.percentiles import most_above
from edge_ad.engine import Engine
from edge_ad.frame import Image

Scenario = Literal["single-stream", "multi-stream", "offline"]

CONFIDENCE = 0.99
LEAST_S = 600.0
OFFLINE_SAMPLES = 24_576
STREAMS = 8  # images a query in multi-stream


@dataclass(frozen=True, slots=True)
class _Latencies:
    """How a latency scenario is run: images a query, and the percentile it reports."""

    images: int
    share: float


_LATENCIES = {"single-stream": _Latencies(1, 0.9), "multi-stream": _Latencies(STREAMS, 0.99)}


def run_scenario(
    scenario: Scenario, engine: Engine, duration_s: float
) -> tuple[dict[str, Any], list[float]]:
    """Run a scenario; return its figures with their validity, and the seconds of each query.

    Where it is not `valid`, `invalid_because` says why. A latency is MLPerf's early-stopping
    estimate; None where too few queries were made for it.
    """
    if scenario == "offline":
        return _offline(engine, duration_s)
    rule = _LATENCIES[scenario]
    batch = random_batch(engine, rule.images)
    calls = _queries(engine, batch, duration_s)
    estimate_s = early_stopping(calls, rule.share)
    reasons = [_too_short(sum(calls))]
    if estimate_s is None:
        reasons.append(f"{len(calls)} queries are too few for a {rule.share:.0%} latency")
    name = f"p{rule.share * 100:.0f}_estimate_ms"
    figure = None if estimate_s is None else round(1e3 * estimate_s, 4)
    result = {"scenario": scenario, "queries": len(calls), name: figure} | _validity(reasons)
    return result, calls


def early_stopping(seconds: list[float], share: float) -> float | None:
    """Return MLPerf's estimate of a percentile: the next slowest after t - 1 are discarded.

    t is the largest number for which t or fewer calls slower than the percentile are unlikely
    (below 1 %); None when there is no such t >= 1.
    """
    t = most_above(len(seconds), share, CONFIDENCE)
    return None if not t else sorted(seconds)[-t]


def _offline(engine: Engine, duration_s: float) -> tuple[dict[str, Any], list[float]]:
    """Return the images a second of at least 24 576 images, unless the time ends before."""
    batch = random_batch(engine)
    calls = _queries(engine, batch, duration_s, at_least=OFFLINE_SAMPLES // len(batch) + 1)
    images = len(calls) * len(batch)
    reasons = [_too_short(sum(calls))]
    if images < OFFLINE_SAMPLES:
        reasons.append(f"{images} of {OFFLINE_SAMPLES} images")
    fps = round(images / sum(calls), 3)
    result = {"scenario": "offline", "images": images, "images_per_s": fps} | _validity(reasons)
    return result, calls


def _queries(
    engine: Engine, batch: Image, duration_s: float, at_least: int | None = None
) -> list[float]:
    """Return the seconds of each call, for a time; with a rule-length one, `at_least` so many."""
    least = at_least if at_least and duration_s >= LEAST_S else 1
    until, calls = time.perf_counter() + duration_s, list[float]()
    while time.perf_counter() < until or len(calls) < least:
        calls.append(timed_call(engine, batch))
    return calls


def _too_short(ran_s: float) -> str:
    return "" if ran_s >= LEAST_S else f"ran {ran_s:.0f} of {LEAST_S:.0f} s"


def _validity(reasons: list[str]) -> dict[str, Any]:
    reasons = [reason for reason in reasons if reason]
    return {"valid": not reasons} | ({"invalid_because": reasons} if reasons else {})
