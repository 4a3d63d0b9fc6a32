"""Options that are numbers. `nan` is none: no comparison with it ever holds."""

from __future__ import annotations

import math
from typing import Any

import click
from click.types import FloatParamType


class Number(FloatParamType):
    """Any number."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"'{value}' is not a number.", param, ctx)
        return number


class NumberRange(Number, click.FloatRange):
    """A number in a range."""
