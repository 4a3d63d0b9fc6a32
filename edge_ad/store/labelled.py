"""Make a labelled data set in MVTec AD's layout of the parts that somebody has marked.

False alarms are normal images, real ones `test/defect`. There are no masks: the regions of an event
are the detector's opinion, not the truth. Only images as the camera took them are of use, so that
evidence images, which are drawn upon, are not among them.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from edge_ad.images import SUFFIXES
from edge_ad.store.reading import EventFilter, Record, read_events
from edge_ad.store.samples import read_samples

NormalFolder = Literal["test", "train"]
_CHUNK = 256 << 10
_LEADING = 10  # frames and events before an alarm that may have led to it
REASONS = {  # why an event is left out
    "contradiction": "marked as a false alarm and as real",
    "unmarked": "not marked as a false alarm or real",
    "no_image": "no image of it as the camera took it was kept. Start the line with "
    "--keep-samples-mib, or inspect a folder that is named by its whole path",
}
_README = """\
Images of inspected parts that people marked, in the layout of MVTec AD.

{normal}/good   {good} marked as false alarms: normal
test/defect    {defect} marked as real: anomalous
parts.csv      which images show one part: those of one alarm
events.jsonl   what is known of each, and which are missing why

There are no masks, so figures are those of whole images.

edge-ad evaluate ENGINE --data .
edge-ad threshold ENGINE --images train/good
edge-ad train --data . -o WEIGHTS.pt
"""


@dataclass(frozen=True)
class LabelledImage:
    """An image with its label and the event it is from; `name` is its path in the data set.

    Images with the same `part` show one, as the line saw it.
    """

    name: str
    file: Path
    event: Record
    part: str


@dataclass
class LabelledSelection:
    """What a data set will hold, and the events `left_out`, each with a key of `REASONS`."""

    normal_in: NormalFolder
    images: list[LabelledImage] = field(default_factory=list)
    left_out: list[tuple[Record, str]] = field(default_factory=list)

    @property
    def good(self) -> int:
        """Count the normal images."""
        return sum(image.name.split("/")[1] == "good" for image in self.images)

    @property
    def defect(self) -> int:
        """Count the anomalous images."""
        return len(self.images) - self.good


def select_labelled(
    folder: Path, events: Iterable[Record], normal_in: NormalFolder = "test"
) -> LabelledSelection:
    """Find the images of marked events. Raises like `open_reading`.

    A part is there once, though its alarm may be marked as well; one that is marked both ways is
    left out.
    """
    selection = LabelledSelection(normal_in)
    samples = {sample["part"]: sample["file"] for sample in read_samples(folder)}
    part_of = _PartsByAlarm(folder)
    parts: dict[object, list[Record]] = {}
    for event in events:
        if event["type"] in ("reject", "alarm"):
            part = shown_part(event)
            parts.setdefault(event["seq"] if part is None else ("part", part), []).append(event)
    for same in parts.values():
        event, marks = same[0], {one["marked"] for one in same if one.get("marked")}
        file = _image_file(folder, event, samples)
        if len(marks) > 1:
            selection.left_out.append((event, "contradiction"))
        elif not marks:
            selection.left_out.append((event, "unmarked"))
        elif file is None:
            selection.left_out.append((event, "no_image"))
        else:
            place = f"{normal_in}/good" if marks == {"false-alarm"} else "test/defect"
            name = f"{place}/{_plain_name(event)}{file.suffix.lower()}"
            event |= {"marked": marks.pop()}
            selection.images.append(LabelledImage(name, file, event, part_of(event)))
    return selection


def write_zip(selection: LabelledSelection) -> Iterator[bytes]:
    """Yield a zip archive piece by piece, so that it is never whole in memory."""
    sink = _Sink()
    lines, counts, parts = [], {"good": 0, "defect": 0}, list[tuple[str, str]]()
    with zipfile.ZipFile(sink, "w") as archive:
        for image in selection.images:
            try:
                file = image.file.open("rb")
            except OSError as error:  # deleted to make room, meanwhile
                reason = f"its image cannot be read ({error.strerror})"
                lines.append(_about(image.event) | {"left_out": reason})
                continue
            with file, archive.open(_entry(image.name, image.event), "w") as entry:
                while data := file.read(_CHUNK):
                    entry.write(data)
                    yield sink.take()
            counts[image.name.split("/")[1]] += 1
            parts.append((image.name, image.part))
            lines.append({"file": image.name} | _about(image.event))
        lines += [_about(event) | {"left_out": REASONS[key]} for event, key in selection.left_out]
        archive.writestr("parts.csv", _table(parts))
        here = "train/good/"
        if normal := [(name[len(here) :], part) for name, part in parts if name.startswith(here)]:
            archive.writestr(f"{here}parts.csv", _table(normal))
        archive.writestr("events.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        archive.writestr("README.txt", _README.format(normal=selection.normal_in, **counts))
    yield sink.take()


class _PartsByAlarm:
    """Names the part that an event shows: that of its alarm, where a line judges a stream."""

    def __init__(self, folder: Path) -> None:
        self._alarms: dict[str, list[Record]] = {}
        for step in read_events(folder, EventFilter(types=("defect",))):
            self._alarms.setdefault(step["alarm"], []).append(step)

    def __call__(self, event: Record) -> str:
        """Return a name that events of the same part share."""
        if event["type"] == "alarm":
            return str(event["alarm"])
        owner = next((name for name, steps in self._alarms.items() if _within(event, steps)), None)
        return owner or f"part-{shown_part(event) or event['seq']}"


def _within(event: Record, steps: Sequence[Record]) -> bool:
    """Return whether a reject belongs to an alarm, which its first frames have led to."""
    first, last = steps[0], steps[-1]
    if event["camera"] != first["camera"] or "frame" not in event or "frame" not in first:
        return False
    ended = last["step"] == "end" and (event["seq"], event["frame"]) > (last["seq"], last["frame"])
    leads = first["seq"] - _LEADING <= event["seq"]
    return leads and first["frame"] - _LEADING <= event["frame"] and not ended


def _table(parts: Sequence[tuple[str, str]]) -> str:
    """Return the table that says which images show one part (`edge_ad.parts.listed`)."""
    return "".join(f"{name},{part}\n" for name, part in [("image", "part"), *parts])


def shown_part(event: Record) -> int | None:
    """Return the part that an event's evidence shows: of an alarm, its worst."""
    shown = re.search(r"part-(\d+)\.jpg$", str(event.get("evidence", "")))
    return int(shown[1]) if shown else event.get("part")


