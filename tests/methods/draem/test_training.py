"""DRAEM's losses, schedule and texture augmenter."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from edge_ad.methods.draem.network import DRAEM, DRAEMConfig, default_mean_filter
from edge_ad.methods.draem.training import DRAEMSettings, DRAEMTrainer
from edge_ad.methods.layers.ssim import ssim_loss
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.losses import smooth_focal_loss
from edge_ad.synthesis.anomalies import synthesize
from edge_ad.synthesis.augment import (
    OPERATIONS,
    AugmentedTextures,
    Operation,
    augment,
    autocontrast,
    gamma,
)
from edge_ad.synthesis.textures import ProceduralTextures

SMALL = DRAEMSettings(network=DRAEMConfig(rec_base=4, seg_base=4, mean_filter_px=None))


def _batch(seed: int = 0) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    normal = torch.rand(2, 3, 32, 32, generator=rng)
    mask = torch.zeros(2, 1, 32, 32)
    mask[0, :, 4:12, 6:20] = 1
    return Batch(normal, torch.where(mask > 0, 1 - normal, normal), mask, torch.arange(2))


def test_focal_loss_of_a_uniform_output_is_known() -> None:
    mask = (torch.rand(2, 1, 8, 8) > 0.5).float()
    loss = smooth_focal_loss(torch.zeros(2, 2, 8, 8), mask, 2.0, 1e-5)
    assert loss.item() == pytest.approx(0.17327, abs=2e-5)


def test_focal_loss_follows_the_released_formula() -> None:
    """One pixel worked by hand: logits 0 and 1, the pixel anomalous."""
    logits = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)
    p0, p1 = 1 / (1 + np.e), np.e / (1 + np.e)
    pt = 1e-5 * p0 + (1 - 1e-5) * p1 + 1e-5
    expected = -((1 - pt) ** 2) * np.log(pt)
    loss = smooth_focal_loss(logits, torch.ones(1, 1, 1, 1), 2.0, 1e-5)
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_gradients_of_the_focal_loss_reach_the_reconstructive_network() -> None:
    trainer = DRAEMTrainer(SMALL, (32, 32), None)
    trainer.begin("both")
    trainer.losses("both", _batch())["focal"].backward()  # type: ignore[no-untyped-call]
    gradient = trainer.module.reconstructive.out.weight.grad
    assert gradient is not None and gradient.abs().sum().item() > 0


@pytest.mark.slow
def test_a_few_steps_lower_the_loss() -> None:
    torch.manual_seed(0)
    trainer = DRAEMTrainer(SMALL.model_copy(update={"lr": 1e-2}), (32, 32), None)
    optimizer = trainer.begin("both")
    totals = []
    for _ in range(12):
        optimizer.zero_grad()
        total = torch.stack(list(trainer.losses("both", _batch()).values())).sum()
        torch.autograd.backward(total)
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.8 * totals[0]


def test_repair_is_compared_with_the_normal_image_in_the_networks_colour_order() -> None:
    class Perfect(DRAEM):
        def logits(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return _batch().normal.flip(1), torch.zeros(2, 2, 32, 32)

    trainer = DRAEMTrainer(SMALL, (32, 32), None)
    trainer.module = Perfect(trainer.module.config, (32, 32))
    losses = trainer.losses("both", _batch())
    assert losses["l2"].item() == 0 and losses["ssim"].item() == pytest.approx(0, abs=1e-5)


def test_the_published_schedule_is_700_epochs_of_the_images_at_hand() -> None:
    trainer = DRAEMTrainer(SMALL, (32, 32), None)
    trainer.expect(209)  # bottles of MVTec AD, in batches of 8
    assert trainer.phases[0].steps == 700 * 27
    given = DRAEMTrainer(SMALL.model_copy(update={"steps": 50}), (32, 32), None)
    given.expect(209)
    assert given.phases[0].steps == 50


@pytest.mark.parametrize(("lowest", "data_range"), [(-0.49, 1.0), (-0.51, 2.0)])
def test_the_range_of_the_similarity_is_that_of_the_released_code(
    lowest: float, data_range: float
) -> None:
    repair = torch.rand(2, 3, 32, 32)
    repair[0, 0, 0, 0] = lowest

    class Fixed(DRAEM):
        def logits(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return repair, torch.zeros(2, 2, 32, 32)

    trainer = DRAEMTrainer(SMALL, (32, 32), None)
    trainer.module = Fixed(trainer.module.config, (32, 32))
    loss = trainer.losses("both", _batch())["ssim"]
    expected = ssim_loss(repair, _batch().normal.flip(1), data_range=data_range)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)


def test_gamma_cuts_values_off_and_autocontrast_stretches_each_channel_by_itself() -> None:
    rng = np.random.default_rng(0)
    tile = np.stack([rng.integers(low, low + 40, (64, 64)) for low in (0, 100, 180)], axis=-1)
    stretched = autocontrast(tile.astype(np.uint8), np.random.default_rng(1))
    assert [int(channel.min()) for channel in np.moveaxis(stretched, -1, 0)] == [0, 0, 0]
    assert [int(channel.max()) for channel in np.moveaxis(stretched, -1, 0)] == [255, 255, 255]
    powers = np.random.default_rng(2).uniform(0.5, 2.0, 3)
    changed = gamma(tile.astype(np.uint8), np.random.default_rng(2))
    assert np.array_equal(changed, np.floor(255 * (tile / 255) ** powers).astype(np.uint8))


def test_the_rate_falls_to_a_fifth_twice() -> None:
    rates = [SMALL.rate(done) for done in (0.0, 0.79, 0.8, 0.89, 0.9, 0.99)]
    assert rates == pytest.approx([1, 1, 0.2, 0.2, 0.04, 0.04])
    tailed = SMALL.model_copy(update={"lr_tail": 0.2})
    assert tailed.rate(0.9) == pytest.approx(0.5 * 0.04)


def test_each_weight_is_that_of_its_loss() -> None:
    trainer = DRAEMTrainer(SMALL, (32, 32), None)
    before = trainer.losses("both", _batch())
    trainer.settings = SMALL.model_copy(update={"l2": 2.0, "ssim": 3.0, "focal": 4.0})
    after = trainer.losses("both", _batch())
    for name, weight in (("l2", 2), ("ssim", 3), ("focal", 4)):
        assert after[name].item() == pytest.approx(weight * before[name].item(), rel=1e-4), name


@pytest.mark.parametrize(("side", "filter_px"), [(256, 21), (128, 11), (512, 41), (32, 3)])
def test_the_mean_filter_scales_with_the_image_and_stays_odd(side: int, filter_px: int) -> None:
    assert default_mean_filter((side, side)) == filter_px


def test_about_half_of_the_samples_are_anomalous() -> None:
    rng = np.random.default_rng(0)
    tile = np.full((64, 64, 3), 90, np.uint8)
    textures = ProceduralTextures((64, 64))
    samples = [synthesize(tile, textures, SMALL.synthesis, rng, grey=False) for _ in range(300)]
    share = np.mean([sample.mask.any() for sample in samples])
    assert 0.40 < share < 0.54


def _texture() -> np.ndarray:
    return ProceduralTextures((40, 48)).draw(np.random.default_rng(1))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_an_operation_keeps_shape_and_type_and_follows_its_seed(operation: Operation) -> None:
    texture = _texture()
    kept = texture.copy()
    first = operation(texture, np.random.default_rng(3))
    again = operation(texture, np.random.default_rng(3))
    assert first.shape == texture.shape and first.dtype == np.uint8
    assert np.array_equal(first, again) and np.array_equal(texture, kept)


def test_operations_do_what_their_names_say() -> None:
    texture, named = _texture(), {operation.__name__: operation for operation in OPERATIONS}
    rng = np.random.default_rng
    assert np.array_equal(named["invert"](texture, rng(0)), 255 - texture)
    assert len(np.unique(named["posterise"](texture, rng(2)))) <= len(np.unique(texture))
    ends = np.percentile(named["autocontrast"](texture, rng(0)), (0, 100))
    assert tuple(ends) == (0, 255)
    assert np.array_equal(
        named["equalise"](texture, rng(0))[..., 1],
        cv2.equalizeHist(np.ascontiguousarray(texture[..., 1])),
    )
    corner = named["rotation"](np.full((40, 40, 3), 200, np.uint8), rng(0))[0, 0]
    assert not corner.any()


def test_three_different_operations_are_applied() -> None:
    changed = [augment(_texture(), np.random.default_rng(seed)) for seed in range(20)]
    assert len({image.tobytes() for image in changed}) > 15


def test_textures_are_augmented_unless_switched_off() -> None:
    textures = ProceduralTextures((32, 32))
    assert isinstance(SMALL.prepare_textures(textures), AugmentedTextures)
    off = SMALL.model_copy(update={"texture_augmentation": False})
    assert off.prepare_textures(textures) is textures
