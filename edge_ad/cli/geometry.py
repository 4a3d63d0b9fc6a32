"""The options `--roi`, `--ignore`, `--tiles`, `--overlap` and `--shrink`."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import click

from edge_ad.cli.types import NumberRange
from edge_ad.geometry import FARTHEST_PX


class Roi(click.ParamType[Any]):
    """`x,y,width,height` in frame pixels."""

    name = "x,y,w,h"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        numbers = _integers(value)
        if len(numbers) != 4 or min(numbers) < 0 or min(numbers[2:]) < 1:
            self.fail(
                f"expected x,y,width,height in pixels, like 80,0,640,480; got {_shown(value)}"
            )
        return tuple(numbers)


class Polygon(click.ParamType[Any]):
    """`x,y x,y x,y ...` in frame pixels."""

    name = "x,y x,y x,y"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[tuple[int, int], ...]:
        numbers = _integers(value)
        if len(numbers) < 6 or len(numbers) % 2:
            self.fail(f"expected three or more corners, like '0,0 90,0 0,60'; got {_shown(value)}")
        if max(map(abs, numbers)) > FARTHEST_PX:
            self.fail(f"expected corners within {FARTHEST_PX} pixels; got {_shown(value)}")
        return tuple(zip(numbers[::2], numbers[1::2], strict=True))


class Tiles(click.ParamType[Any]):
    """`rows x columns`, like `3x4`."""

    name = "RxC"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        numbers = _integers(value)
        if len(numbers) != 2 or not all(1 <= number <= 64 for number in numbers):
            self.fail(f"expected rows x columns from 1 to 64, like 3x4; got {_shown(value)}")
        return (numbers[0], numbers[1])


def geometry_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the four options; the verb receives `geometry`, the given ones for Geometry.changed."""

    @functools.wraps(function)
    def verb(*args: Any, **options: Any) -> Any:
        parts = {
            "roi_xywh": options.pop("roi"),
            "ignore": options.pop("ignore") or None,
            "tiles": options.pop("tiles"),
            "overlap": options.pop("overlap"),
        }
        given = {name: value for name, value in parts.items() if value is not None}
        return function(*args, geometry=given, **options)

    for option in reversed(_OPTIONS):
        verb = option(verb)
    return verb


def _shown(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value).replace("'", "")


def _integers(value: Any) -> list[int]:
    """Return the integers of '1,2 3x4' or a YAML list like [[1, 2], [3, 4]], none of other text."""
    text = str(value)
    if re.search(r"[^-\d\[\](),'\sx]", text):
        return []
    return [int(number) for number in re.findall(r"-?\d+", text)]


roi_option = click.option("--roi", type=Roi(), help="Look only at this part of the frame.")
ignore_option = click.option(
    "--ignore", type=Polygon(), multiple=True, help="Polygon to ignore; repeats."
)
_OPTIONS = [
    roi_option,
    ignore_option,
    click.option("--tiles", type=Tiles(), help="Cut the frame into rows x columns tiles."),
    click.option(
        "--overlap",
        type=NumberRange(0, 0.5),
        help="Overlap of neighbouring tiles, as a share of their side.",
    ),
]
shrink_option = click.option(
    "--shrink",
    type=click.Choice(["area", "bilinear"]),
    default="area",
    show_default=True,
    help="How large images become small: means of areas, which keep thin scratches; or between "
    "the four nearest pixels, as DRAEM's code and many others do. The engine keeps to it.",
)
