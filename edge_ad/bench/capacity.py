"""Find how many cameras this machine serves at a rate, by running them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from edge_ad.bench.percentiles import nearest_rank
from edge_ad.bench.replay import Replay
from edge_ad.machine.host import usable_cores
from edge_ad.machine.other_work import OtherWork
from edge_ad.wording import counted

MOST_STREAMS = 256
BUSY = 0.9  # of the processor's or the engine's time: that is what binds


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of so many streams.

    `p99_ms` runs from a frame's capture to its verdict, and is None where no frame had one.
    `processor` and `engine` are the shares of the run's time that they were busy, of all cores
    together; `others` is what other programs took of them, 0 where that is not known.
    """

    streams: int
    frames: int
    dropped: int
    p99_ms: float | None
    processor: float
    engine: float
    others: float = 0.0

    def fits(self, latency_ms: float) -> bool:
        """Return whether no frame was dropped and the latency is within its limit."""
        return self.dropped == 0 and self.p99_ms is not None and self.p99_ms <= latency_ms


@dataclass(frozen=True, slots=True)
class Capacity:
    """The most streams that fit, and what stops the next one: empty when nothing did."""

    streams: int
    trials: tuple[Trial, ...]
    limit: str

    def as_json(self) -> dict[str, Any]:
        """Return the number, the limit and all trials in the order they were run."""
        trials = [asdict(trial) for trial in self.trials]
        return {"streams": self.streams, "limit": self.limit, "trials": trials}


def find_capacity(
    attempt: Callable[[int], Trial], latency_ms: float, most: int = MOST_STREAMS
) -> Capacity:
    """Double the streams until a trial does not fit, then halve the gap."""
    trials: dict[int, Trial] = {}

    def fits(streams: int) -> bool:
        trials[streams] = attempt(streams)
        return trials[streams].fits(latency_ms)

    good, bad = 0, 1
    while bad <= most and fits(bad):
        good, bad = bad, 2 * bad
    while bad - good > 1 and bad <= most:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    limit = binding_limit(trials[bad], latency_ms) if bad in trials else ""
    return Capacity(good, tuple(trials.values()), limit)


def binding_limit(trial: Trial, latency_ms: float) -> str:
    """Return in words what a trial that does not fit ran into."""
    if trial.engine >= BUSY:
        cause = f"the engine is busy {trial.engine:.0%} of the time"
    elif trial.processor >= BUSY:
        cause = f"all cores are busy {trial.processor:.0%} of the time"
    elif trial.processor + trial.others >= BUSY:
        cause = f"other programs took {trial.others:.0%} of all cores' time: measure without them"
    else:
        cause = "neither engine nor processor is busy: frames wait for each other"
    streams = counted(trial.streams, "stream")
    if trial.dropped:
        total = trial.frames + trial.dropped
        return f"{trial.dropped} of {total} frames dropped at {streams}; {cause}"
    if trial.p99_ms is None:
        return f"no frame had its verdict in time at {streams}; {cause}"
    effect = f"{trial.p99_ms:.1f} ms at {streams}, limit {latency_ms:g} ms"
    return f"99 % latency of {effect}; {cause}"


def run_trial(replay: Replay, rate_hz: float, duration_s: float, streams: int) -> Trial:
    """Run streams at a rate for a time."""
    began, worked, others = time.perf_counter(), time.process_time(), OtherWork()
    line = replay.run(streams, rate_hz, duration_s)
    elapsed_s, processor_s = time.perf_counter() - began, time.process_time() - worked
    latency = line.latency_s()
    return Trial(
        streams,
        frames=len(latency),
        dropped=sum(line.dropped.values()),
        p99_ms=round(1e3 * nearest_rank(latency, 0.99), 3) if latency else None,
        processor=round(processor_s / elapsed_s / usable_cores(), 3),
        engine=round(line.engine_s / elapsed_s, 3),
        others=round((others.cores() or 0.0) / usable_cores(), 3),
    )
