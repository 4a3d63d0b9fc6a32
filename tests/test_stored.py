"""Values that files hold: checked when they are read, and when they are written."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import pytest
from msgspec import Meta, field

from edge_ad.stored import Stored, StoredError


class Lens(Stored, frozen=True, kw_only=True):
    f_mm: Annotated[float, Meta(gt=0)] = 8.0
    serial: Annotated[str, Meta(pattern=r"^[0-9]{4}\Z")] | None = None


class Rig(Stored, frozen=True, kw_only=True):
    lens: Lens = Lens()
    size_hw: tuple[Annotated[int, Meta(ge=1)], Annotated[int, Meta(ge=1)]]
    notes: dict[str, str] = field(default_factory=dict)
    images: int | None = 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "top level: "),
        ("[]", "top level: expected `object`, got `array`"),
        ("{}", "size_hw: missing"),
        ('{"size_hw": [1, 1], "lens": {"f": 1}}', "lens.f: unknown field"),
        ('{"size_hw": [0, 1]}', "size_hw[0]: expected `int` >= 1"),
        ('{"size_hw": [1.0, 1]}', "size_hw[0]: expected `int`, got `float`"),
        ('{"size_hw": [1]}', "size_hw: expected `array` of length 2"),
        ('{"size_hw": [1, 1], "lens": {"f_mm": "8"}}', "lens.f_mm: expected `float`, got `str`"),
        ('{"size_hw": [1, 1], "lens": {"f_mm": true}}', "lens.f_mm: expected `float`, got `bool`"),
        ('{"size_hw": [1, 1], "lens": {"f_mm": 1e999}}', "lens.f_mm: number out of range"),
        ('{"size_hw": [1, 1], "lens": {"f_mm": NaN}}', "top level: JSON is malformed"),
        ('{"size_hw": [1, 1], "lens": {"serial": "1234\\n"}}', "lens.serial: expected `str`"),
        ('{"size_hw": [1, 1], "notes": {"a": 1}}', "notes[...]: expected `str`, got `int`"),
    ],
)
def test_what_a_file_may_not_hold_is_named_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(StoredError) as refused:
        Rig.from_json(text)
    assert str(refused.value).startswith(problem)


def test_a_value_can_be_read_back_and_changed() -> None:
    rig = Rig(size_hw=(2, 3), lens=Lens(serial="0815"), notes={"where": "Straße 3"})
    assert Rig.from_json(rig.to_json()) == rig
    assert Rig.from_dict(rig.to_dict()) == rig
    assert rig.to_dict()["size_hw"] == [2, 3], "JSON knows no tuples"
    assert rig.replace(size_hw=(4, 4)).lens == rig.lens


def test_fields_that_are_none_can_be_left_out() -> None:
    rig = Rig(size_hw=(2, 3))
    assert rig.to_dict()["lens"] == {"f_mm": 8.0, "serial": None}
    assert rig.to_dict(without_none=True)["lens"] == {"f_mm": 8.0}
    any_number = rig.replace(images=None)
    assert Rig.from_dict(any_number.to_dict(without_none=True)) == any_number


def test_numbers_of_numpy_are_written_as_numbers() -> None:
    assert Lens(f_mm=np.float64(0.5)).to_json() == '{"f_mm":0.5,"serial":null}'


@pytest.mark.parametrize("f_mm", [math.nan, math.inf, -1.0])
def test_nothing_is_written_that_could_not_be_read(f_mm: float) -> None:
    with pytest.raises(ValueError):
        Lens(f_mm=f_mm).to_json()
