"""Where a run's results go: terminal, window and output folder."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.options import emit
from edge_ad.cli.session import discard_stdout
from edge_ad.errors import EdgeAdError

if TYPE_CHECKING:
    from contextlib import ExitStack

    from edge_ad.cli.console import Window
    from edge_ad.cli.output import FolderClaim
    from edge_ad.cli.run_page import RunPage
    from edge_ad.control.line_control import LineControl
    from edge_ad.line.supervisor import Supervisor
    from edge_ad.outlet.evidence import EvidenceFolder
    from edge_ad.store.retention import Retention
    from edge_ad.store.store import Store


_CHECKED_WITHIN_US = 15 * 60 * 1_000_000  # a store after a power cut: systemd would kill it halfway


@dataclass
class Outputs:
    """Terminal, window and output folder of a run.

    `window` is set by `check`, `claimed` by `claim`, `line`, `store`, `evidence` and `control` by
    `open`.
    """

    as_json: bool
    quiet: bool
    show: bool
    folder: Path | None
    overwrite: bool
    named: bool
    log_inspections: str
    retention: Retention
    evidence_count: int
    evidence_bytes: int
    metrics: str | None = None
    page: RunPage | None = None
    samples_bytes: int = 0
    window: Window | None = None
    claimed: FolderClaim | None = None
    line: Supervisor | None = None
    store: Store | None = None
    evidence: EvidenceFolder | None = None
    control: LineControl | None = None

    def check(self) -> None:
        """Raise when `open` would fail; change nothing."""
        from edge_ad.cli.console import Window
        from edge_ad.cli.output import check_output_folder

        if self.folder is not None:
            check_output_folder(self.folder, overwrite=self.overwrite)
        if self.show:
            self.window = Window()

    def claim(self, stack: ExitStack) -> None:
        """Make and lock the output folder; `stack` gives it up when the line does not start."""
        from edge_ad.cli.output import FolderClaim

        if self.folder is not None:
            self.claimed = FolderClaim(self.folder)
            stack.callback(self.claimed.give_up)

    def open(self, line: Supervisor) -> None:
        """Fill the claimed output folder, make the outlets, and add them to the line."""
        import sys

        from edge_ad.cli.console import Console
        from edge_ad.line.supervisor import needs_store
        from edge_ad.outlet.jsonl import JsonLines

        if line.durable and self.folder is None:
            raise needs_store(line.durable[0].name)
        self.line = line
        console = (
            JsonLines(sys.stdout) if self.as_json else Console(quiet=self.quiet, named=self.named)
        )
        line.outlets.add(console)
        if self.metrics is not None:
            from edge_ad.line.metrics import MetricsServer

            line.outlets.add(MetricsServer(self.metrics, line))
        if self.folder is not None:
            self._open_folder(self.folder, line)
        if self.window is not None:
            line.outlets.add(self.window)

    def started(self) -> None:
        """Note that the line has started: it can be controlled."""
        if self.control is not None:
            self.control.start()
        if self.page is not None and self.folder is not None:
            self.page.start(self.folder)

    def stopping(self) -> None:
        """Note that the line is about to stop."""
        if self.page is not None:
            self.page.stop()
        if self.control is not None:
            self.control.close()

    def store_problem(self) -> str:
        """Return why nothing can be recorded until the line starts again, empty when it can."""
        if self.store is None or self.store.writes:
            return ""
        return f"{self.store.path}: the thread that writes it has ended"

    def finish(self, result: dict[str, Any]) -> None:
        """Print the summary and write it to the folder; a failure to do so is added to it."""
        from edge_ad.cli.run_format import format_summary
        from edge_ad.files import write_text

        self._add_outbox(result)
        if self.store is not None and self.store.lost:
            _add_fault(result, f"{self.store.path}: {self.store.cause}", self.store.lost)
        if self.evidence is not None:
            result["evidence"] = asdict(self.evidence.counts)
        try:
            emit(result) if self.as_json else click.echo(format_summary(result))
        except OSError as error:
            discard_stdout()
            _add_fault(result, f"stdout: {error.strerror or error}")
        if self.folder is None:
            return
        path = self.folder / "summary.json"
        try:
            write_text(path, json.dumps(result, indent=2) + "\n")
        except OSError as error:
            _add_fault(result, f"{path}: cannot be written ({error.strerror or error})")

    def _add_outbox(self, result: dict[str, Any]) -> None:
        """Add to the summary what was delivered to each durable outlet, and what waits."""
        from edge_ad.store.outbox import read_outbox

        if self.folder is None or self.line is None or self.line.deliveries is None:
            return
        delivered = self.line.deliveries.summary()
        states = {}
        if delivered:
            with contextlib.suppress(EdgeAdError):  # a store that failed, which is reported
                states = {state["outlet"]: state for state in read_outbox(self.folder)}
        for counts in delivered:
            state = states.get(counts["outlet"], {"waiting": 0})
            left = {"waiting": state["waiting"]}
            if state["waiting"] and state["error"]:
                left["error"] = state["error"]
            result.setdefault("outbox", []).append(counts | left)

    def _open_folder(self, folder: Path, line: Supervisor) -> None:
        from edge_ad.control.line_control import LineControl
        from edge_ad.engine.lasting import LastingEngine
        from edge_ad.machine.systemd import SystemdNotifier
        from edge_ad.outlet.evidence import EvidenceFolder
        from edge_ad.outlet.jsonl import JsonFile, Kept
        from edge_ad.outlet.samples import SampleFolder
        from edge_ad.store.store import Store

        assert self.claimed is not None
        SystemdNotifier().send(EXTEND_TIMEOUT_USEC=_CHECKED_WITHIN_US)
        lock = self.claimed.take(overwrite=self.overwrite)
        self.store = Store(folder, self.retention, lock=lock)
        for engine in line.engines:
            if isinstance(engine, LastingEngine):
                engine.reopened = self._record_reopened
        self.evidence = EvidenceFolder(
            folder / "evidence",
            max_count=self.evidence_count,
            max_bytes=self.evidence_bytes,
            record=self.store.record,
        )
        line.outlets.add(self.evidence)  # before the history, which closes the store
        if self.samples_bytes:
            line.outlets.add(SampleFolder(self.store, self.samples_bytes))
        line.use_store(self.store)
        self.control = LineControl(line, self.store)
        if self.log_inspections != "none":
            kept = Kept(self.log_inspections)
            line.outlets.add(JsonFile(folder / "inspections.jsonl", kept=kept))

    def _record_reopened(self, reason: str) -> None:
        from edge_ad.store.event import EventType, StoreEvent

        assert self.store is not None
        self.store.record(StoreEvent(EventType.ENGINE, step="reopened", reason=reason))


def _add_fault(result: dict[str, Any], reason: str, count: int = 1) -> None:
    faults = result.setdefault("outlet_faults", {})
    faults[reason] = faults.get(reason, 0) + count
