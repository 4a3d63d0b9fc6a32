"""Notice that the light, the sharpness or the scores of a camera have changed.

Every minute's medians are tested against the images that the threshold was set with, or without
those against the camera's first hour (`edge_ad.line.change` says how, and how often it errs).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from edge_ad.clock import as_local
from edge_ad.errors import EdgeAdError
from edge_ad.frame import Image
from edge_ad.frame_light import USUAL_CHANGE, light_of
from edge_ad.inspection import Inspection, Verdict
from edge_ad.line.change import FEWEST, ChangeStep, ChangeTest, Reference, reference_from
from edge_ad.line.drift_image import DriftImages
from edge_ad.manifest import ImageReference
from edge_ad.outlet.base import Evidence, Outlet
from edge_ad.quantiles import median
from edge_ad.store.drift import read_drift, write_drift
from edge_ad.store.event import EventType, StoreEvent
from edge_ad.store.store import Store

_log = logging.getLogger(__name__)

FIRST_HOUR = 60  # minutes with frames
FROM_THRESHOLD, FROM_FIRST_HOUR = "threshold", "first hour"
_SCORES_A_MINUTE = 2_000
_TOLERANCE = {"brightness": USUAL_CHANGE, "sharpness": 0.1, "score": 0.05}
QUANTITIES = tuple(_TOLERANCE)  # the tolerance is in grey levels, of the median, of the threshold


@dataclass(frozen=True)
class ExpectedImages:
    """What a camera's images are like: the reference of its threshold, if that has one.

    `key` names the engine and its threshold: with another one, the tests begin again.
    """

    key: str = ""
    reference: ImageReference | None = None


class DriftWatch(Outlet):
    """Tests every camera's minutes and records changes in a store, also over restarts."""

    def __init__(self, store: Store, expected: Mapping[str, ExpectedImages]) -> None:
        self._store = store
        self._expected = expected
        self._images = DriftImages(store.path.parent)
        self._kept = _read_kept(store.path.parent)
        self._cameras: dict[str, _CameraDrift] = {}

    @property
    def name(self) -> str:
        return "drift"

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        if inspection.verdict is Verdict.INVALID or evidence.image is None:
            return
        camera = self._cameras.get(inspection.camera)
        if camera is None:
            camera = self._cameras[inspection.camera] = self._begin(inspection, evidence.image)
        minute = inspection.time_utc[:16] + "Z"
        if camera.minute != minute:
            self._close_minute(inspection.camera, camera, evidence.image)
            camera.minute = minute
        camera.count(inspection, evidence.image)

    def close(self) -> None:
        """Do nothing: the minute under way is not a whole one."""

    def _begin(self, inspection: Inspection, image: Image) -> _CameraDrift:
        name = inspection.camera
        expected = self._expected.get(name, ExpectedImages())
        tests = {}
        for quantity in QUANTITIES:
            test = _QuantityTest(quantity, expected.key, abs(inspection.threshold))
            reference = _comparable(expected.reference, quantity, image)
            if reference is not None:
                test.begin(getattr(reference, quantity), reference.count)
            test.restore(self._kept.get((name, quantity), {}))
            tests[quantity] = test
        same = self._kept.get((name, "score"), {}).get("key") == expected.key
        keep = partial(self._images.keep_first, camera=name, image=image.copy(), replace=not same)
        self._store.put(keep, 0)
        return _CameraDrift(tests, inspection.time_utc[:16] + "Z")

    def _close_minute(self, name: str, camera: _CameraDrift, image: Image) -> None:
        """Test the minute that is over, and keep the tests' states."""
        for quantity, value in camera.medians().items():
            test = camera.tests[quantity]
            step = test.update(value, camera.minute)
            row = (name, quantity, camera.minute, test.state())
            self._store.put(partial(write_drift, row=row), 0)
            if step is not None:
                self._report(name, test, step, image)
        camera.clear()

    def _report(self, camera: str, test: _QuantityTest, step: ChangeStep, image: Image) -> None:
        reason = test.message(camera, step)
        _log.warning("%s", reason)
        event = StoreEvent(
            EventType.DRIFT, step=step.value, kind=test.name, camera=camera, reason=reason
        )
        if step is ChangeStep.NEW:
            self._store.put(partial(self._images.record, event=event, image=image.copy()))
        else:
            self._store.record(event)


