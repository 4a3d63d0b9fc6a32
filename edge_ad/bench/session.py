"""One benchmark of one engine: what was measured so far, and the raw samples behind it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any

from edge_ad.bench.capacity import find_capacity, run_trial
from edge_ad.bench.engine_calls import measure_energy, random_batch, time_engine
from edge_ad.bench.estimate import estimate_devices
from edge_ad.bench.figure import STAGE
from edge_ad.bench.loop import IN_MEMORY, bench_loop, decoded
from edge_ad.bench.pace import run_at_rate
from edge_ad.bench.percentiles import describe_times, upper_bounds_ms
from edge_ad.bench.replay import Replay
from edge_ad.bench.result import SCHEMA, conditions
from edge_ad.bench.roofline import (
    CEILING_S,
    Ceilings,
    describe_roofline,
    measure_ceilings,
    profile_layers,
)
from edge_ad.bench.scenarios import Scenario, run_scenario
from edge_ad.bench.stages import gpu_bound, time_stages
from edge_ad.bench.windows import AGREEING, AT_MOST
from edge_ad.engine import Engine
from edge_ad.errors import UsageError
from edge_ad.frame import Frame
from edge_ad.frame_gate import FrameGate
from edge_ad.geometry import Geometry
from edge_ad.line.config import LineConfig
from edge_ad.line.inspector import Inspector, Thresholds
from edge_ad.line.judge import resolve_thresholds
from edge_ad.machine.energy import energy_meters
from edge_ad.machine.host import processor_flags
from edge_ad.machine.other_work import OtherWork
from edge_ad.sidecar import load_sidecar
from edge_ad.triton import engine_text
from edge_ad.uri import without_credentials
from edge_ad.wording import counted

_CEILING_TRIES = 3
_APART = "differ by more than 10 %"
_STAGED = 2000  # frames: seconds to a minute


def no_step(what: str) -> None:
    """Do nothing with what is measured next."""


@dataclass
class BenchSession:
    """Measures an open engine. Each method adds to `result`, and its samples to `samples`.

    `config` has one camera for what needs frames, none for the engine alone. `on_step` is called
    with what is measured next, in words.
    """

    engine: Engine
    config: LineConfig
    duration_s: float
    warmup_s: float = 0.2
    on_step: Callable[[str], None] = no_step
    result: dict[str, Any] = field(default_factory=dict)
    samples: dict[str, list[float]] = field(default_factory=dict)
    unstable: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        engine = self._file
        if self.config.threshold is None and not _has_threshold(engine):
            # nothing is rejected then; the speed hardly depends on it
            self.config = replace(self.config, threshold=sys.float_info.max)
        self._others = OtherWork()
        known = conditions(engine) | self._settings()
        manifest = self.engine.manifest
        self.result |= {
            "type": "bench",
            "schema": SCHEMA,
            "engine": engine_text(engine),
            "method": manifest.method,
            "precision": manifest.precision,
            "load_average": known["load_average"],
            "conditions": known,
        }

    def time_engine(self, at_most: int = AT_MOST) -> None:
        """Measure the engine alone, flat out."""
        self.on_step("the engine")
        batch = random_batch(self.engine)
        windows = time_engine(
            self.engine,
            [batch],
            warmup_s=self.warmup_s,
            duration_s=self.duration_s,
            at_most=at_most,
        )
        calls = self.samples["engine"] = windows.last
        if not windows.stable:
            self.unstable.append(f"{len(windows.calls)} windows of the engine alone {_APART}")
        self.result |= {
            "batch": len(batch),
            "calls": len(calls),
            "engine_fps": round(len(batch) * len(calls) / sum(calls), 2),
            **_figures(calls),
            "windows": windows.as_json(),
        }
        if meters := list(energy_meters()):
            self.result["energy"] = measure_energy(
                self.engine, batch, meters, self.duration_s / AGREEING
            )

    def check_batches(self, sizes: Sequence[int]) -> None:
        """Raise UsageError for an engine that takes another number of images only."""
        fixed = self.engine.manifest.batch
        if fixed is not None and set(sizes) != {fixed}:
            raise UsageError(
                f"{self.engine.name} takes {fixed} images a call and no other number. Export it "
                "with --dynamic-batch to compare sizes."
            )

    def sweep_batches(self, sizes: Sequence[int]) -> None:
        """Measure calls of other numbers of images. Raises as `check_batches` does."""
        self.check_batches(sizes)
        self.result["batches"] = [self._time_batch(size) for size in sizes]

    def time_loop(self, rounds: int) -> None:
        """Measure the whole loop beside the engine, on the camera's frames."""
        self.on_step(f"the loop beside the engine, {counted(rounds, 'round')}")
        bench = bench_loop(self.engine, self.config, rounds=rounds, warmup_s=self.warmup_s)
        self.samples["loop"] = list(bench.latency_s)
        if not bench.stable:
            self.unstable.append(f"the last three rounds of the loop {_APART}")
        self.result |= {
            "loop_frames": bench.frames,
            "loop_invalid": dict(bench.invalid),
            "loop_fps": round(bench.loop_fps, 2),
            "loop_engine_fps": round(bench.engine_fps, 2),
            "loop_ratio": round(bench.ratio, 4),
            "loop_latency_ms": describe_times(bench.latency_s),
            "loop_engine_ms": describe_times(bench.engine_s),
        }

    def time_stages(self) -> None:
        """Measure each stage on its own."""
        self.on_step("the stages")
        (camera,), at_most = self.config.resolve(), self.config.frames or _STAGED
        times = time_stages(
            camera.uri, self.engine, self._thresholds, self._geometry, at_most
        ).seconds
        whole = sum(sum(seconds) for stage, seconds in times.items() if stage != "store")
        self.samples |= {f"{STAGE}{stage}": seconds for stage, seconds in times.items()}
        self.result["stages"] = {
            stage: describe_times(seconds)
            | ({} if stage == "store" else {"share": round(sum(seconds) / whole, 4)})
            for stage, seconds in times.items()
        }
        if "launch" in times:
            self.result["bound_by"] = gpu_bound(times)

    def time_at_rate(self, rate_hz: float) -> None:
        """Measure the latency of one camera at a fixed rate."""
        self.on_step(f"{rate_hz:g} frames/s")
        inspector = Inspector(
            self.engine, self._thresholds, FrameGate(live=False), geometry=self._geometry
        )
        run = run_at_rate(inspector, self._frames, rate_hz, self.duration_s)
        self.samples[f"{rate_hz:g} frames/s"] = list(run.latency_s)
        self.result["rate"] = {
            "rate_hz": rate_hz,
            "kept_up": run.kept_up,
            "behind_s": round(run.behind_s, 4),
            **_figures(run.latency_s),
        }

    def sweep_streams(self, numbers: Sequence[int]) -> None:
        """Measure this many streams at once, each as fast as it can go."""
        self.result["streams"] = [self._time_streams(number) for number in numbers]

    def find_capacity(self, rate_hz: float, latency_ms: float) -> None:
        """Find the most streams at a rate whose verdicts come in time, without a drop."""
        self.on_step("how many cameras fit")
        attempt = partial(run_trial, self._replay, rate_hz, self.duration_s)
        found = find_capacity(attempt, latency_ms)
        limits = {"rate_hz": rate_hz, "latency_ms": latency_ms}
        self.result["capacity"] = limits | found.as_json()

    def measure_layers(self, *, roofline: bool, estimate: bool) -> None:
        """Put each group of layers beside what this machine, or other devices, could do."""
        self.on_step("the layers")
        options = self.config.engine_options
        layers = profile_layers(self._file, random_batch(self.engine), options.threads)
        precision, flags = self.engine.manifest.precision, processor_flags()
        ceilings = Ceilings(0.0, 0.0)
        for _ in range(_CEILING_TRIES):
            ceilings = ceilings.best(measure_ceilings(min(CEILING_S, self.duration_s)))
            estimated = estimate_devices(layers, ceilings, precision, flags)
            if estimated["here_at_least_ms"] <= estimated["here_ms"]:
                break
        else:
            self.unstable.append("this machine's ceilings are below what the layers reached")
        if roofline:
            self.result["roofline"] = describe_roofline(layers, ceilings)
        if estimate:
            self.result["estimate"] = estimated

    def run_scenario(self, scenario: Scenario) -> None:
        """Run one of MLPerf's scenarios on the engine alone."""
        self.on_step(f"the scenario {scenario}")
        result, calls = run_scenario(scenario, self.engine, self.duration_s)
        self.result["scenario"], self.samples[scenario] = result, calls

    def finish(self) -> dict[str, Any]:
        """Return the result with the judgement of its stability, and what ran beside it."""
        others = self._others.cores()
        if others is not None:
            self.result["conditions"]["other_cores"] = round(others, 2)
        self.result["stable"] = not self.unstable
        if self.unstable:
            self.result["unstable"] = self.unstable
        return self.result

    def _settings(self) -> dict[str, Any]:
        """Return what of the options figures depend on: camera, and for ONNX files the runtime."""
        options, cameras = self.config.engine_options, self.config.cameras
        known: dict[str, Any] = {"camera": without_credentials(str(cameras[0]))} if cameras else {}
        if str(self.config.engine).endswith(".onnx"):
            known |= {name: getattr(options, name) for name in ("runtime", "device", "threads")}
        return known

    @property
    def _file(self) -> Path:
        assert self.config.engine is not None
        return Path(self.config.engine)

    @cached_property
    def _geometry(self) -> Geometry:
        return self.engine.manifest.geometry.changed(self.config.geometry)

    @cached_property
    def _thresholds(self) -> Thresholds:
        file, trained = self._file, self.engine.manifest.geometry
        stored = load_sidecar(file)
        return resolve_thresholds(file, stored, self._geometry, trained, self.config.threshold)

    @cached_property
    def _frames(self) -> list[Frame]:
        """The camera's first frames, as many as fit in memory."""
        (camera,) = self.config.resolve()
        frames = decoded(camera.uri)
        first = next(frames)
        room = max(2, IN_MEMORY // first.image.nbytes)
        most = min(room, self.config.frames) if self.config.frames else room
        return [first, *islice(frames, most - 1)]

    @cached_property
    def _replay(self) -> Replay:
        return Replay(self._frames, self.engine, self._thresholds, self._geometry)

    def _time_batch(self, size: int) -> dict[str, Any]:
        self.on_step(f"calls of {counted(size, 'image')}")
        batch = random_batch(self.engine, size)
        windows = time_engine(
            self.engine, [batch], warmup_s=self.warmup_s, duration_s=self.duration_s / AGREEING
        )
        if not windows.stable:
            self.unstable.append(f"batch {size}: windows {_APART}")
        calls = self.samples[f"batch {size}"] = windows.last
        fps = round(size * len(calls) / sum(calls), 2)
        return {"batch": size, "images_per_s": fps, **describe_times(calls)}

    def _time_streams(self, streams: int) -> dict[str, Any]:
        self.on_step(counted(streams, "camera"))
        line = self._replay.run(streams, 0.0, self.duration_s)
        latency = self.samples[f"{streams} streams"] = line.latency_s()
        slowest = min(tally.judged for tally in line.tallies)
        return {
            "streams": streams,
            "fps": round(len(latency) / self.duration_s, 2),
            "slowest_fps": round(slowest / self.duration_s, 2),
            **describe_times(latency),
        }


def _has_threshold(engine: Path) -> bool:
    stored = load_sidecar(engine)
    return stored is not None and stored.threshold is not None


def _figures(seconds: Sequence[float]) -> dict[str, Any]:
    return describe_times(seconds) | {"upper_ms": upper_bounds_ms(seconds)}
