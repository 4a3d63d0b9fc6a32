"""Wide ResNet-50-2's first three stages, torchvision's parameter names (Zagoruyko, 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STAGES = ((64, 3), (128, 4), (256, 6))  # base width and blocks of each stage


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; twice as wide inside as ResNet-50."""

    def __init__(self, inputs: int, base: int, stride: int = 1) -> None:
        super().__init__()
        inner, outputs = 2 * base, 4 * base
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        around = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return torch.relu(self.bn3(self.conv3(x)) + around)


class WideResNet50(nn.Module):
    """(N, 3, H, W) -> feature maps of 256, 512 and 1024 channels at 1/4, 1/8, 1/16."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for number, (base, blocks) in enumerate(STAGES, 1):
            first = Bottleneck(inputs, base, 1 if number == 1 else 2)
            rest = [Bottleneck(4 * base, base) for _ in range(blocks - 1)]
            self.add_module(f"layer{number}", nn.Sequential(first, *rest))
            inputs = 4 * base

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        features = []
        for number in range(1, len(STAGES) + 1):
            x = self.get_submodule(f"layer{number}")(x)
            features.append(x)
        return tuple(features)
