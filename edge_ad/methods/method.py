"""What a method brings: its configuration and its network. One file a method beside this one."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import nn

from edge_ad.errors import DataError, UsageError
from edge_ad.manifest import Score

# method -> module that defines METHOD
NAMES = ("destseg", "draem", "clflow", "ear", "pmb")
METHODS = {name: f"edge_ad.methods.{name}.network" for name in NAMES}


class Config(BaseModel):
    """Base of all that shapes a method's network; it travels in the weights file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Method:
    """`build(config, size_hw)` makes the network; `score(config)` says how it scores a map.

    In eval mode the network takes rgb float32 (N, 3, H, W) in [0, 1] and answers anomaly_map
    float32 (N, H, W) and anomaly_score float32 (N,): normalisation, up-sampling and score inside.
    """

    name: str
    config: type[Config]
    build: Callable[[Any, tuple[int, int]], nn.Module]
    score: Callable[[Any], Score]


def method_named(name: str) -> Method:
    """The method of that name; raises UsageError for one this version lacks."""
    if name not in METHODS:
        raise UsageError(f"no method '{name}'; this version has: {', '.join(METHODS)}.")
    method = importlib.import_module(METHODS[name]).METHOD
    assert isinstance(method, Method)
    return method


def parse_config(method: Method, values: dict[str, Any], name: str) -> Config:
    """Check a stored configuration; raises DataError naming file `name` when it does not fit."""
    try:
        return method.config.model_validate(values, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(
            f"{name}: its {method.name} configuration: {where}: {first['msg']}"
        ) from error
