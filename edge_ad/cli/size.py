"""`--size`: words to a network's input size."""

from __future__ import annotations

import re
from typing import Any

import click

LARGEST = 2048


class Size(click.ParamType[tuple[int, int]]):
    """`256`, or height x width like `128x256`."""

    name = "HxW"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        numbers = [int(number) for number in re.findall(r"\d+", str(value))]
        sides = (numbers * 2)[:2]
        if not re.fullmatch(r"[\d\[\](),x\s]+", str(value)) or len(numbers) not in (1, 2):
            self.fail(f"expected one side or height x width, like 256 or 128x256; got '{value}'")
        if not all(32 <= side <= LARGEST for side in sides):
            self.fail(f"each side lies between 32 and {LARGEST} pixels; got '{value}'")
        return (sides[0], sides[1])
