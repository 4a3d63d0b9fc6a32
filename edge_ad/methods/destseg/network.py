"""DeSTSeg (Zhang et al., CVPR 2023): a denoising student, a frozen teacher, a segmentation net.

The teacher is pretrained on ImageNet; the student learns to map an anomalous image to the teacher's
features of the normal one; a segmentation net reads where the two disagree (paper, section 3).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self, override

from edge_ad.manifest import Score
from edge_ad.methods.layers.backbone import CHANNELS, Backbone, build_trunk, input_norm
from edge_ad.methods.layers.blocks import SizeHW, check_top_k, default_top_k, unit
from edge_ad.methods.layers.feature_prior import FeaturePrior
from edge_ad.methods.layers.gaussian_distance import GaussianDistance
from edge_ad.methods.layers.patch_features import Cells, PatchFeatures
from edge_ad.methods.layers.patch_memory import PatchMemory, affordable_rows
from edge_ad.methods.layers.resnet import ResNet18, two_blocks
from edge_ad.methods.method import Config, Method

MOST_PIXELS = 3840  # TensorRT's TopK ends there
PRIOR = slice(1, 3)  # the teacher's levels that the prior reads, at 1/8 and 1/16
Branch = Literal["segmentation", "distance", "combined"]
Prior = Literal["none", "gaussian", "patchcore"]
Levels = list[Tensor]


class DeSTSegConfig(Config):
    """Configuration of the network.

    `backbone` is the teacher, ResNet-18 in the paper; `width` scales student and segmentation net.
    `branch` is the output that becomes the anomaly map, `auto` that of the segmentation net until
    training has measured which is best. The score is the mean of the `top_k` largest pixels; None
    scales the paper's 100 with the image area. `prior` adds the distance of the teacher's features
    to those of normal images, with `prior_cells` as in `scaled_cells`: to their `gaussian`, or to
    the nearest of `prior_rows` remembered ones as in `patchcore`; `auto` adds nothing until
    training has measured which is best. None takes as many rows as may cost `prior_share` of the
    teacher's operations.
    """

    backbone: Backbone = "resnet18"
    width: Annotated[float, Field(ge=0.0625, le=2.0)] = 1.0
    branch: Branch | Literal["auto"] = "segmentation"
    top_k: Annotated[int, Field(ge=1, le=MOST_PIXELS)] | None = 100
    prior: Prior | Literal["auto"] = "none"
    prior_cells: Cells = "plain"
    prior_rows: Annotated[int, Field(ge=1)] | None = None
    prior_share: Annotated[float, Field(gt=0, le=100)] = 0.2
    norm_eps: Annotated[float, Field(ge=1e-6, le=1e-2)] = (
        1e-6  # the paper code's 1e-12 is 0 in fp16
    )

    @override
    def for_size(self, size_hw: SizeHW) -> Self:
        changes: dict[str, object] = {"top_k": self.pixels(size_hw)}
        if self.prior in ("auto", "patchcore") and self.prior_rows is None:
            changes["prior_rows"] = _affordable_rows(self.backbone, self.prior_share, size_hw)
        return self.model_copy(update=changes)

    @property
    def channels(self) -> tuple[int, int, int]:
        """Channels of the teacher's levels."""
        return CHANNELS[self.backbone]

    @property
    def prior_channels(self) -> int:
        """Channels of the levels that a prior reads."""
        return sum(list(self.channels)[PRIOR])

    def pixels(self, size_hw: SizeHW) -> int:
        """Return how many of the largest pixels the score averages."""
        return self.top_k or default_top_k(size_hw)


class Student(nn.Module):
    """ResNet-18 encoder and mirrored decoder; outputs the teacher's three levels (section 3.1)."""

    def __init__(self, size_hw: SizeHW, width: float, teacher: tuple[int, int, int]) -> None:
        super().__init__()
        c1, c2, c3, c4 = (scaled(channels, width) for channels in (64, 128, 256, 512))
        self.sizes = level_sizes(size_hw)
        self.encoder = ResNet18((c1, c2, c3, c4))
        self.decoder4 = two_blocks(c4, c4)
        self.decoder3 = two_blocks(c4, c3)
        self.decoder2 = two_blocks(c3, c2)
        self.decoder1 = two_blocks(c2, c1)
        self.to_teacher = nn.ModuleList(map(_projection, (c1, c2, c3), teacher))

    def forward(self, rgb: Tensor) -> list[Tensor]:
        x = self.decoder4(self.encoder(rgb)[-1])
        levels: list[Tensor] = []
        for decoder, size in ((self.decoder3, 2), (self.decoder2, 1), (self.decoder1, 0)):
            x = decoder(_resize(x, self.sizes[size]))
            levels.insert(0, x)
        return [project(x) for project, x in zip(self.to_teacher, levels, strict=True)]


