"""How an engine is run: `--device`, `--threads`, and what only plans know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])
_NAMES = ("device", "threads", "trust_host_code", "cuda_graph")
_OPTIONS = (
    click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True,
                 help="Where ONNX Runtime, and torch for weights, compute; plans run on the GPU."),
    click.option("--threads", default=0, type=click.IntRange(0),
                 help="ONNX Runtime's threads; 0 means one per core."),
    click.option("--trust-host-code", is_flag=True,
                 help="Load a version-compatible plan, which carries program code."),
    click.option("--cuda-graph/--no-cuda-graph", default=True,
                 help="Replay a plan's launches as one CUDA graph."),
)  # fmt: skip


def engine_options(function: _F) -> _F:
    """Add the options; `engine_options_from` takes them out of what the verb receives."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def engine_options_from(options: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments of `open_engine`, taken out of `options`."""
    return {name: options.pop(name) for name in _NAMES}
