"""Types of option values: numbers and sizes. `nan` is not a number: no comparison with it holds."""

from __future__ import annotations

import math
import re
from typing import Any

import click
from click.types import FloatParamType

LARGEST_SIDE = 2048
LARGEST_COUNT = 10**12  # bytes of so many MiB still fit in 64 bits
RULE_FRAMES = click.IntRange(1, 1_000_000)  # as for a change while the line runs
_LARGEST = 1e9  # seconds and milliseconds that clocks can still count; else there is no end


class Number(FloatParamType):
    """A finite number: nothing exceeds `nan` or `inf`, so they would let every part pass."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        try:
            float(value)
        except (TypeError, ValueError):
            hint = " Write it with a point." if "," in str(value) else ""
            self.fail(f"'{value}' is not a number.{hint}", param, ctx)
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"'{value}' is not a number.", param, ctx)
        if math.isinf(number) and not isinstance(self, click.FloatRange):
            self.fail(f"'{value}' is not a finite number.", param, ctx)
        return number


class NumberRange(Number, click.FloatRange):
    """A number in a range; where the range has no end, as for a time, up to 1e9, or `inf`."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        number = super().convert(value, param, ctx)
        if self.max is None and _LARGEST < number < math.inf:
            self.fail(f"'{value}' is more than {_LARGEST:g}. For no end write inf.", param, ctx)
        return number


class Size(click.ParamType[Any]):
    """`256`, or height x width like `128x256`."""

    name = "HxW"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        numbers = [int(number) for number in re.findall(r"\d+", str(value))]
        sides = (numbers * 2)[:2]
        if not re.fullmatch(r"[\d\[\](),x\s]+", str(value)) or len(numbers) not in (1, 2):
            self.fail(f"expected one side or height x width, like 256 or 128x256; got '{value}'")
        if not all(32 <= side <= LARGEST_SIDE for side in sides):
            self.fail(f"each side lies between 32 and {LARGEST_SIDE} pixels; got '{value}'")
        return (sides[0], sides[1])


class AreaOrSize(Size):
    """`256`, kept as one number, or height x width like `128x256`."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        size = super().convert(value, param, ctx)
        numbers = re.findall(r"\d+", str(value))
        return size[0] if len(numbers) == 1 else size
