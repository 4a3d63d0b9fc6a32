"""Judge the outstanding parts of a job in this process, or in several processes of this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from edge_ad.errors import EdgeAdError
from edge_ad.rejudge.job import RejudgeJob
from edge_ad.rejudge.judge import ArchiveJudge, JudgeConfig
from edge_ad.rejudge.table import Row, Table, make_table

Judged = Iterator[tuple[int, Table]]
Workers = dict[Connection, BaseProcess]
LOCAL_CLUSTER = "local"  # `--ray local`: a Ray cluster on this machine for one job
_ENDS_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class WorkerFailure:
    """An error of a worker, as it travels to the process that reports it."""

    message: str
    exit_code: int

    def raise_it(self) -> None:
        """Raise the error with its exit code."""
        error = EdgeAdError(self.message)
        error.exit_code = self.exit_code
        raise error


def judge_here(job: RejudgeJob, config: JudgeConfig, stop: threading.Event) -> Judged:
    """Yield the tables of outstanding parts, judged in this process, until `stop` is set."""
    with ArchiveJudge(config) as judge:
        for index in list(job.outstanding):
            rows = []
            for path in job.part(index):
                if stop.is_set():
                    return
                rows.append(judge.judge(path))
            yield index, make_table(rows, job.schema)


def judge_in_processes(
    job: RejudgeJob, config: JudgeConfig, stop: threading.Event, workers: int
) -> Judged:
    """Yield the tables of outstanding parts, in the order in which `workers` processes end them.

    Raises the error of a worker, EdgeAdError when one dies.
    """
    outstanding = iter(list(job.outstanding))
    with _started(config, min(workers, len(job.outstanding))) as processes:
        busy = dict(zip(processes, outstanding, strict=False))
        for connection, index in busy.items():
            _send(connection, processes[connection], job.part(index))
        while busy and not stop.is_set():
            ready = wait(list(busy), timeout=0.2)
            for connection in [one for one in busy if one in ready]:
                rows = _received(connection, processes[connection], job.part(busy[connection]))
                yield busy.pop(connection), make_table(rows, job.schema)
                following = next(outstanding, None)
                if following is not None:
                    busy[connection] = following
                    _send(connection, processes[connection], job.part(following))


@contextlib.contextmanager
def _started(config: JudgeConfig, count: int) -> Iterator[Workers]:
    """Start workers; they end with the block, and when this process dies."""
    context = multiprocessing.get_context("spawn")  # a fork would copy threads of libraries
    processes: Workers = {}
    try:
        for _ in range(count):
            ours, theirs = context.Pipe()
            process: BaseProcess = context.Process(target=_work, args=(theirs, config), daemon=True)
            process.start()
            theirs.close()
            processes[ours] = process
        yield processes
    finally:
        for connection, worker in processes.items():
            connection.close()
            worker.terminate()
        for worker in processes.values():
            worker.join(_ENDS_WITHIN_S)


def _send(connection: Connection, process: BaseProcess, part: Sequence[str]) -> None:
    try:
        connection.send(part)
    except ConnectionError:
        raise _died(process, part) from None


def _received(connection: Connection, process: BaseProcess, part: Sequence[str]) -> list[Row]:
    """Return the rows that a worker sent. Raises its error, and EdgeAdError when it is dead."""
    try:
        answer = connection.recv()
    except (EOFError, ConnectionError):
        raise _died(process, part) from None
    if isinstance(answer, WorkerFailure):
        answer.raise_it()
    assert isinstance(answer, list)
    return answer


def _died(process: BaseProcess, part: Sequence[str]) -> EdgeAdError:
    process.join(_ENDS_WITHIN_S)
    after = f" and the {len(part) - 1} images after it" if len(part) > 1 else ""
    return EdgeAdError(
        f"a worker ended with code {process.exitcode} while it judged {part[0]}{after}; -9 is a "
        "kill, often for memory. What is judged is kept: give the same command, with fewer "
        "--workers if memory is short."
    )


def _work(connection: Connection, config: JudgeConfig) -> None:
    """Judge parts until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(EOFError, ConnectionError):
        try:
            with ArchiveJudge(config) as judge:
                while True:
                    connection.send(judge.judge_all(connection.recv()))
        except EdgeAdError as error:
            connection.send(WorkerFailure(str(error), error.exit_code))
