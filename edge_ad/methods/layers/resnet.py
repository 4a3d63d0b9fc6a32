"""ResNet-18's trunk with torchvision's parameter names (He et al., CVPR 2016, table 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

WHERE = (
    "Get torchvision's ResNet-18 (IMAGENET1K_V1) on a machine with torchvision:\n"
    '  python -c "import torch, torchvision; torch.save('
    "torchvision.models.resnet18(weights='IMAGENET1K_V1').state_dict(), 'resnet18.pth')\"\n"
    "or download https://download.pytorch.org/models/resnet18-f37072fd.pth, and name it "
    "with --teacher."
)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is 1x1 where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        around = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x)) + around)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def two_blocks(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return one stage of ResNet-18."""
    return nn.Sequential(BasicBlock(inputs, outputs, stride), BasicBlock(outputs, outputs))


class ResNet18(nn.Module):
    """Stem and the first stages; `channels` names each stage's width.

    (N, 3, H, W) -> one feature map a stage, at 1/4, 1/8, 1/16, 1/32 of the input, rounded up.
    """

    def __init__(self, channels: Sequence[int] = (64, 128, 256, 512)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self._stages = tuple(f"layer{k}" for k in range(1, len(channels) + 1))
        inputs = channels[0]
        for name, outputs in zip(self._stages, channels, strict=True):
            self.add_module(name, two_blocks(inputs, outputs, 1 if name == "layer1" else 2))
            inputs = outputs

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        features = []
        for name in self._stages:
            x = self.get_submodule(name)(x)
            features.append(x)
        return tuple(features)
