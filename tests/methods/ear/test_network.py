"""EAR: what is hidden, what restores it, and what both cost."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.errors import UsageError
from edge_ad.methods.ear.digit_attention import DigitAttention
from edge_ad.methods.ear.network import EAR, METHOD, EARConfig, SkipOff, UNet
from edge_ad.methods.layers.vit import SHAPES, TransformerBlock, ViT, ViTShape, fitted_positions
from tests.methods.network_checks import (
    SIZE,
    check_contract,
    check_parity,
    gflops,
    millions,
    shaken,
)

WIDTHS = (8, 8, 16, 16)
SMALL = EARConfig(attention="none", widths=WIDTHS, mosaic_px=4)
TINY_VIT = ViTShape(patch=8, width=24, heads=3, depth=2)


@pytest.fixture(autouse=True)
def tiny_vit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHAPES, "dino_vits8", TINY_VIT)


@pytest.mark.parametrize(
    ("widths", "parameters", "cost"),
    [
        ((64, 128, 256, 512), 9.34, 103.1),
        ((64, 128, 256, 512, 512), 25.87, 126.1),
        ((32, 64, 128, 256, 512), 9.42, 34.1),
    ],
)
def test_cost_of_the_unet(widths: tuple[int, ...], parameters: float, cost: float) -> None:
    with torch.device("meta"):
        net = UNet(widths, 0.01)
        assert gflops(net) == pytest.approx(cost, abs=0.06)
    assert millions(net) == pytest.approx(parameters, abs=0.006)


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        (ViTShape(8, 384, 6), 21.67),
        (ViTShape(16, 384, 6), 21.67),
        (ViTShape(8, 768, 12), 85.81),
    ],
)
def test_cost_of_the_attention(shape: ViTShape, parameters: float) -> None:
    with torch.device("meta"):
        assert millions(ViT(shape, (224, 224))) == pytest.approx(parameters, abs=0.006)


def test_salient_pixels_show_tile_means_and_the_rest_is_unchanged() -> None:
    net = EAR(EARConfig(attention="mnist", widths=WIDTHS, mosaic_px=4), SIZE)
    rgb = torch.rand(2, 3, *SIZE)
    salient = net.salient(rgb)
    assert salient is not None
    excised = net.excise(rgb, salient)
    hidden = salient.expand_as(rgb) > 0
    assert 0 < hidden.float().mean().item() < 1
    assert (excised[~hidden] == rgb[~hidden]).all()
    tiles = F.avg_pool2d(rgb, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(excised[hidden], tiles[hidden])


def test_without_attention_the_whole_image_is_hidden() -> None:
    net = EAR(SMALL, SIZE)
    rgb = torch.rand(1, 3, *SIZE)
    tiles = net.excise(rgb, net.salient(rgb)).unfold(2, 4, 4).unfold(3, 4, 4).flatten(4)
    torch.testing.assert_close(tiles.amax(-1), tiles.amin(-1))


def test_zero_obfuscation_zeroes_salient_pixels() -> None:
    net = EAR(EARConfig(attention="mnist", obfuscation="zero", widths=WIDTHS, mosaic_px=4), SIZE)
    rgb = torch.rand(1, 3, *SIZE)
    salient = net.salient(rgb)
    assert salient is not None
    assert not net.excise(rgb, salient)[salient.expand_as(rgb) > 0].any()


def test_the_threshold_ignores_brightness_and_scale_of_the_attention() -> None:
    net = EAR(EARConfig(attention="mnist", widths=WIDTHS, mosaic_px=4), SIZE)

    class Half(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            ramp = torch.linspace(0, 1, 24).view(1, 1, 1, 24).expand(len(x), 1, 16, 24)
            return ramp * 1e-5 + 1e-3

    net.attention = Half()
    salient = net.salient(torch.rand(1, 3, *SIZE))
    assert salient is not None
    assert salient.mean().item() == pytest.approx(0.5 - 0.674 / 12**0.5, abs=0.01)


@pytest.mark.parametrize(("off", "level"), [("shallow", 0), ("middle", 1), ("deep", 2)])
def test_a_skip_that_is_off_equals_one_filled_with_zeros(off: SkipOff, level: int) -> None:
    net = UNet(WIDTHS, 0.01).eval()
    x = torch.rand(1, 3, *SIZE)

    def silence(module: object, inputs: object, output: tuple[Tensor, Tensor]) -> object:
        return output[0] * 0, output[1]

    with torch.no_grad():
        without = net(x, level)
        net.encoder[level].register_forward_hook(silence)
        torch.testing.assert_close(without, net(x), atol=1e-6, rtol=1e-5)


def test_skips_are_on_while_training() -> None:
    torch.manual_seed(0)
    switched = EAR(SMALL.model_copy(update={"skip_off": "shallow"}), SIZE)
    plain = EAR(SMALL, SIZE)
    plain.load_state_dict(switched.state_dict())
    rgb = torch.rand(2, 3, *SIZE)
    with torch.no_grad():
        torch.testing.assert_close(switched.train()(rgb)[0], plain.train()(rgb)[0])
        assert not torch.equal(switched.eval()(rgb)[0], plain.eval()(rgb)[0])


def test_the_class_row_is_the_attention_of_the_whole_block() -> None:
    """Against torch's own attention with the same weights."""
    torch.manual_seed(0)
    block = TransformerBlock(24, 3).eval()
    oracle = torch.nn.MultiheadAttention(24, 3, batch_first=True).eval()
    with torch.no_grad():
        assert oracle.in_proj_weight is not None and oracle.in_proj_bias is not None
        oracle.in_proj_weight.copy_(block.attn.qkv.weight)
        oracle.in_proj_bias.copy_(block.attn.qkv.bias)
        oracle.out_proj.load_state_dict(block.attn.proj.state_dict())
        x = torch.randn(2, 7, 24)
        mixed, weights = oracle(x, x, x, average_attn_weights=False)
        torch.testing.assert_close(block.attn.cls_row(x), weights[:, :, 0, 1:])
        torch.testing.assert_close(block.attn(x), mixed)


