"""Judge the outstanding parts of a job with Ray Data: the only module that imports ray.

An actor of Ray is a worker of `runner`: it opens the engines once, and judges whole parts. Only
paths travel to it and only rows come back, so images must have the same paths on every node. When a
node dies, Ray gives its parts to another; this process stores each part once.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from edge_ad.wording import counted

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no reports to Ray's makers
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters is raised

try:
    import ray
    import ray.data
except ImportError as error:
    from edge_ad.errors import MissingExtra

    raise MissingExtra("rejudge --ray", "ray", "ray") from error

from edge_ad.errors import EdgeAdError, UsageError
from edge_ad.rejudge.job import RejudgeJob
from edge_ad.rejudge.judge import ArchiveJudge, JudgeConfig
from edge_ad.rejudge.runner import LOCAL_CLUSTER, Judged, WorkerFailure
from edge_ad.rejudge.table import Schema, from_bytes, make_table, to_bytes

_REACHED_WITHIN_S = 10.0


class RayJudge:
    """An actor: a batch is one part, the answer its rows or the error."""

    def __init__(self, config: JudgeConfig, schema: Schema) -> None:
        self._schema = schema
        self._judge: ArchiveJudge | None = None
        self._failure: WorkerFailure | None = None
        try:
            self._judge = ArchiveJudge(config)
        except EdgeAdError as error:  # Ray would start the actor again and again
            self._failure = WorkerFailure(str(error), error.exit_code)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        rows, failures = list[bytes](), list[str]()
        for paths in batch["paths"]:
            table, failure = self._answer(list(paths))
            rows.append(table)
            failures.append(failure)
        return {"part": list(batch["part"]), "rows": rows, "failure": failures}

    def _answer(self, paths: list[str]) -> tuple[bytes, str]:
        failure = self._failure
        if failure is None:
            assert self._judge is not None
            try:
                return to_bytes(make_table(self._judge.judge_all(paths), self._schema)), ""
            except EdgeAdError as error:
                failure = WorkerFailure(str(error), error.exit_code)
        return b"", f"{failure.exit_code} {failure.message}"


def judge_on_ray(
    job: RejudgeJob, config: JudgeConfig, stop: threading.Event, workers: int, address: str
) -> Judged:
    """Yield the tables of outstanding parts as the actors of a cluster end them.

    `address` is a cluster's, or "local" for one on this machine, which ends with the job. Raises
    the error of a worker, UsageError for a cluster that cannot be reached.
    """
    try:
        with _own_signals():
            _connect(address, workers)
        if stop.is_set():
            return
        stored = set[int]()
        for row in _answers(job, config, workers):
            if stop.is_set():
                return
            _raise_failure(row["failure"])
            if row["part"] not in stored:  # a node that died may have sent it before
                stored.add(row["part"])
                yield int(row["part"]), from_bytes(row["rows"])
    except ray.exceptions.RayError as error:
        raise EdgeAdError(
            f"Ray ended the job: {_first_line(error)}. What is judged is kept: give the same "
            "command again."
        ) from error
    finally:
        ray.shutdown()


def _answers(job: RejudgeJob, config: JudgeConfig, workers: int) -> Iterable[dict[str, Any]]:
    """Return the answers of actors to the outstanding parts, as `RayJudge` gives them."""
    parts = [{"part": index, "paths": list(job.part(index))} for index in job.outstanding]
    answers = ray.data.from_items(parts, override_num_blocks=len(parts)).map_batches(
        RayJudge,
        batch_size=1,
        fn_constructor_args=(config, job.schema),
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(parts))),
        num_cpus=1,
        num_gpus=1 if _needs_gpu(config) else 0,
    )
    rows: Iterable[dict[str, Any]] = answers.iter_rows()
    return rows


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's answer to SIGTERM: Ray replaces it, and ends the process without a word.

    One that arrives while Ray starts ends that, and is given to this process again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    own = signal.getsignal(signal.SIGTERM)
    ended = False
    try:
        yield
    except SystemExit:
        ended = True
    finally:
        signal.signal(signal.SIGTERM, own)
    if ended:
        signal.raise_signal(signal.SIGTERM)


def _connect(address: str, workers: int) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address == LOCAL_CLUSTER:
            # its own, also beside a cluster that runs here
            ray.init(address="local", num_cpus=workers, include_dashboard=False, **quiet)
        else:
            _reach(address)
            ray.init(address=address, **quiet)
    except (RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        raise UsageError(
            f"--ray {address}: no Ray cluster there ({_first_line(error)}). Start one with: ray "
            "start --head, and give HOST:6379; or use --ray local."
        ) from error
    cores = int(ray.cluster_resources().get("CPU", 0))
    if cores < workers:
        ray.shutdown()
        raise UsageError(
            f"--workers {workers}: the Ray cluster has {counted(cores, 'CPU core')}, and "
            "each worker needs one."
        )
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _reach(address: str) -> None:
    """Raise OSError or ValueError when nothing listens there: Ray would wait for minutes."""
    parts = urlsplit(f"//{address}")
    if not parts.hostname or parts.port is None:
        raise ValueError("expected HOST:PORT")
    socket.create_connection((parts.hostname, parts.port), _REACHED_WITHIN_S).close()


def _needs_gpu(config: JudgeConfig) -> bool:
    engines = (config.engine, config.against)
    return any(
        engine is not None and (engine.engine.endswith(".plan") or engine.options.device == "cuda")
        for engine in engines
    )


def _raise_failure(text: str) -> None:
    if text:
        code, _, message = text.partition(" ")
        WorkerFailure(message, int(code)).raise_it()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
