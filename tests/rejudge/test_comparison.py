"""What two engines say about an archive: flips, and differences in units of their spreads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow")

from edge_ad.rejudge import comparison
from edge_ad.rejudge.comparison import compare_results
from edge_ad.rejudge.table import AGAINST, make_schema, make_table, write_table

Answer = tuple[float | None, float]  # score, None for INVALID, and threshold


def answer(score: float | None, threshold: float) -> dict[str, Any]:
    verdict = "INVALID" if score is None else ("REJECT" if score > threshold else "PASS")
    return {"verdict": verdict, "score": score, "threshold": threshold, "regions": [], "reason": ""}


def result(folder: Path, before: list[Answer], now: list[Answer]) -> Path:
    """Write the result of two engines for images 0, 1, 2, ..."""
    rows = [
        {"path": str(number), "width": 8, "height": 8, **answer(*after)}
        | {f"{AGAINST}{name}": value for name, value in answer(*first).items()}
        for number, (first, after) in enumerate(zip(before, now, strict=True))
    ]
    path = folder / "result.parquet"
    write_table(path, make_table(rows, make_schema({"against": "old.onnx", "maps": False})))
    return path


def test_flips_come_first_and_differences_are_in_units_of_each_engines_spread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "LARGEST", 4)
    now: list[Answer] = [(float(score), 3.5) for score in range(8)]
    before: list[Answer] = [(10.0 * score, 35.0) for score in range(8)]
    before[5] = (20.0, 35.0)
    path = result(tmp_path, [*before, (None, 35.0)], [*now, (3.0, 3.5)])
    counts, largest = compare_results(path)
    assert counts == {"INVALID>PASS": 1, "PASS>PASS": 4, "PASS>REJECT": 1, "REJECT>REJECT": 3}
    assert [(item.path, item.flips) for item in largest] == [
        ("5", True), ("8", True), ("0", False), ("7", False)
    ]  # fmt: skip
    # quartiles: of 0, 10, 20, 20, 30, 40, 60, 70; and of 0 to 7 with a second 3
    units = 45.0 - 17.5, 5.0 - 2.0
    assert largest[0].difference == pytest.approx(1.5 / units[1] + 15 / units[0])
    assert largest[1].difference == 0.0, "one engine has no score"
    assert largest[2].difference == pytest.approx(35 / units[0] - 3.5 / units[1])
    record = largest[0].as_json()
    assert (record["verdicts"], record["scores"]) == (["PASS", "REJECT"], [20.0, 5.0])


@pytest.mark.parametrize(
    ("scores", "unit"),
    [([2.0] * 8, 1.0), ([1.0] * 7 + [9.0], 7**0.5)],
    ids=["all the same", "quartiles the same"],
)
def test_scores_without_a_spread_between_quartiles_compare_too(
    tmp_path: Path, scores: list[float], unit: float
) -> None:
    answers: list[Answer] = [(score, 5.0) for score in scores]
    _, largest = compare_results(result(tmp_path, answers, [(s, 4.0) for s, _ in answers]))
    assert [item.difference for item in largest] == pytest.approx([1 / unit] * 8)


@pytest.mark.parametrize(
    ("against", "maps", "extra"),
    [(None, False, 0), ("old.onnx", False, 5), (None, True, 7), ("old.onnx", True, 12)],
)
def test_a_result_has_the_columns_of_what_was_asked_for(
    *,
    against: str | None,
    maps: bool,
    extra: int,
) -> None:
    names = make_schema({"against": against, "maps": maps}).names
    assert names[:3] == ["path", "width", "height"]
    assert names[3:8] == ["verdict", "score", "threshold", "regions", "reason"]
    assert len(names) == 8 + extra and (f"{AGAINST}score" in names) == (against is not None)
    assert ("map_scale_x" in names) == maps
