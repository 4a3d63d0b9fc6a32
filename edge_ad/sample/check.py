"""Compares what a run raised with what was planted.

    edge-ad run --camera footage.mp4 --engine engine.onnx --json > run.jsonl
    python -m edge_ad.sample.check run.jsonl footage.mp4.yaml

A planted plate is found when a rejected frame points at its defect while an alarm stands. An alarm
that begins while no defect is in view is false.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

from edge_ad.errors import GateFailed

_NEAR = 12  # pixels around a defect's box that still point at it: maps are coarser than frames
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SampleCheck:
    """Per planted plate its kind and whether it was found; where alarms began without a reason.

    `rejected_frames` counts, per plate, the frames that point at it while an alarm stands.
    """

    planted: dict[int, str]
    found: frozenset[int]
    rejected_frames: dict[int, int]
    false_alarms: tuple[int, ...]

    @property
    def missed(self) -> list[int]:
        return sorted(set(self.planted) - self.found)

    def summary(self) -> Record:
        """Counts per kind, for people and for JSON."""
        of_kind = Counter(self.planted.values())
        hits = Counter(self.planted[part] for part in self.found)
        return {
            "by_kind": {kind: {"planted": of_kind[kind], "found": hits[kind]} for kind in of_kind},
            "missed": [{"part": part, "kind": self.planted[part]} for part in self.missed],
            "false_alarms": list(self.false_alarms),
            "rejected_frames": self.rejected_frames,
        }


def compare(records: Iterable[Record], truth: Record) -> SampleCheck:
    """Hold the lines of `run --json` against the truth that `footage` wrote."""
    visible: dict[int, list[Record]] = {int(k): v for k, v in truth["visible"].items()}
    lines = list(records)
    alarms = _alarms(lines)
    hits: Counter[int] = Counter()
    for line in lines:
        if line["type"] == "inspection" and line["verdict"] == "REJECT":
            if any(line["frame"] in frames for frames in alarms):
                hits.update(_pointed_at(line, visible.get(line["frame"], [])))
    planted = {entry["part"]: entry["kind"] for entry in truth["defects"]}
    return SampleCheck(
        planted=planted,
        found=frozenset(part for part in planted if hits[part]),
        rejected_frames={part: hits[part] for part in planted},
        false_alarms=tuple(alarm.start for alarm in alarms if not visible.get(alarm.start)),
    )


def _alarms(lines: Iterable[Record]) -> list[range]:
    """The frames of each alarm, from the one that raised it to the one before it ended."""
    began: dict[str, int] = {}
    alarms = []
    for line in lines:
        if line["type"] == "alarm" and line["event"] == "new":
            began[line["id"]] = line["frame"]
        elif line["type"] == "alarm" and line["event"] == "end":
            alarms.append(range(began.pop(line["id"]), line["frame"]))
    return alarms + [range(start, sys.maxsize) for start in began.values()]


def _pointed_at(inspection: Record, plants: list[Record]) -> set[int]:
    """The plates whose defect a region of this frame touches."""
    return {
        plant["part"]
        for plant in plants
        if any(_touch(region, plant["box"]) for region in inspection["regions"])
    }


def _touch(region: Record, box: list[int]) -> bool:
    x, y, width, height = box
    return bool(
        region["x"] < x + width + _NEAR
        and region["x"] + region["width"] > x - _NEAR
        and region["y"] < y + height + _NEAR
        and region["y"] + region["height"] > y - _NEAR
    )


def require_all_found(outcome: SampleCheck) -> None:
    """Raise GateFailed when a planted plate was missed or a good one raised an alarm."""
    if outcome.missed or outcome.false_alarms:
        raise GateFailed(
            f"{len(outcome.missed)} of {len(outcome.planted)} planted plates missed "
            f"({outcome.missed}), {len(outcome.false_alarms)} false alarms "
            f"(at frames {list(outcome.false_alarms)}). Expected none of either."
        )


def read_records(path: Path) -> list[Record]:
    """The lines of `run --json`."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def read_truth(path: Path) -> Record:
    """The YAML beside a film."""
    truth: Record = yaml.safe_load(path.read_text(encoding="utf-8"))
    return truth


@click.command()
@click.argument("records", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("truth", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def main(records: Path, truth: Path) -> None:
    """Compare the output of `edge-ad run --json` with the truth beside a film."""
    outcome = compare(read_records(records), read_truth(truth))
    click.echo(json.dumps(outcome.summary(), indent=1))


if __name__ == "__main__":
    main()
