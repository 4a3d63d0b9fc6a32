"""Measure what each stage of the loop costs, from the file to the committed event.

The stages run one after the other in this thread, with the objects that the line uses; only in the
line do they overlap. So their sum is what a frame costs, not how long it takes on a busy line.
"""

from __future__ import annotations

import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median

from edge_ad.engine import Engine
from edge_ad.engine.base import GpuTimedEngine
from edge_ad.frame import Frame
from edge_ad.frame_gate import FrameGate
from edge_ad.geometry import Geometry
from edge_ad.inspection import Inspection, Verdict, find_regions
from edge_ad.line.inspector import Thresholds
from edge_ad.outlet.base import Evidence, Outlets
from edge_ad.outlet.evidence import EvidenceFolder
from edge_ad.outlet.history import History
from edge_ad.outlet.jsonl import JsonFile, Kept
from edge_ad.scoring import Scorer
from edge_ad.source.frame_queue import DropPolicy, FrameQueue
from edge_ad.source.open import open_grabs
from edge_ad.store.event import StoreEvent, insert, reject_event
from edge_ad.store.store import Store

COMMITS = 50
_COMMIT_WITHIN_S = 30.0


@dataclass
class StageTimes:
    """Seconds of every execution of each stage, in the order of the stages."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    _since: float = field(default_factory=time.perf_counter)

    def begin(self) -> None:
        """Start the clock of the next stage."""
        self._since = time.perf_counter()

    def end(self, stage: str) -> None:
        """Add the time since the last call to a stage, and start the clock of the next."""
        now = time.perf_counter()
        self.add(stage, now - self._since)
        self._since = now

    def add(self, stage: str, seconds: float) -> None:
        """Add one execution of a stage."""
        self.seconds.setdefault(stage, []).append(seconds)


def time_stages(
    uri: str, engine: Engine, thresholds: Thresholds, geometry: Geometry, at_most: int
) -> StageTimes:
    """Take up to `at_most` frames of a video or folder through every stage.

    decode, hand-over (to the thread that inspects), gate, preprocess, inference (on a GPU in four:
    launch, upload, inference, download), judge, outlets (what the line waits for them: history,
    inspections and evidence), store (from the verdict to the event on the disk).
    """
    times = StageTimes()
    judged: list[Inspection] = []
    stage = _Judging(engine, thresholds, geometry, times)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        with closing(Outlets(_outlets(Path(folder), store))) as outlets:
            for part, frame in enumerate(islice(_decode(uri, times), at_most), start=1):
                _hand_over(frame, times)
                inspection, evidence = stage.judge(frame, part)
                outlets.inspected(inspection, evidence)
                times.end("outlets")
                judged.append(inspection)
            _commit_each(store, judged[:COMMITS], times)
    return times


def gpu_bound(seconds: Mapping[str, Sequence[float]]) -> str:
    """Return what bounds an engine on a GPU, by the rules of NVIDIA's trtexec, on medians.

    `enqueue` when launching takes more than 0.8 of the network's time on the GPU, `transfer` when
    the copies take as long as the network, else `compute`.
    """
    launch, upload, network, download = (
        median(seconds[stage]) for stage in ("launch", "upload", "inference", "download")
    )
    if launch > 0.8 * network:
        return "enqueue"
    return "transfer" if upload + download >= network else "compute"


@dataclass
class _Judging:
    """The stages between the frame and its verdict."""

    engine: Engine
    thresholds: Thresholds
    geometry: Geometry
    times: StageTimes

    def __post_init__(self) -> None:
        self._scorer = Scorer(self.engine, self.geometry)
        self._gate = FrameGate(live=False)

    def judge(self, frame: Frame, part: int) -> tuple[Inspection, Evidence]:
        """Take one frame to its verdict; a frame that the gate refuses is judged all the same."""
        times, scorer = self.times, self._scorer
        times.begin()
        self._gate.fault(frame)
        times.end("gate")
        batch = scorer.preprocess(frame.image)
        times.end("preprocess")
        prediction = self.engine.infer(batch)
        self._end_inference()
        score, anomaly_map = scorer.read(prediction, (frame.image.shape[0], frame.image.shape[1]))
        rejected = score > self.thresholds.image
        regions = find_regions(anomaly_map, self.thresholds.pixel) if rejected else ()
        verdict = Verdict.REJECT if rejected else Verdict.PASS
        limit, source = self.thresholds.image, frame.source
        inspection = Inspection(verdict, score, limit, regions, frame.index, source, part=part)
        times.end("judge")
        return inspection, Evidence(frame.image, anomaly_map)

    def _end_inference(self) -> None:
        if not isinstance(self.engine, GpuTimedEngine):
            self.times.end("inference")
            return
        gpu = self.engine.gpu_times
        self.times.end("launch")
        wall = self.times.seconds["launch"].pop()
        self.times.add("launch", max(0.0, wall - sum(gpu) / 1e3))
        for name, ms in zip(("upload", "inference", "download"), gpu, strict=True):
            self.times.add(name, ms / 1e3)


def _outlets(folder: Path, store: Store) -> list[History | EvidenceFolder | JsonFile]:
    """Open what `run --output DIR --log-inspections all` writes."""
    return [
        History(store, dict),
        EvidenceFolder(folder / "evidence"),
        JsonFile(folder / "inspections.jsonl", kept=Kept.ALL),
    ]


def _decode(uri: str, times: StageTimes) -> Iterator[Frame]:
    """Yield the frames, read in this thread."""
    grabs = open_grabs(uri)
    times.begin()
    for grab in grabs:
        if isinstance(grab, Frame):
            times.end("decode")
            yield grab
        times.begin()


def _hand_over(frame: Frame, times: StageTimes) -> None:
    """Pass a frame from another thread to this one, as a camera's thread does."""
    queue = FrameQueue("bench", DropPolicy.EVERY, 1)
    began: list[float] = []

    def put() -> None:
        began.append(time.perf_counter())
        queue.put(frame)

    thread = threading.Thread(target=put)
    thread.start()
    queue.get(None)
    times.add("hand-over", time.perf_counter() - began[0])
    thread.join()


def _commit_each(store: Store, inspections: list[Inspection], times: StageTimes) -> None:
    """Record each inspection as a rejected part, and wait until it is on the disk."""
    inserted, committed = threading.Event(), threading.Event()

    def record(connection: sqlite3.Connection, event: StoreEvent) -> None:
        insert(connection, event)
        inserted.set()

    # a commit of what was recorded before may still come: only one with this event counts
    store.committed.append(lambda: committed.set() if inserted.is_set() else None)
    for inspection in inspections:
        inserted.clear()
        committed.clear()
        times.begin()
        store.put(partial(record, event=reject_event(inspection)))
        if not committed.wait(_COMMIT_WITHIN_S):
            break
        times.end("store")
