"""The option `--bit-depth`, and the depth that a verb reads its images with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from edge_ad.images import BitDepth

_F = TypeVar("_F", bound=Callable[..., Any])

bit_depth_option: Callable[[_F], _F] = click.option(
    "--bit-depth",
    type=click.IntRange(8, 16),
    help="Bits that the sensor fills in 16-bit values. Default: the engine's, else by the images.",
)


def read_with_depth(
    name: Path, trained: int | None, given: int | None, paths: Iterable[Path] = ()
) -> BitDepth | None:
    """Read images with one bit depth until the verb ends, and return it.

    It is the given one, that of the engine `name`, or that of the images at `paths`. Raises
    IncompatibleError when the first two contradict each other.
    """
    from edge_ad.images import agreed_depth, find_depth, reading

    depth = agreed_depth(str(name), trained, given)
    images = list(paths) if depth is None else []
    if images:
        depth = find_depth(images)
    if depth is None:
        return None
    click.get_current_context().with_resource(reading(depth))
    if depth.bits > 8:
        click.echo(f"bit depth: {depth}", err=True)
    return depth
