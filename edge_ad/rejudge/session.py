"""One `rejudge`: resolve what images are judged with, run the job, and sum it up."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import edge_ad
from edge_ad.engine import EngineOptions, open_engine
from edge_ad.errors import SourceLost
from edge_ad.images import BitDepth, agreed_depth, find_depth
from edge_ad.line.judge import resolve_thresholds
from edge_ad.rejudge.comparison import compare_results, write_sheet
from edge_ad.rejudge.job import RejudgeJob, open_job
from edge_ad.rejudge.judge import JudgeConfig, JudgeEngine
from edge_ad.rejudge.listing import ArchiveListing, list_archive
from edge_ad.rejudge.progress import RejudgeProgress
from edge_ad.rejudge.runner import LOCAL_CLUSTER, Judged, judge_here, judge_in_processes
from edge_ad.rejudge.table import read_columns
from edge_ad.sidecar import engine_sha256, load_sidecar
from edge_ad.triton import engine_text, served_model

_EXAMPLES = 5  # of reasons, in the summary
# read by Ray when it is imported: its servers, which run code for any client, listen on 127.0.0.1
_LOOPBACK_ONLY = ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")


@dataclass(frozen=True)
class RejudgeConfig:
    """What a user asked for; thresholds and geometry not given are those stored with the engine.

    The given ones are for `engine`; `against` takes its stored ones. With `ray`, an address or
    "local", Ray Data runs `workers` actors; without, this process or `workers` processes do.
    """

    engine: Path
    images: Path
    output: Path
    against: Path | None = None
    geometry: Mapping[str, Any] = field(default_factory=dict)
    threshold: float | None = None
    pixel_threshold: float | None = None
    bit_depth: int | None = None
    maps: bool = False
    workers: int = 1
    ray: str | None = None
    overwrite: bool = False
    options: EngineOptions = field(default_factory=EngineOptions)


class RejudgeSession:
    """Runs a job. `progress` receives lines for people; `stop` ends it at the next image."""

    def __init__(
        self,
        config: RejudgeConfig,
        progress: Callable[[str], None],
        stop: threading.Event,
        *,
        terminal: bool = False,
    ) -> None:
        self._config, self._show, self._stop = config, progress, stop
        self._terminal = terminal
        self._listing: ArchiveListing | None = None

    def run(self) -> dict[str, Any] | None:
        """Judge all images and return the summary, None when `stop` came first.

        Raises what `open_job`, `open_engine` and `list_archive` raise, and SourceLost when not a
        single image could be judged; the output is written then, too.
        """
        config = self._config
        engine, depth = self._resolve(
            config.engine, config.geometry, config.threshold, config.pixel_threshold
        )
        against = self._resolve(config.against)[0] if config.against is not None else None
        judge = JudgeConfig(engine, against, depth, self._root(), config.maps)
        description = self._describe(judge)
        with open_job(config.output, description, self._listed, overwrite=config.overwrite) as job:
            if job is None:
                self._show(f"{config.output} is finished already: these images, this engine.")
                return self._summary(None, judge, 0.0)
            judge = dataclasses.replace(judge, root=job.listing.root)
            seconds = self._judge(job, judge)
            if job.judged < job.images:
                return None
            job.finish()
        return self._summary(job, judge, seconds)

    def _resolve(
        self,
        path: Path,
        geometry: Mapping[str, Any] = MappingProxyType({}),
        threshold: float | None = None,
        pixel_threshold: float | None = None,
    ) -> tuple[JudgeEngine, BitDepth]:
        """Open an engine to check it, and return all that its verdicts depend on.

        What is not given is as stored with the engine.
        """
        options = self._config.options
        with open_engine(path, options) as engine:
            manifest = engine.manifest
        used = manifest.geometry.changed(geometry)
        thresholds = resolve_thresholds(
            path, load_sidecar(path), used, manifest.geometry, threshold, pixel_threshold
        )
        depth = agreed_depth(str(path), manifest.bit_depth, self._config.bit_depth)
        if depth is None:
            depth = find_depth([Path(name) for name in self._listed().paths])
        absolute = str(served_model(path) or os.path.abspath(path))
        engine_options = dataclasses.replace(options, threads=self._threads())
        return JudgeEngine(absolute, engine_sha256(path), engine_options, used, thresholds), depth

    def _threads(self) -> int:
        """Return the arithmetic threads of each worker: together, they use every core once."""
        config = self._config
        if config.options.threads or (config.workers == 1 and config.ray is None):
            return config.options.threads
        if config.ray is not None:
            return 1  # Ray gives an actor one core
        return max(1, len(os.sched_getaffinity(0)) // config.workers)

    def _listed(self) -> ArchiveListing:
        if self._listing is None:
            self._listing = list_archive(self._config.images)
        return self._listing

    def _root(self) -> str:
        images = self._config.images
        return os.path.abspath(images if images.is_dir() else images.parent)

    def _describe(self, judge: JudgeConfig) -> dict[str, Any]:
        """Return everything that the rows depend on, as JSON."""
        options = dataclasses.asdict(self._config.options)
        for unimportant in ("threads", "cuda_graph", "trust_host_code"):
            del options[unimportant]
        return {
            "edge_ad": edge_ad.__version__,
            "images": os.path.abspath(self._config.images),
            "engine": judge.engine.describe(),
            "against": judge.against.describe() if judge.against else None,
            "bit_depth": judge.depth.bits,
            "maps": judge.maps,
            "options": options,
        }

    def _judge(self, job: RejudgeJob, judge: JudgeConfig) -> float:
        """Judge what is outstanding, and return the seconds that it took."""
        if job.resumed:
            self._show(f"continuing: {job.resumed} of {job.images} images are judged")
        progress = RejudgeProgress(job, self._show, terminal=self._terminal)
        for index, table in self._judged(job, judge):
            job.store(index, table)
            progress.update()
        return progress.seconds

    def _judged(self, job: RejudgeJob, judge: JudgeConfig) -> Judged:
        config = self._config
        if not job.outstanding:
            return iter(())
        if config.ray is not None:
            if config.ray == LOCAL_CLUSTER:
                os.environ.setdefault(*_LOOPBACK_ONLY)
            from edge_ad.rejudge.cluster import judge_on_ray

            return judge_on_ray(job, judge, self._stop, config.workers, config.ray)
        if config.workers == 1:
            return judge_here(job, judge, self._stop)
        return judge_in_processes(job, judge, self._stop, config.workers)

    def _summary(
        self, job: RejudgeJob | None, judge: JudgeConfig, seconds: float
    ) -> dict[str, Any]:
        """Count what the output holds, and compare the engines."""
        output = self._config.output
        verdicts, reasons = _count_verdicts(output)
        images = verdicts.total()
        judged = job.judged - job.resumed if job else 0
        summary: dict[str, Any] = {
            "output": str(output),
            "engine": engine_text(self._config.engine),
            "images": images,
            "pass": verdicts["PASS"],
            "reject": verdicts["REJECT"],
            "invalid": verdicts["INVALID"],
            "judged_now": judged,
            "judged_before": images - judged,
            "repeated": job.listing.repeated if job else 0,
            "left_out": job.listing.left_out if job else 0,
            "seconds": round(seconds, 3),
            "images_per_s": round(judged / seconds, 3) if seconds and judged else None,
            "invalid_examples": reasons[:_EXAMPLES],
        }
        if judge.against is not None:
            summary["against"] = self._compare(judge)
        if images == verdicts["INVALID"]:
            raise SourceLost(
                f"none of the {images} images can be judged; {output} has the reasons. The first "
                f"one: {reasons[0]}"
            )
        return summary

    def _compare(self, judge: JudgeConfig) -> dict[str, Any]:
        verdicts, largest = compare_results(self._config.output)
        sheet = sheet_path(self._config.output)
        write_sheet(sheet, largest, judge)
        flips = sum(count for step, count in verdicts.items() if len(set(step.split(">"))) == 2)
        return {
            "engine": engine_text(self._config.against or ""),
            "verdicts": verdicts,
            "flips": flips,
            "same": sum(verdicts.values()) - flips,
            "largest": [item.as_json() for item in largest],
            "sheet": str(sheet),
        }


def _count_verdicts(output: Path) -> tuple[Counter[str], list[str]]:
    """Return the number of rows of each verdict, and the different reasons of INVALID ones."""
    verdicts, reasons = Counter[str](), dict[str, None]()
    for row in read_columns(output, ["verdict", "reason"]):
        verdicts[row["verdict"]] += 1
        if row["verdict"] == "INVALID":
            reasons[row["reason"]] = None
    return verdicts, list(reasons)


def sheet_path(output: Path) -> Path:
    """Return the sheet of the largest differences: `results.parquet` -> `results.against.jpg`."""
    return output.with_suffix(".against.jpg")
