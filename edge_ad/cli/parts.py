"""The options `--part-id` and `--parts-from` of verbs that tell parts apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from edge_ad.errors import UsageError


class PartsFrom(click.ParamType[Any]):
    """What decides which images show one part, as a member of `How`."""

    name = "parts_from"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        from edge_ad.parts import How

        known = {how.value: how for how in How if how is not How.PART_ID}
        if isinstance(value, How):
            return value
        if value not in known:
            self.fail(f"'{value}' is not one of: {', '.join(known)}.", param, ctx)
        return known[value]


class PartExpression(click.ParamType[str]):
    """A regular expression with a group."""

    name = "part_id"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        from edge_ad.parts.names import compiled

        return compiled(value).pattern


def _one_of_both(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Refuse both options together, when the second of them is read."""
    if value is not None and any(ctx.params.get(name) for name in ("part_id", "parts_from")):
        raise UsageError("--part-id and --parts-from exclude each other: give one of them.")
    return value


def parts_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add both options; the verb receives `part_id` and `parts_from`, None where not given.

    A wrong expression and both together are refused before the verb starts, with UsageError.
    """
    parts_from = click.option(
        "--parts-from",
        type=PartsFrom(),
        callback=_one_of_both,
        metavar="WHAT",
        help="How images of one part are recognised: table (parts.csv), capture, folders, names, "
        "images, or each (every image shows another). Default: the first that has an answer.",
    )
    part_id = click.option(
        "--part-id",
        type=PartExpression(),
        callback=_one_of_both,
        metavar="REGEX",
        help="Regular expression whose group is the part in an image's path, like 'part([0-9]+)'.",
    )
    return part_id(parts_from(function))
