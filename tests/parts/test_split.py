"""Splits of whole parts, and how many parts a guarantee needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_ad.errors import DataError, UsageError
from edge_ad.parts import (
    How,
    PartAssignment,
    parts_needed,
    rounded_up,
    split_parts,
    supported_rate,
)

SHARES = {"train": 0.8, "selection": 0.1, "threshold": 0.1}


def _assignment(parts: int, images: int = 3) -> PartAssignment:
    return PartAssignment(
        {
            Path(f"{part}_{image}.png"): str(part)
            for part in range(parts)
            for image in range(images)
        },
        How.NAMES,
    )


def test_a_name_that_is_not_utf8_is_a_part_like_others() -> None:
    parts = {Path(name): name for name in ("a.png", "b\udcff.png", "部件.png")}
    assignment = PartAssignment(parts, How.EACH)
    sets = split_parts(assignment, SHARES)
    assert {path for paths in sets.values() for path in paths} == set(parts)
    assert list(assignment.groups()) == ["a.png", r"b\xff.png", "部件.png"]


@pytest.mark.parametrize("parts", [3, 4, 10, 101])
def test_sets_are_disjoint_complete_and_of_whole_parts(parts: int) -> None:
    assignment = _assignment(parts)
    sets = split_parts(assignment, SHARES)
    assert sorted(path for paths in sets.values() for path in paths) == sorted(assignment.parts)
    owners = [{assignment.parts[path] for path in paths} for paths in sets.values()]
    assert sum(map(len, owners)) == parts and all(owners)


def test_shares_are_shares_of_the_parts() -> None:
    sets = split_parts(_assignment(100), {"train": 80, "selection": 5, "threshold": 15})
    assert {name: len(paths) // 3 for name, paths in sets.items()} == {
        "train": 80, "selection": 5, "threshold": 15,
    }  # fmt: skip


def test_what_is_left_goes_to_the_set_that_lacks_most() -> None:
    sets = split_parts(_assignment(11), {"train": 0.5, "selection": 0.3, "threshold": 0.2})
    assert {name: len(paths) // 3 for name, paths in sets.items()} == {
        "train": 6, "selection": 3, "threshold": 2,
    }  # fmt: skip


def test_the_split_depends_on_parts_and_seed_alone() -> None:
    forward = _assignment(20)
    backward = PartAssignment(dict(reversed(forward.parts.items())), How.NAMES)
    first = {name: set(paths) for name, paths in split_parts(forward, SHARES).items()}
    assert first == {name: set(paths) for name, paths in split_parts(backward, SHARES).items()}
    other = {name: set(paths) for name, paths in split_parts(forward, SHARES, seed=1).items()}
    assert first != other


def test_too_few_parts_are_refused() -> None:
    with pytest.raises(DataError, match="2 parts cannot be divided into 3 sets"):
        split_parts(_assignment(2), SHARES)


@pytest.mark.parametrize("share", [0.0, -1.0, float("nan"), float("inf")])
def test_a_share_that_is_not_positive_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="share of 'train'"):
        split_parts(_assignment(5), {"train": share})


@pytest.mark.parametrize(("rate", "parts"), [(0.05, 59), (0.12, 24), (0.5, 5), (0.001, 2995)])
def test_the_parts_that_a_guarantee_needs(rate: float, parts: int) -> None:
    assert parts_needed(rate, 0.95) == parts
    assert supported_rate(parts, 0.95) <= rate < supported_rate(parts - 1, 0.95)


def test_the_rate_that_is_printed_is_one_that_the_parts_support() -> None:
    for parts in range(1, 500):
        printed = float(f"{rounded_up(supported_rate(parts, 0.95)):g}")
        assert parts_needed(printed, 0.95) <= parts


def test_a_rate_of_two_digits_is_printed_as_it_is() -> None:
    for hundredths in range(1, 100):
        assert rounded_up(hundredths / 100) == hundredths / 100


@pytest.mark.parametrize("rate", [0.01, 0.02, 0.05, 0.1, 0.25, 0.5])
def test_the_parts_that_just_support_a_rate_are_enough(rate: float) -> None:
    """Rounding in floating point does not ask for one part more."""
    for parts in range(1, 40):
        assert parts_needed(rate, 1 - (1 - rate) ** parts) == parts


def test_no_part_supports_nothing() -> None:
    assert supported_rate(0, 0.95) == 1.0
    with pytest.raises(UsageError, match="0 or more, got -1"):
        supported_rate(-1, 0.95)
    with pytest.raises(UsageError, match="rate: expected a number between 0 and 1"):
        parts_needed(float("nan"), 0.95)
