"""Health and settings: the line, its cameras and outlets, disk, GPU and versions."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

from edge_ad.clock import local_text, now_utc
from edge_ad.errors import UsageError
from edge_ad.machine.gpu import read_gpu_load
from edge_ad.machine.host import read_host
from edge_ad.page.certificates import certificate_ends
from edge_ad.page.line import ask_line, line_state
from edge_ad.page.numbers import grouped, localised, percent
from edge_ad.page.texts import Texts
from edge_ad.page.view import Answer, Html, Json, PageRequest
from edge_ad.store.cameras import known_cameras
from edge_ad.store.drift import read_drift
from edge_ad.store.outbox import drop, read_outbox, retry
from edge_ad.store.schema import DATABASE

_FOLDERS = ("evidence", "samples", "drift")
_PACKAGES = (
    *("edge-ad", "numpy", "opencv-python", "opencv-python-headless", "onnxruntime"),
    *("onnxruntime-gpu", "openvino", "tensorrt", "aiohttp"),
)
_LOW_SHARE = 0.05  # of a disk that is free: a warning
_RULE = ("k", "n", "hysteresis")


def health(request: PageRequest) -> Answer:
    """Show how the line, its surroundings and this computer are."""
    state, away = line_state(request)
    texts = request.texts
    return Html(
        "health.html",
        {
            "state": state,
            "away": away,
            "problems": [*_problems(texts, state), *_drifts(texts, request.folder)],
            "cameras": state["cameras"] if state else [],
            "known": known_cameras(request.folder),
            "outlets": read_outbox(request.folder),
            "disk": _disk(texts, request.folder),
            "gpu": [(f"gpu_{name}", localised(texts, value, 3)) for name, _, value in _gpu()],
            "certificates": certificate_ends(
                request.folder, request.certificate, state.get("certificates", ()) if state else ()
            ),
            "versions": _versions(),
            "running": _duration(texts, state["running_s"]) if state else "",
            "number": partial(localised, texts),
            "grouped": partial(grouped, texts),
            "folder": str(request.folder.resolve()),
            "now": now_utc(),
        },
    )


def pause_camera(request: PageRequest) -> Answer:
    """Pause a camera or resume it: `do` is pause or resume."""
    do = request.field("do")
    if do not in ("pause", "resume"):
        raise UsageError(f"do: expected pause or resume, got '{do[:40]}'.")
    camera, reason = request.field("camera"), request.field("reason", "")[:500]
    return Json(ask_line(request, do, camera=camera, reason=reason))


def set_rule(request: PageRequest) -> Answer:
    """Change the alarm rule of a camera, or return to the one before (`do` undo)."""
    camera, reason = request.field("camera"), request.field("reason", "")[:500]
    if not reason:
        raise UsageError(request.texts("threshold_needs_reason"))
    if request.field("do", "set") == "undo":
        return Json(ask_line(request, "undo", setting="rule", camera=camera, reason=reason))
    values: dict[str, float] = {name: request.number(name) for name in _RULE}
    for name in ("k", "n"):
        if values[name] != int(values[name]):
            raise UsageError(f"{name}: expected a whole number, got {values[name]:g}.")
        values[name] = int(values[name])
    return Json(ask_line(request, "set_rule", camera=camera, reason=reason, **values))


def change_outbox(request: PageRequest) -> Answer:
    """Let an outlet's dead letters wait again, or forget them: `do` is retry or drop."""
    outlet, do, who = request.field("outlet"), request.field("do"), request.person.name
    if do not in ("retry", "drop"):
        raise UsageError(f"do: expected retry or drop, got '{do[:40]}'.")
    change = retry if do == "retry" else drop
    return Json({"done": do, "events": change(request.folder, [outlet], who)})


def _problems(texts: Texts, state: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield what is wrong with the line itself."""
    if state is None:
        return
    if state["store"]["problem"]:
        yield texts("health_store", problem=state["store"]["problem"])
    if state["store"]["lost"]:
        yield texts("health_lost", count=grouped(texts, state["store"]["lost"]))
    for reason, count in state["outlet_faults"].items():
        yield texts("health_outlet", reason=reason, count=grouped(texts, count))


def _drifts(texts: Texts, folder: Path) -> Iterator[str]:
    """Yield what has changed about a camera's images and is not as before yet."""
    for (camera, quantity), state in read_drift(folder).items():
        if since := state.get("test", {}).get("since"):
            yield texts(
                "health_drift",
                quantity=texts.word("quantity", quantity),
                camera=camera,
                since=local_text(since, zone=False),
                before=localised(texts, state["centre"], 3),
                now=localised(texts, state["now"], 3),
            )


def _disk(texts: Texts, folder: Path) -> dict[str, Any]:
    """Return the disk of a folder, and what the line's files take."""
    usage = shutil.disk_usage(folder)
    database = [folder / DATABASE, folder / f"{DATABASE}-wal"]
    rows: list[tuple[str, int, int | None]]
    rows = [("disk_events", sum(_bytes(file) for file in database), None)]
    for name in _FOLDERS:
        count, size = _folder_size(folder / name)
        if count:
            rows.append((f"disk_{name}", size, count))
    return {
        "free": _size(texts, usage.free),
        "total": _size(texts, usage.total),
        "share": percent(texts, usage.free / usage.total),
        "low": usage.free < _LOW_SHARE * usage.total,
        "rows": [
            (texts(name), _size(texts, size), "" if count is None else grouped(texts, count))
            for name, size, count in rows
        ],
    }


def _folder_size(folder: Path) -> tuple[int, int]:
    """Return the number of files directly in a folder, and their bytes."""
    count = size = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    count, size = count + 1, size + _bytes(Path(entry.path))
    except OSError:
        pass
    return count, size


def _bytes(file: Path) -> int:
    try:
        return file.lstat().st_size
    except OSError:
        return 0


def _size(texts: Texts, size: float) -> str:
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{localised(texts, size, 3)}\u202f{units[0]}"


def _duration(texts: Texts, seconds: float) -> str:
    days, rest = divmod(int(seconds), 86_400)
    clock = f"{rest // 3600}:{rest % 3600 // 60:02d} h"
    return texts("health_days", days=days, clock=clock) if days else clock


def _gpu() -> list[tuple[str, str, float]]:
    monitors = ("nvidia-smi", "tegrastats")
    return read_gpu_load() if any(map(shutil.which, monitors)) else []


@cache
def _versions() -> list[tuple[str, str]]:
    """Return names and versions of what judges; they do not change while the page runs."""
    host = read_host()
    return [
        *_installed(),
        ("Python", host.python),
        ("system", host.system),
        ("processor", f"{host.processor}, {host.cores} cores, {host.memory_mib} MiB"),
    ]


def _installed() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            yield name, metadata.version(name)