@dataclass
class _CameraDrift:
    """One camera's tests, and its minute under way."""

    tests: dict[str, _QuantityTest]
    minute: str
    values: dict[str, list[float]] = field(default_factory=dict)
    measured_at: str = ""  # the second of the frame whose light was measured last

    def count(self, inspection: Inspection, image: Image) -> None:
        self._add("score", inspection.score)
        if inspection.time_utc[:19] != self.measured_at:  # light of one frame a second
            self.measured_at = inspection.time_utc[:19]
            for quantity, value in light_of(image)._asdict().items():
                self._add(quantity, value)

    def medians(self) -> dict[str, float]:
        return {quantity: median(values) for quantity, values in self.values.items()}

    def clear(self) -> None:
        self.values.clear()

    def _add(self, quantity: str, value: float) -> None:
        values = self.values.setdefault(quantity, [])
        if len(values) < _SCORES_A_MINUTE and math.isfinite(value):
            values.append(value)


class _QuantityTest:
    """The test of one quantity, or the collection of its reference in the first hour."""

    def __init__(self, name: str, key: str, threshold: float) -> None:
        self.name = name
        self._key, self._threshold = key, threshold
        self._origin = FROM_FIRST_HOUR
        self._first: list[float] = []
        self._test: ChangeTest | None = None

    def begin(self, quantiles: tuple[float, ...], count: int) -> None:
        """Test against the threshold's images."""
        self._origin = FROM_THRESHOLD
        self._test = ChangeTest(Reference(quantiles, count, self._tolerance(median(quantiles))))

    def update(self, value: float, minute: str) -> ChangeStep | None:
        """Take a minute's median."""
        if self._test is not None:
            return self._test.update(value, minute)
        self._first.append(value)
        if len(self._first) == FIRST_HOUR:
            tolerance = self._tolerance(median(self._first))
            self._test = ChangeTest(reference_from(self._first, tolerance))
        return None

    def state(self) -> dict[str, Any]:
        """Return everything that a restart needs, and `edge-ad drift` shows."""
        state: dict[str, Any] = {"key": self._key, "origin": self._origin, "first": self._first}
        if self._first:
            state["now"] = median(self._first)
        if self._test is not None:
            state |= {
                "reference": asdict(self._test.reference),
                "centre": self._test.reference.centre,
                "now": self._test.now,
                "test": self._test.state(),
            }
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with a state of the same engine and reference; leave any other."""
        if (state.get("key"), state.get("origin")) != (self._key, self._origin):
            return
        self._first = list(state["first"])
        if "test" not in state:
            return
        kept = state["reference"]
        reference = Reference(tuple(kept["quantiles"]), kept["count"], kept["tolerance"])
        if self._test is None:
            self._test = ChangeTest(reference)
        if self._test.reference == reference:
            self._test.restore(state["test"])

    def message(self, camera: str, step: ChangeStep) -> str:
        """Return what has changed, for people."""
        assert self._test is not None
        shown = ".0f" if self.name == "brightness" else ".4g"
        before, now = format(self._test.reference.centre, shown), format(self._test.now, shown)
        if step is ChangeStep.END:
            return f"{self.name} of camera {camera} is as before: {before}"
        since = local_minute(self._test.since)
        return f"{self.name} of camera {camera} has changed since {since}: {before} -> {now}"

    def _tolerance(self, centre: float) -> float:
        share = _TOLERANCE[self.name]
        if self.name == "brightness":
            return share
        return share * (self._threshold if self.name == "score" else centre)


def _comparable(
    reference: ImageReference | None, quantity: str, image: Image
) -> ImageReference | None:
    """Return the reference, if it has enough images and says something about this quantity."""
    if reference is None or reference.count < FEWEST:
        return None
    if quantity == "sharpness" and reference.size_hw != image.shape[:2]:
        return None
    return reference


def local_minute(minute: str) -> str:
    """Return a minute in UTC as local time, with its date unless it is today."""
    moment = as_local(minute)
    today = moment.date() == datetime.now(moment.tzinfo).date()
    return moment.strftime("%H:%M" if today else "%Y-%m-%d %H:%M")


def _read_kept(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the states of the line before; none where they cannot be read."""
    try:
        return read_drift(folder)
    except EdgeAdError as error:
        _log.debug("tests for drift begin again: %s", error)
        return {}
