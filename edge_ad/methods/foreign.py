"""Import of checkpoints that others trained, recognised by their parameter names.

Each method's `foreign_checkpoints` module has the readers of its formats.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from edge_ad.errors import DataError, UsageError
from edge_ad.methods.layers.blocks import SizeHW
from edge_ad.methods.method import Config, load_method
from edge_ad.methods.pretrained import State, fill, listed, looks_like, read_state
from edge_ad.methods.registry import METHODS, title_of

Rules = tuple[tuple[str, str], ...]  # pattern of a foreign name, our name


@dataclass(frozen=True)
class Foreign:
    """A foreign checkpoint under our names; `size_hw` None takes the size that is asked for.

    Parameters that start with `untrained`, if given, keep their initial values.
    """

    method: str
    origin: str
    config: Config
    state: State
    size_hw: SizeHW | None = None
    untrained: str = ""


@dataclass(frozen=True)
class Reader:
    """A format: `read` returns None for the tensors of another one."""

    title: str
    read: Callable[[Sequence[State]], Foreign | None]


@dataclass(frozen=True)
class Imported:
    """A network filled from a checkpoint."""

    module: nn.Module
    config: Config
    method: str
    origin: str
    size_hw: SizeHW


def readers() -> list[Reader]:
    """Return the readers of all methods."""
    modules = [entry.foreign_checkpoints for entry in METHODS.values() if entry.foreign_checkpoints]
    return [reader for module in modules for reader in importlib.import_module(module).READERS]


def import_checkpoint(paths: Sequence[Path], size_hw: SizeHW) -> Imported:
    """Recognise and load one checkpoint, which may be in several files.

    Raises DataError for files that cannot be read, that no reader recognises, or whose parameters
    do not fit; UsageError for a size the checkpoint was not made for.
    """
    states = [read_state(path, "a checkpoint") for path in paths]
    name = " and ".join(str(path) for path in paths)
    known = readers()
    for reader in known:
        if foreign := reader.read(states):
            return _build(foreign, size_hw, Path(name))
    raise DataError(
        f"{name}: {' and '.join(looks_like(state) for state in states)}. Known are: "
        f"{', '.join(reader.title for reader in known)}."
    )


def _build(foreign: Foreign, size_hw: SizeHW, name: Path) -> Imported:
    if foreign.size_hw not in (None, size_hw):
        height, width = foreign.size_hw or size_hw
        raise UsageError(
            f"{name}: made for {height}x{width}, its layer norms take no other size. "
            f"Import it with --size {height}x{width}."
        )
    config = foreign.config.for_size(size_hw)
    module = load_method(foreign.method).build(config, size_hw)
    initial = module.state_dict() if foreign.untrained else {}
    untrained = {k: v for k, v in initial.items() if k.startswith(foreign.untrained)}
    what = f"{title_of(foreign.method)} as {foreign.origin} saves it"
    fill(module, {**foreign.state, **untrained}, name, what)
    return Imported(module.eval(), config, foreign.method, foreign.origin, size_hw)


def renamed(name: str, rules: Rules) -> str | None:
    """Return our name of a foreign parameter, or None when no rule matches.

    In a rule, {1} is the number in the name and {0} that number counted from zero.
    """
    for pattern, ours in rules:
        if match := re.match(pattern, name):
            number = int(match[1]) if match.groups() else 0
            return ours.format(number - 1, number) + name[match.end() :]
    return None


def translate_all(state: State, rules: Rules, what: str) -> State:
    """Return the state under our names; raises DataError for parameters that no rule matches."""
    names = {name: renamed(name, rules) for name in state}
    unknown = sorted(
        name for name, ours in names.items() if ours is None and "num_batches_tracked" not in name
    )
    if unknown:
        raise DataError(f"{what}: the file holds {listed(unknown)} that it does not have.")
    return {ours: state[name] for name, ours in names.items() if ours is not None}


def below(state: State, prefix: str) -> State:
    """Return the parameters that start with a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
