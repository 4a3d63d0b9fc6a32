"""Terminal output and preview window of `edge-ad run`."""

from __future__ import annotations

import os
import sys
from collections import deque

import click
import cv2

from edge_ad.errors import IncompatibleError, UsageError
from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.files import printable
from edge_ad.frame import Image
from edge_ad.inspection import Inspection, Verdict
from edge_ad.machine.camera import read_opencv
from edge_ad.machine.opencv import WINDOWS_FIX
from edge_ad.outlet.base import Evidence, Outlet
from edge_ad.outlet.drawing import draw_regions, draw_text
from edge_ad.setting import SettingChange, change_text
from edge_ad.wording import counted

_COLOUR = {Verdict.PASS: "green", Verdict.REJECT: "red", Verdict.INVALID: "yellow"}
_TITLE = "edge-ad"


class Console(Outlet):
    """Prints inspections and alarms to stdout; with `quiet` only alarms and rejected parts.

    With `named`, lines begin with the camera's name.
    """

    def __init__(self, *, quiet: bool, named: bool = False) -> None:
        self._quiet, self._named = quiet, named

    @property
    def name(self) -> str:
        return "stdout"

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        if not self._quiet:
            click.echo(self._camera(inspection) + _format_inspection(inspection))

    def rejected(self, inspection: Inspection, evidence: Evidence) -> None:
        if self._quiet:
            click.echo(self._camera(inspection) + _format_inspection(inspection))

    def alarmed(self, event: AlarmEvent, evidence: Evidence) -> None:
        click.echo(self._camera(event) + _format_alarm(event))

    def setting_changed(self, change: SettingChange) -> None:
        click.echo(f"{change.camera}  SETTING {change_text(change)}")

    def _camera(self, record: Inspection | AlarmEvent) -> str:
        return f"{record.camera}  " if self._named else ""


class Window(Outlet):
    """Shows the newest frame. It is drawn by `closed_by_user`, since OpenCV needs one thread."""

    def __init__(self) -> None:
        if sys.platform == "linux" and not (
            os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        ):
            raise UsageError("--show needs a display, but there is none. Run without --show.")
        if not read_opencv().gui:
            raise IncompatibleError(
                "--show needs an OpenCV with windows, and this one is headless. Replace it with: "
                f"{WINDOWS_FIX}"
            )
        self._newest: deque[Image] = deque(maxlen=1)  # threads put in and take out in one step

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        if evidence.image is None:
            return
        image = draw_regions(evidence.image.copy(), inspection.regions)
        text = f"{inspection.verdict.value} {inspection.score:.4g} / {inspection.threshold:.4g}"
        draw_text(image, text, (10, 24), 0.7)
        self._newest.append(image)

    def close(self) -> None:
        cv2.destroyAllWindows()

    def closed_by_user(self) -> bool:
        """Draw the newest frame and return whether the user pressed q or Escape."""
        if self._newest:
            cv2.imshow(_TITLE, self._newest.pop())
        return cv2.waitKey(1) & 0xFF in (ord("q"), 27)


def _format_inspection(inspection: Inspection) -> str:
    verdict = click.style(f"{inspection.verdict.value:7}", fg=_COLOUR[inspection.verdict])
    place = printable(inspection.file or f"frame {inspection.frame:6d}")
    if inspection.verdict is Verdict.INVALID:
        return f"{place}  {verdict}  {printable(inspection.reason)}"
    count = len(inspection.regions)
    regions = f"  {counted(count, 'region')}" if count else ""
    return f"{place}  {verdict}  {inspection.score:.4g} / {inspection.threshold:.4g}{regions}"


def _format_alarm(event: AlarmEvent) -> str:
    head = click.style(f"ALARM {event.event.value:6}", fg="red", bold=event.event is AlarmStep.NEW)
    if event.kind is AlarmKind.CAMERA_FAULT:
        return f"{head} {event.id}  camera fault: {printable(event.reason)}"
    if event.kind is AlarmKind.REJECT_RATE:
        return f"{head} {event.id}  reject rate: {event.reason}"
    location = ""
    if event.regions:
        region = event.regions[0]
        location = f"  {region.width}x{region.height} px at x={region.x} y={region.y}"
    score = f"score {event.peak_score:.4g} > {event.threshold:.4g}"
    return f"{head} {event.id}  frame {event.frame}  {score}{location}"
