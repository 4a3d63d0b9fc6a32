"""The options `--layout` and `--leave-out-bad-masks` of verbs that read labelled images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


class LayoutName(click.ParamType[Any]):
    """The name of a layout; another name is refused with the nearest one."""

    name = "layout"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        from edge_ad.dataset.recognition import layout_named

        return layout_named(str(value)).name


def layout_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--layout`; the verb receives `layout`, None to recognise it."""
    return click.option(
        "--layout",
        type=LayoutName(),
        help="mvtec, loco, btad, visa, kolektor, ksdd2, magnetic-tile or plain. Default: "
        "recognised by the folder's structure.",
    )(function)


def labels_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add both options; the verb receives `layout` and `leave_out_bad_masks`."""
    leave_out = click.option(
        "--leave-out-bad-masks",
        is_flag=True,
        help="Leave out images whose mask is empty, inverted, missing or of another size, instead "
        "of stopping; they are counted and named.",
    )
    return layout_option(leave_out(function))
