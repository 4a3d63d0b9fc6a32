"""The synthetic line as a camera (`pattern://`), with faults on request.

Faults, as in `faults=black@10,freeze@20-30`:

black, white   wrong exposure
freeze         the previous frame, repeated
torn           the lower part of the frame is missing
bad            the grab fails
drop           the frame is lost; the next one arrives in time
stall          no frame arrives in this range
lost           the camera dies: SourceLost
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from edge_ad.errors import SourceLost, UsageError
from edge_ad.frame import BadFrame, Frame, Grab, Image
from edge_ad.source.base import SourceRequest
from edge_ad.synthetic_line import KINDS, SyntheticLine, SyntheticLineSpec
from edge_ad.uri import Uri, number, whole_number

_NO_IMAGE = ("bad", "drop", "stall", "lost")
FAULTS = ("black", "white", "freeze", "torn", *_NO_IMAGE)


@dataclass(frozen=True, slots=True)
class PatternSpec:
    """The options of `pattern://`. `faults` maps frame numbers to one fault each."""

    line: SyntheticLineSpec
    fps: float
    frames: int
    faults: dict[int, str]


def parse_pattern(uri: Uri) -> PatternSpec:
    """Read the options. Raises UsageError for a value out of range."""
    defects = number(uri, "defects", 0.25)
    if defects > 1:
        raise UsageError(
            f"pattern://: option defects must be a share from 0 to 1, got {defects:g}."
        )
    width = whole_number(uri, "width", 320, least=64)
    height = whole_number(uri, "height", 240, least=48)
    if max(width, height) > 4096:
        raise UsageError(f"pattern://: width and height must be up to 4096, got {width}x{height}.")
    spec = SyntheticLineSpec(whole_number(uri, "seed", 0), (width, height), defects, _kinds(uri))
    faults = parse_faults(uri.options.get("faults", ""))
    return PatternSpec(spec, number(uri, "fps", 30.0), whole_number(uri, "frames", 0), faults)


def parse_faults(text: str) -> dict[int, str]:
    """Parse `black@10,freeze@20-30` to faults by frame; a range includes both ends."""
    faults: dict[int, str] = {}
    for item in filter(None, text.split(",")):
        match = re.fullmatch(r"([a-z]+)@(\d{1,9})(?:-(\d{1,9}))?", item)
        if not match or match[1] not in FAULTS or int(match[3] or match[2]) < int(match[2]):
            raise UsageError(
                f"pattern://: fault '{item}' is malformed. Expected NAME@FRAME or "
                f"NAME@FIRST-LAST with NAME one of {', '.join(FAULTS)}."
            )
        first, last = int(match[2]), int(match[3] or match[2])
        if last - first > 100_000:
            raise UsageError(f"pattern://: fault '{item}' is longer than 100000 frames.")
        faults.update(dict.fromkeys(range(first, last + 1), match[1]))
    return faults


def is_live(uri: Uri) -> bool:
    """Return whether frames come by the clock, which `fps=0` turns off."""
    return parse_pattern(uri).fps > 0


def open_pattern(request: SourceRequest) -> Iterator[Grab]:
    """Return the frames of the synthetic line, paced unless fps is 0."""
    pattern = parse_pattern(request.uri)
    grabs = _grabs(SyntheticLine(pattern.line), pattern, request.name)
    return _paced(grabs, pattern) if pattern.fps else (grab for _, grab in grabs if grab)


def _kinds(uri: Uri) -> tuple[str, ...]:
    kinds = tuple(uri.options.get("kinds", ",".join(KINDS)).split(","))
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(
                f"pattern://: unknown kind of defect '{kind}'. Expected {', '.join(KINDS)}."
            )
    return kinds


def _grabs(
    line: SyntheticLine, pattern: PatternSpec, name: str
) -> Iterator[tuple[int, Grab | None]]:
    """Yield frame numbers with their grabs, None where a fault keeps the frame away."""
    last = 0  # the newest frame before a freeze
    for index in itertools.count():
        if pattern.frames and index >= pattern.frames:
            return
        fault = pattern.faults.get(index, "")
        if fault in _NO_IMAGE:
            yield index, _without_image(fault, index, name)
            continue
        last = index if fault != "freeze" else last
        image = line.frame_at(last).image
        faulty = _EFFECTS[fault](image) if fault in _EFFECTS else image
        yield index, Frame(faulty, index, time.monotonic(), name)


def _without_image(fault: str, index: int, name: str) -> Grab | None:
    """Return what arrives instead of an image: a BadFrame, nothing, or SourceLost."""
    if fault == "lost":
        raise SourceLost(f"{name}: the camera is lost at frame {index}, as requested.")
    if fault == "bad":
        return BadFrame("the grab failed, as requested", index, time.monotonic(), name)
    return None


def _paced(grabs: Iterator[tuple[int, Grab | None]], pattern: PatternSpec) -> Iterator[Grab]:
    """Deliver frame n at n / fps seconds after the first, a late one at once like a camera."""
    start_s = time.monotonic()
    for index, grab in grabs:
        time.sleep(max(0.0, start_s + index / pattern.fps - time.monotonic()))
        if grab is not None:
            yield _stamped(grab)


def _stamped(grab: Grab) -> Grab:
    """Return the grab with the time of its delivery, since drawing takes a while."""
    if isinstance(grab, BadFrame):
        return grab
    return Frame(grab.image, grab.index, time.monotonic(), grab.source)


def _filled(image: Image, level: int) -> Image:
    filled: Image = np.full(image.shape, level, np.uint8)
    return filled


def _torn(image: Image) -> Image:
    """Fill the lower two fifths with the grey that decoders use for missing data."""
    torn: Image = np.array(image)
    torn[image.shape[0] * 3 // 5 :] = 128
    return torn


_EFFECTS: dict[str, Callable[[Image], Image]] = {
    "black": partial(_filled, level=0),
    "white": partial(_filled, level=255),
    "torn": _torn,
}
