"""The interface of a method's network: its configuration, and how to build and score it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import nn
from typing_extensions import Self

from edge_ad.errors import DataError
from edge_ad.manifest import Score
from edge_ad.methods.layers.blocks import SizeHW
from edge_ad.methods.registry import method_entry


class Config(BaseModel):
    """Base of a network's configuration; it is stored in the weights file.

    A field that allows None scales with the image when it is None; one that allows `auto` is
    measured at the end of training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def for_size(self, size_hw: SizeHW) -> Self:
        """Return the configuration with every None replaced by its value at this size."""
        return self


@dataclass(frozen=True)
class Method:
    """A method's network.

    `build(config, size_hw)` makes it; `score(config, size_hw)` says how it reduces its map to a
    score. In eval mode the network takes rgb float32 (N, 3, H, W) in [0, 1] and returns anomaly_map
    float32 (N, H, W) and anomaly_score float32 (N,): normalisation, up-sampling and score inside.
    """

    name: str
    config: type[Config]
    build: Callable[[Any, SizeHW], nn.Module]
    score: Callable[[Any, SizeHW], Score]


def load_method(name: str) -> Method:
    """Import a method's network; raises UsageError for a method that this version does not have."""
    method = importlib.import_module(method_entry(name).network).METHOD
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
