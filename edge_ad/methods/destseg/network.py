"""DeSTSeg (Zhang et al., CVPR 2023): a denoising student, a frozen teacher, a segmentation net.

The teacher knows clean images from ImageNet; the student learns to answer a damaged image with the
teacher's clean features; a segmentation net reads where the two disagree (paper, section 3).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.errors import UsageError
from edge_ad.manifest import Score
from edge_ad.methods.layers.resnet import ResNet18, two_blocks
from edge_ad.methods.method import Config, Method

TEACHER = (64, 128, 256)
Branch = Literal["segmentation", "distance", "combined"]
SizeHW = tuple[int, int]
Levels = list[Tensor]


class DeSTSegConfig(Config):
    """What shapes the network.

    `width` scales student and segmentation net, `branch` chooses what becomes the anomaly map,
    `top_k` counts the largest pixels whose mean is the score.
    """

    width: Annotated[float, Field(ge=0.0625, le=2.0)] = 1.0
    branch: Branch = "segmentation"
    top_k: Annotated[int, Field(ge=1, le=3840)] = 100  # TensorRT's TopK ends at 3840
    norm_eps: Annotated[float, Field(ge=1e-6, le=1e-2)] = (
        1e-6  # the paper code's 1e-12 is 0 in fp16
    )


class Student(nn.Module):
    """ResNet-18 encoder and mirrored decoder; answers the teacher's three levels (section 3.1)."""

    def __init__(self, size_hw: SizeHW, width: float) -> None:
        super().__init__()
        c1, c2, c3, c4 = (scaled(channels, width) for channels in (64, 128, 256, 512))
        self.sizes = level_sizes(size_hw)
        self.encoder = ResNet18((c1, c2, c3, c4))
        self.decoder4 = two_blocks(c4, c4)
        self.decoder3 = two_blocks(c4, c3)
        self.decoder2 = two_blocks(c3, c2)
        self.decoder1 = two_blocks(c2, c1)
        self.to_teacher = nn.ModuleList(map(_projection, (c1, c2, c3), TEACHER))

    def forward(self, rgb: Tensor) -> list[Tensor]:
        x = self.decoder4(self.encoder(rgb)[-1])
        levels: list[Tensor] = []
        for decoder, size in ((self.decoder3, 2), (self.decoder2, 1), (self.decoder1, 0)):
            x = decoder(_resize(x, self.sizes[size]))
            levels.insert(0, x)
        return [project(x) for project, x in zip(self.to_teacher, levels, strict=True)]


class Segmentation(nn.Module):
    """Residual blocks, ASPP (pooled and dilations 6, 12, 18) and a head: one logit a cell."""

    def __init__(self, size_hw: SizeHW, width: float) -> None:
        super().__init__()
        channels = scaled(256, width)
        self.size = level_sizes(size_hw)[0]
        self.res = two_blocks(sum(TEACHER), channels)
        self.pooled = _conv_bn_relu(channels, channels, kernel=1)
        self.dilated = nn.ModuleList(
            _conv_bn_relu(channels, channels, dilation=dilation) for dilation in (6, 12, 18)
        )
        self.merge = _conv_bn_relu(4 * channels, channels)
        self.head = nn.Sequential(_conv_bn_relu(channels, channels), nn.Conv2d(channels, 1, 1))

    def forward(self, agreement: Tensor) -> Tensor:
        x = self.res(agreement)
        pooled = self.pooled(x.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *self.size)
        x = torch.cat([pooled, *(branch(x) for branch in self.dilated)], dim=1)
        logits: Tensor = self.head(self.merge(x))
        return logits  # (N, 1, H/4, W/4)


