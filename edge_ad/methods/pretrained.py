"""Pretrained weights: read without running code, with errors that say what does not fit."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edge_ad.errors import DataError
from edge_ad.methods.layers.vit import ViT, fitted_positions
from edge_ad.methods.registry import METHODS

State = dict[str, Tensor]
_COUNTER = "num_batches_tracked"  # older checkpoints do not count batches
_BEYOND = (  # stages of ResNets and EfficientNets, where they are not used
    *("layer2", "layer3", "layer4", "fc"),
    *("blocks.5", "blocks.6", "conv_head", "bn2", "classifier", "_fc"),
)
_log = logging.getLogger(__name__)

# parts of parameter names by which files of others are recognised
_KNOWN = (
    ("fast_flow_blocks", "a FastFlow model of anomalib"),
    ("encoder_segment.", "DRAEM's discriminative network"),
    ("decoder.fin_out.", "DRAEM's reconstructive network"),
    ("segmentation_net.", "DeSTSeg of its authors"),
    ("patch_embed.proj", "a vision transformer"),
    ("layer1.0.conv3", "a ResNet of bottlenecks, like Wide ResNet-50"),
    ("layer1.0.conv1", "a ResNet of basic blocks, like ResNet-18"),
    ("blocks.1.0.conv_pwl", "an EfficientNet with timm's names"),
    ("_blocks.1._project_conv", "an EfficientNet"),
    ("attend.", "edge-ad's digit attention"),
)


def read_state(path: Path, what: str) -> State:
    """Return the tensors of a checkpoint, unwrapped from `state_dict`, `model` or `teacher`.

    Raises DataError when the file is missing, needs code to unpickle, or holds no tensors.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file. Expected the weights of {what}.")
    state = tensors_in(read_safely(path))
    if not state:
        raise DataError(f"{path}: holds no state dict of tensors; expected {what}.")
    return state


def read_safely(path: Path) -> Any:
    """Return what torch stored there, without running code.

    Raises DataError for a file that is cut off, of another kind, or that would run code.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle protocol
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for foreign bytes
        raise DataError(_unreadable(path, error)) from error


def fill(module: nn.Module, state: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Load all parameters of a module from a state that may hold more.

    Raises DataError naming parameters that are missing, misshapen, NaN or infinite, and what the
    file looks like.
    """
    missing, misshapen = _misfits(module, state)
    if missing or misshapen:
        raise DataError(
            f"{path}: does not hold {what}: {_clause('does not have', missing)}"
            f"{_clause('has in another shape', misshapen)}it looks like {looks_like(state)}."
        )
    expected = module.state_dict()
    broken = [k for k in expected if k in state and not bool(state[k].isfinite().all())]
    if broken:
        raise DataError(
            f"{path}: {_clause('has NaN or infinity in', broken)}a training that failed wrote it, "
            "or the file is corrupt. Get it again."
        )
    module.load_state_dict({**expected, **{k: state[k] for k in expected if k in state}})


def fill_trunk(trunk: nn.Module, state: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Fill the first stages of a network, as `fill` does; the file may hold stages behind them.

    A deeper network of the same family has all parameters, and more in the same stages: it would
    fit and compute nonsense, so it is refused. Names that no backbone has are logged and not used.
    """
    fill(trunk, state, path, what)
    if more := _more(trunk, state):
        raise DataError(
            f"{path}: does not hold {what}: {_clause('also has', more)}it is a deeper network of "
            "the same family."
        )
    known = {*map(_stage, trunk.state_dict()), *_BEYOND}
    if strange := [k for k in state if _stage(k) not in known]:
        _log.warning("%s: also holds %s, not used", path, listed(strange))


def fits(trunk: nn.Module, state: Mapping[str, Tensor]) -> bool:
    """Return whether `fill_trunk` would take a state, values aside."""
    return not any(_misfits(trunk, state)) and not _more(trunk, state)


def _misfits(module: nn.Module, state: Mapping[str, Tensor]) -> tuple[list[str], list[str]]:
    """Return the names of a module's parameters that a state lacks, and has in another shape."""
    expected = module.state_dict()
    missing = [k for k in expected if k not in state and not k.endswith(_COUNTER)]
    misshapen = [k for k in expected if k in state and state[k].shape != expected[k].shape]
    return missing, misshapen


def _more(trunk: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """Return the names in a trunk's stages that only a deeper network has."""
    expected = trunk.state_dict()
    stages = set(map(_stage, expected))
    more = (k for k in state if k not in expected and _stage(k) in stages)
    return [k for k in more if not k.endswith(_COUNTER)]


def _stage(name: str) -> str:
    """Return the stage of a parameter: `layer2` of a ResNet, `blocks.2` of an EfficientNet."""
    first, second = (*name.split("."), "")[:2]
    return f"{first}.{second}" if first == "blocks" else first


def fill_vit(vit: ViT, path: Path, what: str) -> None:
    """Fill a vision transformer from a file with DINO's names; fit positions to its grid."""
    state = {_bare(name): value for name, value in read_state(path, what).items()}
    embed = state.get("pos_embed")
    if embed is not None and embed.dim() == 3 and embed.shape[2] == vit.pos_embed.shape[2]:
        state["pos_embed"] = fitted_positions(embed, vit.grid_hw)
    fill(vit, state, path, what)


def looks_like(state: Mapping[str, Tensor]) -> str:
    """Return the network that the parameters' names belong to."""
    for entry in METHODS.values():
        if any(name.startswith(entry.parameter_prefix) for name in state):
            return f"edge-ad's own {entry.title}"
    for sign, what in _KNOWN:
        if any(sign in name for name in state):
            return what
    some = ", ".join(list(state)[:3])
    return f"nothing edge-ad knows; its first parameters are {some}"


def tensors_in(content: Any) -> State:
    """Return the first mapping of names to tensors, at the top or one level down."""
    if not isinstance(content, Mapping):
        return {}
    state = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
    if state:
        return state
    inner = (content.get(key) for key in ("state_dict", "model", "teacher", "student"))
    return next((tensors for part in inner if (tensors := tensors_in(part))), {})


def listed(names: list[str]) -> str:
    """Return the number of parameters and the first names: "5 parameters (a, b, c, ...)"."""
    count = "1 parameter" if len(names) == 1 else f"{len(names)} parameters"
    return f"{count} ({first_few(names)})"


def first_few(names: list[str]) -> str:
    """Return three names at most, and whether there are more: "a, b, c, ..."."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _bare(name: str) -> str:
    """Return a name without the prefixes of distributed training and of DINO's checkpoints."""
    for prefix in ("module.", "backbone."):
        name = name.removeprefix(prefix)
    return name


def _clause(verb: str, names: list[str]) -> str:
    if not names:
        return ""
    return f"it {verb} {listed(names)}; "


def _unreadable(path: Path, error: Exception) -> str:
    """Return our own message: torch's advice is to run the code."""
    if re.search(r"unsupported (global|class)|was not an allowed global", str(error), re.I):
        return (
            f"{path}: reading it would run code that is stored in it, which edge-ad refuses. Save "
            "only the tensors where the file was made: torch.save(model.state_dict(), FILE)."
        )
    return (
        f"{path}: cannot be read as PyTorch weights ({type(error).__name__}): it is cut off, "
        "another kind of file, or pickled code, which edge-ad never runs."
    )