def test_positions_keep_their_values_on_their_own_grid_and_grow_to_others() -> None:
    embed = torch.randn(1, 1 + 28 * 28, 24)
    assert fitted_positions(embed, (28, 28)) is embed
    assert fitted_positions(embed, (32, 16)).shape == (1, 1 + 32 * 16, 24)


def test_attention_is_never_trained() -> None:
    net = EAR(EARConfig(attention="dino_vits8", widths=WIDTHS), SIZE).train()
    assert net.attention is not None and not net.attention.training
    assert not any(parameter.requires_grad for parameter in net.attention.parameters())


def test_digit_attention_sums_to_one_and_classifies() -> None:
    net = DigitAttention()
    attention = net(torch.rand(2, 3, 28, 28))
    assert attention.shape == (2, 1, 7, 7)
    torch.testing.assert_close(attention.sum(dim=(2, 3)), torch.ones(2, 1))
    assert net.digits(torch.rand(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize("attention", ["none", "mnist", "dino_vits8"])
def test_the_contract_holds(attention: str) -> None:
    config = EARConfig(attention=attention, widths=WIDTHS, mosaic_px=4)  # type: ignore[arg-type]
    check_contract(shaken(EAR(config, SIZE)), METHOD.score(config, SIZE))


@pytest.mark.slow
@pytest.mark.parametrize(("attention", "skip_off"), [("mnist", "shallow"), ("dino_vits8", "none")])
def test_onnx_runtime_agrees_with_torch(tmp_path: Path, attention: str, skip_off: str) -> None:
    config = EARConfig(
        attention=attention,  # type: ignore[arg-type]
        skip_off=skip_off,  # type: ignore[arg-type]
        widths=WIDTHS,
        mosaic_px=4,
        smooth_sigma=1.0,
    )
    check_parity(shaken(EAR(config, SIZE)), tmp_path)


def test_a_size_the_mosaic_does_not_divide_is_refused() -> None:
    with pytest.raises(UsageError, match=r"multiples of 64.*got 96 x 96"):
        EAR(EARConfig(attention="none", widths=WIDTHS, mosaic_px=64), (96, 96))


def test_a_skip_that_the_unet_does_not_have_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'deep'.*has 2"):
        EAR(EARConfig(attention="none", widths=(8, 8, 8), skip_off="deep"), SIZE)


def test_the_score_is_the_mean_of_the_largest_pixels() -> None:
    values = torch.arange(64.0).view(1, 8, 8)
    for top_k, score in ((1, 63.0), (4, 61.5)):
        config = EARConfig(attention="none", widths=(4, 4), mosaic_px=2, top_k=top_k)
        assert EAR(config, (8, 8)).score(values).item() == score


def test_a_score_of_more_pixels_than_the_map_has_is_refused() -> None:
    config = EARConfig(attention="none", widths=(4, 4), mosaic_px=2, top_k=65)
    with pytest.raises(UsageError, match="top_k 65 exceeds the pixels of a 8x8 map"):
        EAR(config, (8, 8))
