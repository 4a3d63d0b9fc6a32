"""Pretrained weights for the frozen backbones that methods share."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from edge_ad.errors import UsageError
from edge_ad.methods.layers.resnet import WHERE, ResNet18, load_resnet18
from edge_ad.methods.pretrained import fill_trunk, read_state


def load_backbone(backbone: nn.Module, path: Path | None, method: str) -> None:
    """Fill a ResNet-18 or Wide ResNet-50-2 from torchvision's state dict.

    Raises UsageError, which names the method, when there is no file.
    """
    light = isinstance(backbone, ResNet18)
    if path is None:
        name = "resnet18" if light else "wide_resnet50_2"
        lighter = "" if light else "A light one: --set network.backbone=resnet18. "
        raise UsageError(
            f"{method} needs the weights of its backbone {name}: --teacher FILE, torchvision's "
            f"state dict. {lighter}{WHERE}"
        )
    if isinstance(backbone, ResNet18):
        load_resnet18(backbone, path)
    else:
        what = "torchvision's Wide ResNet-50-2 up to layer3"
        fill_trunk(backbone, read_state(path, what), path, what)
