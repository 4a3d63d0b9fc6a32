"""`pattern://`: the synthetic line as a camera, with faults on request.

seed=1             which plates, belt and light
fps=30             pace in frames per second; 0 delivers every frame as fast as it is taken
frames=500         how many, 0 for endless
width=320, height=240
defects=0.25       share of plates that are damaged
kinds=scratch,dent which of scratch, dent, stain, missing_print
faults=black@10,freeze@20-30
    black, white   an exposure that went wrong
    freeze         the frame before, again and again
    torn           the lower part never arrived
    bad            the grab itself fails
    drop           the frame is lost on the way; the next one arrives in time
    stall          nothing arrives until it is over
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
from edge_ad.source.uri import Uri, check_options, number, whole
from edge_ad.synthetic_line import KINDS, SyntheticLine, SyntheticLineSpec

OPTIONS = ("seed", "fps", "frames", "width", "height", "defects", "kinds", "faults")
_NO_IMAGE = ("bad", "drop", "stall", "lost")
FAULTS = ("black", "white", "freeze", "torn", *_NO_IMAGE)


@dataclass(frozen=True, slots=True)
class Pattern:
    """What `pattern://` was asked for. `faults` maps frame numbers to one fault each."""

    line: SyntheticLineSpec
    fps: float
    frames: int
    faults: dict[int, str]


def parse_pattern(uri: Uri) -> Pattern:
    """Read the options; raises UsageError for one that cannot be meant."""
    check_options(uri, OPTIONS)
    defects = number(uri, "defects", 0.25)
    if defects > 1:
        raise UsageError(f"pattern://: option defects is a share from 0 to 1, got {defects:g}.")
    size_wh = (whole(uri, "width", 320, least=64), whole(uri, "height", 240, least=48))
    if max(size_wh) > 4096:
        raise UsageError(f"pattern://: width and height go to 4096, got {size_wh[0]}x{size_wh[1]}.")
    spec = SyntheticLineSpec(whole(uri, "seed", 0), size_wh, defects, _kinds(uri))
    faults = parse_faults(uri.options.get("faults", ""))
    return Pattern(spec, number(uri, "fps", 30.0), whole(uri, "frames", 0), faults)


def parse_faults(text: str) -> dict[int, str]:
    """`black@10,freeze@20-30` -> which frame has which fault; both ends of a range are in it."""
    faults: dict[int, str] = {}
    for item in filter(None, text.split(",")):
        match = re.fullmatch(r"([a-z]+)@(\d{1,9})(?:-(\d{1,9}))?", item)
        if not match or match[1] not in FAULTS or int(match[3] or match[2]) < int(match[2]):
            raise UsageError(
                f"pattern://: fault '{item}' is not understood. Expected NAME@FRAME or "
                f"NAME@FIRST-LAST with NAME one of {', '.join(FAULTS)}."
            )
        first, last = int(match[2]), int(match[3] or match[2])
        if last - first > 100_000:
            raise UsageError(f"pattern://: fault '{item}' is longer than 100000 frames.")
        faults.update(dict.fromkeys(range(first, last + 1), match[1]))
    return faults


def open_pattern(pattern: Pattern, name: str) -> Iterator[Grab]:
    """The grabs of the source called `name`, paced when there is an fps."""
    grabs = _grabs(SyntheticLine(pattern.line), pattern, name)
    return _in_time(grabs, pattern) if pattern.fps else (grab for _, grab in grabs if grab)


def _kinds(uri: Uri) -> tuple[str, ...]:
    kinds = tuple(uri.options.get("kinds", ",".join(KINDS)).split(","))
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(
                f"pattern://: no kind of defect '{kind}'. It draws {', '.join(KINDS)}."
            )
    return kinds


def _grabs(line: SyntheticLine, pattern: Pattern, name: str) -> Iterator[tuple[int, Grab | None]]:
    """Frame numbers with their grabs; None where the script lets nothing arrive."""
    last = 0  # the newest frame that showed the line as it was
    for index in itertools.count():
        if pattern.frames and index >= pattern.frames:
            return
        fault = pattern.faults.get(index, "")
        if fault in _NO_IMAGE:
            yield index, _nothing(fault, index, name)
            continue
        last = index if fault != "freeze" else last
        image = line.frame_at(last).image
        spoilt = _SPOIL[fault](image) if fault in _SPOIL else image
        yield index, Frame(spoilt, index, time.monotonic(), name)


def _nothing(fault: str, index: int, name: str) -> Grab | None:
    """What arrives when no image does."""
    if fault == "lost":
        raise SourceLost(f"{name}: the script lost the camera at frame {index}.")
    if fault == "bad":
        return BadFrame("the grab failed, as scripted", index, time.monotonic(), name)
    return None


def _in_time(grabs: Iterator[tuple[int, Grab | None]], pattern: Pattern) -> Iterator[Grab]:
    """Deliver frame n at n / fps after the first; a late one at once, as a camera would."""
    start_s = time.monotonic()
    for index, grab in grabs:
        time.sleep(max(0.0, start_s + index / pattern.fps - time.monotonic()))
        if grab is not None:
            yield _stamped(grab)


def _stamped(grab: Grab) -> Grab:
    """The grab with the time it was delivered: drawing it took a while."""
    if isinstance(grab, BadFrame):
        return grab
    return Frame(grab.image, grab.index, time.monotonic(), grab.source)


def _filled(image: Image, level: int) -> Image:
    filled: Image = np.full(image.shape, level, np.uint8)
    return filled


def _torn(image: Image) -> Image:
    """The lower two fifths hold the grey that decoders put where nothing arrived."""
    torn: Image = np.array(image)
    torn[image.shape[0] * 3 // 5 :] = 128
    return torn


_SPOIL: dict[str, Callable[[Image], Image]] = {
    "black": partial(_filled, level=0),
    "white": partial(_filled, level=255),
    "torn": _torn,
}
