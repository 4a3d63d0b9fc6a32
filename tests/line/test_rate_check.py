"""The running check of the reject rate: its level over 2000 runs, and its power."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.errors import UsageError
from edge_ad.line.rate_check import LEVEL, RateCheck, as_percent, log_evidence, log_weight

RUNS = 2000


def evidence_table(length: int, most: int, guaranteed_rate: float) -> NDArray[np.float64]:
    """Return the evidence after n parts up to `length`, m of at most `most` rejected, at [n, m]."""
    parts = np.arange(length + 1.0)[:, None]
    rejected = np.minimum(np.arange(most + 1.0), parts)
    return log_evidence(rejected, parts, guaranteed_rate)


def first_crossing(
    rejected: NDArray[np.bool_], guaranteed_rate: float, level: float
) -> NDArray[np.intp]:
    """Return the part at which each run (runs, parts) is called broken; its length where never.

    Evidence depends on counts alone, so it is looked up in a table; starts come as on the line.
    """
    runs, length = rejected.shape
    total = rejected.cumsum(axis=1)
    table = evidence_table(length, int(total.max()), guaranteed_rate)
    every = int(np.ceil(10 / guaranteed_rate))
    evidence = np.full((runs, length), -np.inf)
    starts = range(0, length, every)
    for weight, start in zip(log_weight(np.arange(len(starts))), starts, strict=True):
        before = total[:, start - 1 : start] if start else np.zeros((runs, 1), int)
        own = table[np.arange(1, length - start + 1), total[:, start:] - before]
        evidence[:, start:] = np.logaddexp(evidence[:, start:], own + weight)
    crossed = evidence >= -np.log(level)
    return np.asarray(np.where(crossed.any(axis=1), crossed.argmax(axis=1), length), np.intp)


def test_the_sentence_has_plain_percentages() -> None:
    check = RateCheck(0.64)
    run(check, [True] * 40)
    assert "parts rejected (100 %), but the threshold guarantees" in check.reason()
    assert "at most 64 % of normal parts" in check.reason()
    assert "give --frames-per-part" in check.reason()
    shares = (0.00064, 0.0384, 0.995, 0.0)
    assert [as_percent(share) for share in shares] == ["0.064 %", "3.8 %", "100 %", "0 %"]


def test_a_part_is_rejected_with_any_of_its_frames() -> None:
    for place in range(3):
        check = RateCheck(0.64, frames_per_part=3)
        run(
            check, [index % 6 == place for index in range(240)]
        )  # each second three are passed over
        assert (check.summary().parts, check.summary().rejected) == (40, 40)
        assert "--frames-per-part" not in check.reason()


def test_a_part_after_a_rejected_one_is_judged_by_its_own_frames() -> None:
    check = RateCheck(0.64, frames_per_part=3)
    run(check, [index % 18 == 1 for index in range(180)])
    assert (check.summary().parts, check.summary().rejected) == (30, 10)


def test_the_whole_run_counts_however_long_it_is() -> None:
    check = RateCheck(0.05, level=1e-300)
    run(check, [index % 16 == 15 for index in range(8000)])
    whole = log_evidence(np.array(500.0), np.array(8000.0), 0.05) + log_weight(np.array(0))
    assert np.log(check.summary().evidence) > whole > 0


def test_the_weights_of_all_starts_are_one() -> None:
    assert np.exp(log_weight(np.arange(999))).sum() == pytest.approx(1 - 1 / 1000)


def test_expected_anomalous_parts_are_added_to_the_normal_ones_that_may_be_rejected() -> None:
    both, together = RateCheck(0.5, expected_anomalous=0.5), RateCheck(0.75)
    for check in (both, together):
        run(check, [True] * 20)
    assert both.summary().evidence == pytest.approx(together.summary().evidence) != 1


def test_anomalous_parts_that_are_expected_are_no_evidence() -> None:
    third = [index % 3 == 0 for index in range(3000)]
    assert run(RateCheck(0.001), third) != []
    assert run(RateCheck(0.001, expected_anomalous=0.35), third) == []
    check = RateCheck(0.001, expected_anomalous=0.35)
    assert run(check, [True] * 100) != []
    assert "0.1 % of normal parts, and 35 % are expected to be anomalous. " in check.reason()
    assert check.summary().expected_anomalous == 0.35


@pytest.mark.parametrize("guaranteed_rate", [0.02, 0.12])
@pytest.mark.parametrize("level", [0.01, 0.1])
def test_a_guarantee_that_holds_is_called_broken_at_most_at_the_level(
    guaranteed_rate: float, level: float
) -> None:
    rejected = np.random.default_rng(1).random((RUNS, 600)) < guaranteed_rate
    share = (first_crossing(rejected, guaranteed_rate, level) < 600).mean()
    assert share <= level + 3 * (level / RUNS) ** 0.5
    assert share > level / 50, "the test is not blind"


def test_it_holds_though_rates_vary_below_the_guarantee_by_what_came_before() -> None:
    rng, rejected = np.random.default_rng(2), np.zeros((RUNS, 400), np.bool_)
    for part in range(1, 400):
        rate = np.where(rejected[:, part - 1], 0.05, 0.02)
        rejected[:, part] = rng.random(RUNS) < rate
    assert (first_crossing(rejected, 0.05, 0.1) < 400).mean() <= 0.1


def test_a_doubled_rate_is_found() -> None:
    rejected = np.random.default_rng(3).random((100, 1500)) < 0.1
    crossing = first_crossing(rejected, 0.05, LEVEL)
    assert (crossing < 1500).mean() > 0.99
    assert np.median(crossing) < 600


def run(check: RateCheck, rejected: list[bool]) -> list[int]:
    return [frame for frame, one in enumerate(rejected) if check.update(frame, rejected=one)]


def test_the_line_decides_as_the_formula_does_and_says_so_once() -> None:
    rejected = np.random.default_rng(4).random((1, 1500)) < 0.15
    check = RateCheck(0.05)
    assert run(check, rejected[0].tolist()) == first_crossing(rejected, 0.05, LEVEL).tolist()
    summary = check.summary()
    assert (summary.parts, summary.rejected) == (1500, int(rejected.sum()))
    assert summary.as_json()["exceeded"] and summary.evidence > 100
    assert summary.exceeded_parts and summary.exceeded_rejected
    assert summary.exceeded_rejected / summary.exceeded_parts > 0.1


def test_rejects_after_many_good_parts_are_counted_since_they_began() -> None:
    check = RateCheck(0.19)
    (frame,) = run(check, [False] * 1020 + [True] * 50)
    summary = check.summary()
    assert summary.exceeded_parts and summary.exceeded_parts < 100
    assert summary.exceeded_rejected == frame - 1019
    assert f"{frame - 1019} of the last {summary.exceeded_parts} parts" in check.reason()


def test_a_light_that_fails_after_a_long_good_time_is_found_soon() -> None:
    check = RateCheck(0.05)
    good = (np.random.default_rng(5).random(20_000) < 0.03).tolist()
    assert run(check, good) == []
    (found,) = run(check, [True] * 40)
    assert found < 20


def test_memory_is_bounded_and_recent_starts_are_kept() -> None:
    check = RateCheck(0.9)
    assert run(check, [index % 50 == 0 for index in range(100_000)]) == []
    assert check.starts < 120, "of 8333"
    assert len(run(check, [True] * 2000)) == 1


def test_frames_of_one_part_count_once() -> None:
    defect = ([False] * 10 + [True] * 10) + [False] * 380
    assert run(RateCheck(0.05, frames_per_part=1), defect) != []
    check = RateCheck(0.05, frames_per_part=10)
    assert run(check, defect) == []
    assert check.summary().parts == 20


def test_every_part_rejected_is_found_whatever_the_frames_per_part() -> None:
    assert len(run(RateCheck(0.05, frames_per_part=10), [True] * 400)) == 1


@pytest.mark.parametrize("guaranteed_rate", [0.0, 1.0, -1.0, float("nan")])
def test_a_guarantee_that_is_no_share_is_refused(guaranteed_rate: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        RateCheck(guaranteed_rate)
