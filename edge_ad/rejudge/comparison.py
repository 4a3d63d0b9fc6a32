"""Compare what two engines say about an archive: flips, and where they differ most."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.frame import Image
from edge_ad.images import write_image
from edge_ad.line.inspector import InspectedFrame
from edge_ad.outlet.drawing import contact_sheet, draw_evidence, draw_text
from edge_ad.rejudge.judge import ArchiveJudge, JudgeConfig
from edge_ad.rejudge.table import AGAINST, Row, read_columns

LARGEST = 12
_COLUMNS = ("path", "verdict", "score", "threshold")
_WIDTH = 720  # of a cell, pixels


@dataclass(frozen=True, slots=True)
class LargestDifference:
    """An image about which the engines disagree: in its verdict, or far in its score.

    `difference` is that of the scores' distances from their thresholds, each in units of its
    engine's spread of scores over the archive, so that methods with other units compare.
    """

    path: str
    before: Row
    now: Row
    difference: float

    @property
    def flips(self) -> bool:
        """Return whether the verdicts differ."""
        return bool(self.before["verdict"] != self.now["verdict"])

    def as_json(self) -> dict[str, Any]:
        """Return path, verdicts, scores and difference."""
        return {
            "path": self.path,
            "verdicts": [self.before["verdict"], self.now["verdict"]],
            "scores": [self.before["score"], self.now["score"]],
            "difference": round(self.difference, 4),
        }


def compare_results(path: Path) -> tuple[dict[str, int], list[LargestDifference]]:
    """Return how often verdicts go from one to another, and the largest differences, flips first.

    The keys are like `PASS>REJECT`, from the engine `against` to the job's engine; an image that
    one engine calls INVALID has no difference but that.
    """
    spreads = _spread(path, AGAINST), _spread(path, "")
    counts = Counter[str]()
    largest: list[tuple[bool, float, int, LargestDifference]] = []
    for number, (name, before, now) in enumerate(_pairs(path)):
        counts[f"{before['verdict']}>{now['verdict']}"] += 1
        item = LargestDifference(name, before, now, _difference(before, now, spreads))
        heapq.heappush(largest, (item.flips, item.difference, -number, item))
        if len(largest) > LARGEST:
            heapq.heappop(largest)
    return dict(sorted(counts.items())), [item for *_, item in sorted(largest, reverse=True)]


def write_sheet(path: Path, items: Sequence[LargestDifference], config: JudgeConfig) -> None:
    """Draw the differences, one row each: the other engine's evidence beside the engine's."""
    cells: list[Image] = []
    with ArchiveJudge(config) as judge:
        for item in items:
            now, before = judge.inspect(item.path)
            assert before is not None
            cells += [_cell("before", before, item.path), _cell("now", now, item.path)]
    write_image(path, contact_sheet(cells, columns=2, width=_WIDTH))


def _cell(side: str, result: InspectedFrame, path: str) -> Image:
    inspection, evidence = result.inspection, result.evidence
    if evidence.image is None or evidence.anomaly_map is None:
        blank = np.full((_WIDTH // 4, _WIDTH, 3), 32, np.uint8)
        return draw_text(blank, f"{side}: {inspection.verdict}: {inspection.reason}", (8, 20))
    score = f"score {inspection.score:.4g}, threshold {inspection.threshold:.4g}"
    caption = [f"{side}: {inspection.verdict}, {score}", path]
    return draw_evidence(
        evidence.image, evidence.anomaly_map, inspection.regions, inspection.threshold, caption
    )


def _pairs(path: Path) -> Iterator[tuple[str, Row, Row]]:
    names = [*_COLUMNS, *(AGAINST + name for name in _COLUMNS[1:])]
    for row in read_columns(path, names):
        before = {name: row[AGAINST + name] for name in _COLUMNS[1:]}
        yield row["path"], before, {name: row[name] for name in _COLUMNS[1:]}


def _spread(path: Path, prefix: str) -> float:
    """Return the distance between the quartiles of an engine's scores, 1 when there is none."""
    scores: NDArray[np.float64] = np.array(
        [row[prefix + "score"] for row in read_columns(path, [prefix + "score"])], np.float64
    )
    scores = scores[np.isfinite(scores)]
    if not scores.size:
        return 1.0
    low, high = np.quantile(scores, [0.25, 0.75])
    return float(high - low) or float(scores.std()) or 1.0


def _difference(before: Row, now: Row, spreads: tuple[float, float]) -> float:
    if before["score"] is None or now["score"] is None:
        return 0.0
    places = [
        (row["score"] - row["threshold"]) / spread
        for row, spread in zip((before, now), spreads, strict=True)
    ]
    return float(abs(places[1] - places[0]))