def _image_file(folder: Path, event: Record, samples: dict[int, str]) -> Path | None:
    """Return an event's image as the camera took it, if there is one."""
    part = shown_part(event)
    if part in samples:
        return inside(folder, samples[part])
    source, name = str(event.get("source", "")), str(event.get("file", ""))
    if part != event.get("part") or not name or not Path(source).is_absolute():
        return None
    place = Path(source)
    file = inside(place if place.is_dir() else place.parent, name)
    if file is None or file.suffix.lower() not in SUFFIXES:
        return None
    judged = datetime.fromisoformat(event["time_utc"]).timestamp()
    return file if file.stat().st_mtime <= judged else None  # else it is another image by now


def inside(folder: Path, name: str) -> Path | None:
    """Return a file below a folder, None for one that is not there or lies elsewhere."""
    try:
        path = (folder / name).resolve()
        return path if path.is_relative_to(folder.resolve()) and path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # names that are none, loops of links
        return None


def _plain_name(event: Record) -> str:
    """Return a file name that every system takes and no layout mistakes for a mask's."""
    camera = re.sub(r"[^A-Za-z0-9]+", "_", str(event["camera"] or "")).strip("_")[:60]
    return f"{camera or 'camera'}-part-{shown_part(event) or event['seq']:08d}"


def _entry(name: str, event: Record) -> zipfile.ZipInfo:
    moment = datetime.fromisoformat(event["time_utc"]).timetuple()[:6]
    entry = zipfile.ZipInfo(name, max(moment, (1980, 1, 1, 0, 0, 0)))
    entry.external_attr = 0o644 << 16
    return entry


def _about(event: Record) -> Record:
    names = ("id", "type", "camera", "part", "time_utc", "score", "threshold", "marked", "alarm")
    return {name: event[name] for name in names if name in event}


class _Sink(io.RawIOBase):
    """Collects what an archive writes until it is taken; it cannot be sought in."""

    def __init__(self) -> None:
        self._data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self._data += piece
        return len(piece)

    def take(self) -> bytes:
        """Return what was written since the last call."""
        data, self._data = bytes(self._data), bytearray()
        return data
