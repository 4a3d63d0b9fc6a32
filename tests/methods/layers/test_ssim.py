"""SSIM and gradient similarity against what is known of them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from edge_ad.methods.layers.msgms import MSGMS
from edge_ad.methods.layers.ssim import gaussian, ssim_loss


def _images(seed: int) -> torch.Tensor:
    return torch.rand(2, 3, 32, 40, generator=torch.Generator().manual_seed(seed))


def test_equal_images_have_no_loss() -> None:
    a = _images(0)
    assert ssim_loss(a, a).item() == pytest.approx(0, abs=1e-5)


def test_ssim_follows_its_formula_with_a_square_window() -> None:
    """The definition written out with one 11x11 window per channel."""
    a, b = _images(1).double(), _images(2).double()
    window = torch.outer(gaussian(11, 1.5), gaussian(11, 1.5)).double().repeat(3, 1, 1, 1)

    def mean(x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, window, padding=5, groups=3)

    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    c1, c2 = 1e-4, 9e-4
    expected = (2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    assert ssim_loss(a, b).item() == pytest.approx(1 - expected.mean().item(), abs=1e-6)


def test_ssim_of_the_inverse_is_negative() -> None:
    a = _images(3)
    assert ssim_loss(a, 1 - a).item() > 1


def test_msgms_of_equal_images_is_zero_everywhere() -> None:
    a = _images(4)
    error = MSGMS()(a, a)
    assert error.shape == (2, 1, 32, 40)
    assert error.abs().max().item() < 1e-6


def test_msgms_detects_a_lost_edge_and_ignores_brightness() -> None:
    a = torch.full((1, 3, 32, 32), 0.3)
    a[:, :, :, 16:] = 0.6
    brighter, flat = a + 0.2, torch.full_like(a, 0.45)
    inner = slice(6, 26)  # away from the rim, where zero padding makes an edge of its own
    error = MSGMS()(a, brighter)[:, :, inner, inner]
    assert error.max().item() < 1e-5
    lost = MSGMS()(a, flat)[0, 0, inner]
    assert lost[:, 15:17].mean().item() > 0.9 and lost[:, 8].max().item() < 0.4


def test_msgms_of_one_scale_is_the_ratio_of_gradients() -> None:
    a = torch.arange(16.0).repeat(16, 1).mul(0.02).view(1, 1, 16, 16)
    b = a * 0.5
    ga, gb, c = 0.04, 0.02, 0.0026  # Prewitt over three rows of a ramp: twice its slope
    expected = 1 - (2 * ga * gb + c) / (ga**2 + gb**2 + c)
    assert MSGMS(scales=1)(a, b)[0, 0, 8, 8].item() == pytest.approx(expected, abs=1e-3)
