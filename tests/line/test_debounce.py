from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_ad.errors import UsageError
from edge_ad.line.debounce import Debounce


@pytest.mark.parametrize(
    ("verdicts", "alarm"),
    [
        pytest.param("....", "----", id="a quiet line stays quiet"),
        pytest.param("R...", "----", id="one reject is noise"),
        pytest.param("R.R.", "--AA", id="two of three raise, not only two in a row"),
        pytest.param("RR...", "-AAA-", id="three passes clear"),
        pytest.param("RR..R...", "-AAAAAA-", id="a late reject restarts the clearing"),
        pytest.param("R..R..R", "-------", id="one of three never raises"),
    ],
)
def test_two_of_three(verdicts: str, alarm: str) -> None:
    debounce = Debounce(k=2, n=3)
    assert "".join("-A"[debounce.update(v == "R")] for v in verdicts) == alarm


@pytest.mark.parametrize(("k", "n"), [(0, 3), (4, 3), (-1, 1)])
def test_impossible_rules_are_refused(k: int, n: int) -> None:
    with pytest.raises(UsageError, match=f"{k} of {n}"):
        Debounce(k, n)


@settings(deadline=None)
@given(
    st.integers(1, 5).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n))),
    st.lists(st.booleans(), max_size=60),
)
def test_an_alarm_needs_k_rejects_to_begin_and_n_passes_to_end(
    rule: tuple[int, int], rejects: list[bool]
) -> None:
    k, n = rule
    debounce, before = Debounce(k, n), False
    for index, rejected in enumerate(rejects):
        now = debounce.update(rejected)
        window = rejects[max(0, index - n + 1) : index + 1]
        if now and not before:
            assert sum(window) >= k
        if before and not now:
            assert not any(window) and len(window) == n
        before = now