class Segmentation(nn.Module):
    """Residual blocks, ASPP (pooled and dilations 6, 12, 18) and a head: one logit per cell."""

    def __init__(self, size_hw: SizeHW, width: float, inputs: int) -> None:
        super().__init__()
        channels = scaled(256, width)
        self.size = level_sizes(size_hw)[0]
        self.res = two_blocks(inputs, channels)
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

    def __init__(self, config: DeSTSegConfig, size_hw: SizeHW) -> None:
        super().__init__()
        self.top_k = config.pixels(size_hw)
        check_top_k(self.top_k, size_hw)
        self.config, self.size_hw = config.for_size(size_hw), size_hw
        self.sizes = level_sizes(size_hw)
        self.teacher = build_trunk(config.backbone)
        self.student = Student(size_hw, config.width, config.channels)
        self.segmentation = Segmentation(size_hw, config.width, sum(config.channels))
        self.normalised = input_norm(config.backbone)
        _initialise(self)
        nearness = _nearness(self.config)  # drawn last, so that the rest is as without it
        self.prior = None if nearness is None else self.prior_of(nearness)
        self.teacher.requires_grad_(requires_grad=False)

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        teacher, student = self.levels(rgb)
        branch = self.config.branch
        anomaly_map = self.branch_map(branch, self.directions(teacher), self.directions(student))
        if self.prior is not None:
            anomaly_map = self.prior(teacher[PRIOR], anomaly_map)
        return anomaly_map, self.score(anomaly_map)

    def prior_of(self, nearness: nn.Module) -> FeaturePrior:
        """Return the prior of a distance of the teacher's features."""
        return FeaturePrior(nearness, self.sizes[1], self.size_hw, self.config.prior_cells)

    def branch_map(
        self, branch: Branch | Literal["auto"], teacher: Levels, student: Levels
    ) -> Tensor:
        """Return a branch's map (N, H, W) from the directions of teacher and student."""
        if branch == "distance":
            return self.distance(teacher, student)
        if branch == "combined":
            return self.probability(teacher, student) * self.distance(teacher, student)
        return self.probability(teacher, student)

    def features(self, rgb: Tensor) -> tuple[Levels, Levels]:
        """Return the three levels of teacher and student, of length 1 along the channels."""
        teacher, student = self.levels(rgb)
        return self.directions(teacher), self.directions(student)

    def levels(self, rgb: Tensor) -> tuple[Levels, Levels]:
        """Return the three levels of teacher and student."""
        x = self.normalised(rgb)
        return list(self.teacher(x)), self.student(x)

    def directions(self, levels: Iterable[Tensor]) -> Levels:
        """Return the levels scaled to length 1 along the channels."""
        return [unit(level, self.config.norm_eps) for level in levels]

    def agreement(self, teacher: Levels, student: Levels) -> Tensor:
        """Return channel-wise products (N, C, H/4, W/4), negative as in the code (eq. 2)."""
        products = [-t * s for t, s in zip(teacher, student, strict=True)]
        return torch.cat([_resize(product, self.sizes[0]) for product in products], dim=1)

    def probability(self, teacher: Levels, student: Levels) -> Tensor:
        """Return the segmentation net's map (N, H, W) in (0, 1)."""
        logits = self.segmentation(self.agreement(teacher, student))
        return _resize(torch.sigmoid(logits), self.size_hw)[:, 0]

    def distance(self, teacher: Levels, student: Levels) -> Tensor:
        """Return the paper's parameter-free map (N, H, W): the product of 1 - cosine.

        Levels are multiplied at a quarter of the size and then enlarged, as in the released code.
        """
        product = torch.ones((), device=teacher[0].device)
        for t, s in zip(teacher, student, strict=True):
            level = 1 - (t * s).sum(dim=1, keepdim=True)
            product = product * _resize(level, self.sizes[0])
        return _resize(product, self.size_hw)[:, 0]

    def score(self, anomaly_map: Tensor) -> Tensor:
        """Return the mean of the largest pixels (N,)."""
        return torch.topk(anomaly_map.flatten(1), self.top_k, dim=1).values.mean(dim=1)


def _nearness(config: DeSTSegConfig) -> nn.Module | None:
    """Return the prior's distance, which is not fitted yet; None without one, and for auto."""
    if config.prior == "gaussian":
        return GaussianDistance(config.prior_channels)
    if config.prior == "patchcore":
        return PatchMemory(config.prior_channels, config.prior_rows or 1)
    return None


def _affordable_rows(backbone: Backbone, share: float, size_hw: SizeHW) -> int:
    with torch.device("meta"):
        features = PatchFeatures(backbone, (2, 3))  # those of PRIOR
    return affordable_rows(features, share, size_hw)


def level_sizes(size_hw: SizeHW) -> tuple[SizeHW, ...]:
    """Return heights and widths of ResNet-18's stages: 1/4, 1/8, 1/16, 1/32, rounded up."""
    height, width = size_hw
    return tuple((-(-height // step), -(-width // step)) for step in (4, 8, 16, 32))


def scaled(channels: int, width: float) -> int:
    """Return channels times width, in multiples of 8 for vector units."""
    return max(8, round(channels * width / 8) * 8)


def _projection(channels: int, teacher: int) -> nn.Module:
    return nn.Identity() if channels == teacher else nn.Conv2d(channels, teacher, 1)


def _conv_bn_relu(inputs: int, outputs: int, kernel: int = 3, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, 1, padding, dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def _resize(x: Tensor, size: SizeHW) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def _initialise(net: DeSTSeg) -> None:
    """Draw student and residual blocks from Kaiming normal (fan-out); keep the rest."""
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
    score=lambda config, size_hw: Score(top_k=config.pixels(size_hw)),
)
