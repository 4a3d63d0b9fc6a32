"""Compare the alarms of a run with the ground truth of its footage.

    edge-ad run --camera footage.mp4 --engine engine.onnx --json > run.jsonl
    python -m edge_ad.sample.check run.jsonl footage.mp4.yaml

A defect is detected when a region of a rejected frame overlaps it while an alarm is active. An
alarm that begins while no defect is in view is false.
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

from edge_ad.errors import GateFailed, UsageError
from edge_ad.strict_yaml import YamlProblem, load_yaml

_NEAR = 12  # tolerance in pixels around a defect's box: maps are coarser than frames
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SampleCheck:
    """Detected and missed defects by plate number, and the frames at which false alarms began.

    `kinds` maps each anomalous plate to its kind of defect. `rejected_frames` counts, per plate,
    the frames with a region on its defect during an alarm.
    """

    kinds: dict[int, str]
    detected: frozenset[int]
    rejected_frames: dict[int, int]
    false_alarms: tuple[int, ...]

    @property
    def missed(self) -> list[int]:
        return sorted(set(self.kinds) - self.detected)

    def summary(self) -> Record:
        """Return counts per kind of defect, as JSON values."""
        plates = Counter(self.kinds.values())
        hits = Counter(self.kinds[part] for part in self.detected)
        return {
            "by_kind": {kind: {"plates": plates[kind], "detected": hits[kind]} for kind in plates},
            "missed": [{"part": part, "kind": self.kinds[part]} for part in self.missed],
            "false_alarms": list(self.false_alarms),
            "rejected_frames": self.rejected_frames,
        }


def compare(records: Iterable[Record], truth: Record) -> SampleCheck:
    """Compare the records of `run --json` with the ground truth that `footage` wrote."""
    visible: dict[int, list[Record]] = {int(k): v for k, v in truth["visible"].items()}
    records = list(records)
    alarms = _alarms(records)
    hits: Counter[int] = Counter()
    for record in records:
        if record["type"] == "inspection" and record["verdict"] == "REJECT":
            if any(record["frame"] in frames for frames in alarms):
                hits.update(_plates_hit(record, visible.get(record["frame"], [])))
    kinds = {entry["part"]: entry["kind"] for entry in truth["defects"]}
    return SampleCheck(
        kinds=kinds,
        detected=frozenset(part for part in kinds if hits[part]),
        rejected_frames={part: hits[part] for part in kinds},
        false_alarms=tuple(alarm.start for alarm in alarms if not visible.get(alarm.start)),
    )


def _alarms(records: Iterable[Record]) -> list[range]:
    """Return the frames of each alarm, from the one that raised it to the last before its end."""
    began: dict[str, int] = {}
    alarms = []
    for record in records:
        if record["type"] == "alarm" and record["event"] == "new":
            began[record["id"]] = record["frame"]
        elif record["type"] == "alarm" and record["event"] == "end":
            alarms.append(range(began.pop(record["id"]), record["frame"]))
    return alarms + [range(start, sys.maxsize) for start in began.values()]


def _plates_hit(inspection: Record, defects: list[Record]) -> set[int]:
    """Return the plates whose defect a region of this frame overlaps."""
    return {
        defect["part"]
        for defect in defects
        if any(_overlap(region, defect["box_xywh"]) for region in inspection["regions"])
    }


def _overlap(region: Record, box_xywh: list[int]) -> bool:
    x, y, width, height = box_xywh
    return bool(
        region["x"] < x + width + _NEAR
        and region["x"] + region["width"] > x - _NEAR
        and region["y"] < y + height + _NEAR
        and region["y"] + region["height"] > y - _NEAR
    )


def require_all_detected(result: SampleCheck) -> None:
    """Raise GateFailed when a defect was missed or an alarm was false."""
    if result.missed or result.false_alarms:
        raise GateFailed(
            f"{len(result.missed)} of {len(result.kinds)} anomalous plates missed "
            f"({result.missed}), {len(result.false_alarms)} false alarms "
            f"(at frames {list(result.false_alarms)}). Expected none of either; train again."
        )


def read_records(path: Path) -> list[Record]:
    """Read the records of `run --json`."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def read_truth(path: Path) -> Record:
    """Read the ground truth beside a video."""
    try:
        truth: Record = load_yaml(path)
    except YamlProblem as error:
        raise UsageError(f"{path}: {error}") from error
    return truth


@click.command()
@click.argument("records", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("truth", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def main(records: Path, truth: Path) -> None:
    """Compare the output of `edge-ad run --json` with the ground truth beside a video."""
    result = compare(read_records(records), read_truth(truth))
    click.echo(json.dumps(result.summary(), indent=1))


if __name__ == "__main__":
    main()