class DeSTSeg(nn.Module):
    """rgb float32 (N, 3, H, W) in [0, 1] -> anomaly_map float32 (N, H, W), anomaly_score (N,).

    The map of branch `segmentation` is a probability; that of `distance` the product of the three
    levels' cosine distances; that of `combined` the product of both. Only what the branch needs is
    computed.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: DeSTSegConfig, size_hw: SizeHW) -> None:
        super().__init__()
        _check_top_k(config, size_hw)
        self.config, self.size_hw = config, size_hw
        self.sizes = level_sizes(size_hw)
        self.teacher = ResNet18(TEACHER)
        self.student = Student(size_hw, config.width)
        self.segmentation = Segmentation(size_hw, config.width)
        self.register_buffer("mean", _per_channel(0.485, 0.456, 0.406), persistent=False)
        self.register_buffer("std", _per_channel(0.229, 0.224, 0.225), persistent=False)
        _initialise(self)
        self.teacher.requires_grad_(requires_grad=False)

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        teacher, student = self.features(rgb)
        anomaly_map = self.branch_map(self.config.branch, teacher, student)
        return anomaly_map, self.score(anomaly_map)

    def branch_map(self, branch: Branch, teacher: Levels, student: Levels) -> Tensor:
        """(N, H, W): what a branch makes of the directions of teacher and student."""
        if branch == "segmentation":
            return self.probability(teacher, student)
        if branch == "distance":
            return self.distance(teacher, student)
        return self.probability(teacher, student) * self.distance(teacher, student)

    def features(self, rgb: Tensor) -> tuple[Levels, Levels]:
        """The three levels of teacher and student, each of length 1 along the channels."""
        x = self.normalised(rgb)
        return self.directions(self.teacher(x)), self.directions(self.student(x))

    def normalised(self, rgb: Tensor) -> Tensor:
        """ImageNet's mean and spread removed."""
        return (rgb - self.mean) / self.std

    def directions(self, levels: Iterable[Tensor]) -> Levels:
        return [unit(level, self.config.norm_eps) for level in levels]

    def agreement(self, teacher: Levels, student: Levels) -> Tensor:
        """(N, 448, H/4, W/4): channel-wise products, negative as in the authors' code (eq. 2)."""
        products = [-t * s for t, s in zip(teacher, student, strict=True)]
        return torch.cat([_resize(product, self.sizes[0]) for product in products], dim=1)

    def probability(self, teacher: Levels, student: Levels) -> Tensor:
        """(N, H, W) in (0, 1): the segmentation net's answer."""
        logits = self.segmentation(self.agreement(teacher, student))
        return _resize(torch.sigmoid(logits), self.size_hw)[:, 0]

    def distance(self, teacher: Levels, student: Levels) -> Tensor:
        """(N, H, W): product over the levels of 1 - cosine, the paper's parameter-free map."""
        product = torch.ones((), device=self.mean.device)
        for t, s in zip(teacher, student, strict=True):
            level = 1 - (t * s).sum(dim=1, keepdim=True)
            product = product * _resize(level, self.size_hw)
        return product[:, 0]

    def score(self, anomaly_map: Tensor) -> Tensor:
        """(N,): mean of the largest pixels."""
        return torch.topk(anomaly_map.flatten(1), self.config.top_k, dim=1).values.mean(dim=1)


def level_sizes(size_hw: SizeHW) -> tuple[SizeHW, ...]:
    """Heights and widths of ResNet-18's stages: 1/4, 1/8, 1/16, 1/32, rounded up."""
    height, width = size_hw
    return tuple((-(-height // step), -(-width // step)) for step in (4, 8, 16, 32))


def scaled(channels: int, width: float) -> int:
    """Channels times width, in steps of 8 that vector units like."""
    return max(8, round(channels * width / 8) * 8)


def unit(x: Tensor, eps: float) -> Tensor:
    """Length 1 along the channels; all-zero vectors stay zero, in half precision too."""
    return x * torch.rsqrt((x * x).sum(dim=1, keepdim=True) + eps)


def default_top_k(size_hw: SizeHW) -> int:
    """The paper code's T = 100 at 256x256, scaled with the area."""
    return min(3840, max(1, round(100 * size_hw[0] * size_hw[1] / 256**2)))


def _check_top_k(config: DeSTSegConfig, size_hw: SizeHW) -> None:
    if config.top_k > size_hw[0] * size_hw[1]:
        raise UsageError(
            f"top_k {config.top_k} exceeds the pixels of a {size_hw[0]}x{size_hw[1]} map; "
            "give a smaller one."
        )


def _projection(channels: int, teacher: int) -> nn.Module:
    return nn.Identity() if channels == teacher else nn.Conv2d(channels, teacher, 1)


def _conv_bn_relu(inputs: int, outputs: int, kernel: int = 3, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, 1, padding, dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def _resize(x: Tensor, size: SizeHW) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def _per_channel(*values: float) -> Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)


def _initialise(net: DeSTSeg) -> None:
    """Kaiming normal (fan-out) for student and residual blocks; the rest keeps torch's own."""
    for part in (net.student, net.segmentation.res):
        for module in part.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    for name, parameter in net.student.encoder.named_parameters():
        if name.endswith("bn2.weight"):
            nn.init.zeros_(parameter)  # every encoder block starts as its shortcut


METHOD = Method(
    name="destseg",
    config=DeSTSegConfig,
    build=DeSTSeg,
    score=lambda config: Score(top_k=config.top_k),
)
