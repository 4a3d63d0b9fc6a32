"""Run the watch over a version to its decision, and carry that out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edge_ad.bundle.events import record_bundle_event
from edge_ad.bundle.install import roll_back
from edge_ad.bundle.manifest import MANIFEST, parse_manifest
from edge_ad.bundle.output import output_of
from edge_ad.bundle.state import BundleFolder, State, Watch
from edge_ad.bundle.watch import WatchDecision, decide, read_figures
from edge_ad.bundle.whole import check_way_back
from edge_ad.errors import DataError, EdgeAdError, GateFailed, UsageError

_POLL_S = 5.0


def watch_version(
    path: Path,
    stop: threading.Event,
    who: str,
    *,
    restart: Callable[[], None] | None = None,
    progress: Callable[[str], None] = lambda text: None,
    poll_s: float = _POLL_S,
) -> dict[str, Any]:
    """Watch the current version until it is accepted or taken back, or `stop` is set.

    Return the version, outcome and reason. Raises GateFailed when it was taken back, UsageError
    when nothing is installed, OutletLost when this user could not take it back.
    """
    folder, shown = BundleFolder(path), ""
    if folder.load() is not None:
        folder.check_writable()  # now, and not when the version is to be taken back
    while not stop.is_set():
        state = folder.load()
        if state is None or state.watch is None:
            raise UsageError(f"{path}: nothing is installed there, so there is nothing to watch.")
        name = state.title_of(state.watch.folder)
        if state.watch.outcome or state.watch.folder != state.current:
            return _result(name, state.watch.outcome, state.watch.reason)
        decision = _decide(folder, state, state.watch)
        if decision.outcome != "wait" and folder.is_busy:  # which may take minutes to build plans
            decision = WatchDecision("wait", "decided, and waiting for the end of another install")
        if decision.outcome == "roll back":
            _take_back(folder, state, decision.reason, who, restart)
        if decision.outcome == "accept":
            _accept(folder, state.watch, decision.reason)
            record_bundle_event(output_of(path), "accept", f"{name}: {decision.reason}", who)
            return _result(name, "accepted", decision.reason)
        if decision.reason != shown:
            progress(shown := decision.reason)
        stop.wait(poll_s)
    return _result("", "", "")


def _decide(folder: BundleFolder, state: State, watch: Watch) -> WatchDecision:
    data = (folder.version(state.current) / MANIFEST).read_bytes()
    limits = parse_manifest(data, state.current).watch
    before, since = read_figures(output_of(folder.path), watch)
    restarted = _age_s(watch.restarted_utc) if watch.restarted_utc else None
    return decide(before, since, limits, _age_s(watch.since_utc), restarted)


def _take_back(
    folder: BundleFolder, state: State, reason: str, who: str, restart: Callable[[], None] | None
) -> None:
    """Roll back, record it and start the line again. Raises GateFailed."""
    name, output = state.title, output_of(folder.path)
    if obstacle := _obstacle(folder, state):
        _accept(folder, state.watch, f"kept, since {obstacle}: {reason}")
        record_bundle_event(output, "accept", f"{name} is kept, but {reason}", who)
        raise GateFailed(f"{name}: {reason}. It is kept: {obstacle}.")
    # the event first: after a power cut it is there twice rather than never
    note = record_bundle_event(output, "rollback", f"{name} is taken back: {reason}", who)
    after = roll_back(folder.path, reason, who, only=state.current)
    past = after.find(state.current)
    if past is None or not past.removed_for:
        return  # another switch came first
    problem = f" But {note}." if note else ""
    if restart is not None:
        try:
            restart()
        except EdgeAdError as error:
            problem += f" But {error}"
    raise GateFailed(
        f"{name} was taken back: {reason}. {folder.path} is back at {after.title}.{problem}",
        {"version": name, "outcome": "rolled back", "reason": reason},
    )


def _obstacle(folder: BundleFolder, state: State) -> str:
    """Return why there is no way back, empty when there is one."""
    if not state.previous:
        return "there is no version before it"
    try:
        check_way_back(folder.version(state.previous))
    except DataError as error:
        return f"the version before it is damaged ({error})"
    return ""


def _accept(folder: BundleFolder, watch: Watch | None, reason: str) -> None:
    with folder.locked():
        state = folder.recover()
        if state is None or state.watch is None or watch is None:
            return
        if state.watch.folder == watch.folder and state.watch.since_utc == watch.since_utc:
            done = state.watch.model_copy(update={"outcome": "accepted", "reason": reason})
            folder.save(state.model_copy(update={"watch": done}))


def _result(version: str, outcome: str, reason: str) -> dict[str, Any]:
    return {"version": version, "outcome": outcome, "reason": reason}


def _age_s(moment_utc: str) -> float:
    return (datetime.now(timezone.utc) - datetime.fromisoformat(moment_utc)).total_seconds()
