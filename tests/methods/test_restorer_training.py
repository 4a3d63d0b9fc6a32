"""Training of the methods that restore images: EAR and PMB (reconstructed)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from edge_ad.errors import DataError
from edge_ad.methods.ear.digit_attention import DigitAttention
from edge_ad.methods.ear.network import EARConfig, default_mosaic
from edge_ad.methods.ear.training import EARSettings, EARTrainer
from edge_ad.methods.layers.vit import ViT, ViTShape
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.branch_selection import measure
from edge_ad.methods.learning.losses import restoration_losses
from edge_ad.methods.pmb.network import PMBConfig
from edge_ad.methods.pmb.training import PMBSettings, PMBTrainer
from edge_ad.methods.pretrained import fill, fill_vit, read_state
from edge_ad.synthesis.anomalies import SynthesisConfig

EAR_CONFIG = EARConfig(attention="none", widths=(4, 4, 8, 8), mosaic_px=4)
PMB_CONFIG = PMBConfig(
    widths=(4, 4, 8, 8),
    bottleneck=8,
    partitions=(2, 2, 2, 2),
    items=4,
    top_k=20,
    smooth_sigma=None,
)
EAR, PMB = EARSettings(network=EAR_CONFIG), PMBSettings(network=PMB_CONFIG)


def _ear(**changes: Any) -> EARSettings:
    return EAR.model_copy(update={"network": EAR_CONFIG.model_copy(update=changes)})


def _pmb(**changes: Any) -> PMBSettings:
    return PMB.model_copy(update={"network": PMB_CONFIG.model_copy(update=changes)})


def _batch() -> Batch:
    normal = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(4, 1, 32, 32)
    mask[:, :, 8:16, 8:16] = 1
    return Batch(normal, torch.where(mask > 0, 1 - normal, normal), mask, torch.arange(4))


def test_ears_rate_warms_up_and_falls_to_a_fifth() -> None:
    settings = EAR.model_copy(update={"warmup": 0.1})
    rates = [settings.rate(done) for done in (0.0, 0.05, 0.1, 0.55, 1.0)]
    assert rates == pytest.approx([0.01, 0.5, 1.0, 0.6, 0.2])


@pytest.mark.parametrize("settings", [EAR, PMB])
def test_the_tail_lowers_a_methods_own_rates(settings: EARSettings | PMBSettings) -> None:
    tailed = settings.model_copy(update={"lr_tail": 0.2})
    assert tailed.rate(0.9) == pytest.approx(0.5 * settings.rate(0.9))
    assert tailed.rate(0.5) == settings.rate(0.5)


@pytest.mark.parametrize(
    ("kind", "weights"), [("ear", ("l2", "ssim", "msgms")), ("pmb", ("l2", "ssim", "entropy"))]
)
def test_each_weight_is_that_of_its_loss(kind: str, weights: tuple[str, ...]) -> None:
    trainer = EARTrainer(EAR, (32, 32), None) if kind == "ear" else PMBTrainer(PMB, (32, 32), None)
    before = trainer.losses("restore", _batch())
    weighed = {name: getattr(trainer.settings, name) * number
               for number, name in enumerate(weights, 3)}  # fmt: skip
    trainer.settings = trainer.settings.model_copy(update=weighed)
    after = trainer.losses("restore", _batch())
    for number, name in enumerate(weights, 3):
        assert after[name].item() == pytest.approx(number * before[name].item(), rel=1e-4), name


@pytest.mark.parametrize(("size", "px"), [((256, 256), 16), ((128, 192), 8), ((32, 32), 2)])
def test_the_mosaic_scales_with_the_image(size: tuple[int, int], px: int) -> None:
    assert default_mosaic(size) == px


def test_the_skip_to_leave_out_is_measured_when_asked() -> None:
    trainer = EARTrainer(_ear(skip_off="auto"), (32, 32), None)
    choice = trainer.choose(_batch())
    assert set(choice.report["measured"]) == {"none", "shallow", "middle", "deep"}
    best = max(choice.report["measured"].items(), key=lambda item: item[1]["selection_score"])[0]
    assert choice.config.model_dump()["skip_off"] == best == choice.report["skip_off"]
    for skip, figures in choice.report["measured"].items():  # as a network that is set to it
        fixed = EARTrainer(_ear(skip_off=skip), (32, 32), None)
        fixed.module.load_state_dict(trainer.module.state_dict())
        assert fixed.choose(_batch()).report["measured"] == {skip: figures}


@pytest.mark.parametrize("kind", ["ear", "pmb"])
def test_the_network_gets_the_anomalous_tile_and_is_compared_with_the_normal_one(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    trainer = EARTrainer(EAR, (32, 32), None) if kind == "ear" else PMBTrainer(PMB, (32, 32), None)
    answer = _batch().normal
    shown: list[torch.Tensor] = []

    def excise(rgb: torch.Tensor, salient: torch.Tensor | None) -> torch.Tensor:
        shown.append(rgb)
        return rgb

    def restore(rgb: torch.Tensor) -> Any:
        shown.append(rgb)
        return answer if kind == "ear" else (answer, torch.zeros(()))

    monkeypatch.setattr(trainer.module, "excise", excise, raising=False)
    monkeypatch.setattr(trainer.module, "restore", restore)
    losses = trainer.losses("restore", _batch())
    assert torch.equal(shown[0], _batch().anomalous)
    assert all(float(loss) == pytest.approx(0, abs=1e-6) for loss in losses.values())


def test_the_anomaly_weight_counts_anomalous_pixels_once_more() -> None:
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 1:3, 1:3] = 1
    errors = {"a": mask.repeat(1, 3, 1, 1), "b": torch.full((1, 1, 4, 4), 0.5)}
    losses = restoration_losses(errors, mask, anomaly_weight=2.0)
    assert {name: float(loss) for name, loss in losses.items()} == {
        "a": 0.25,  # 4 of 16 pixels
        "b": 0.5,
        "anomaly": 2 * 1.5,
    }
    assert "anomaly" not in restoration_losses(errors, mask, anomaly_weight=0.0)


def test_the_anomaly_weight_adds_nothing_without_anomalies() -> None:
    losses = restoration_losses(
        {"a": torch.ones(1, 3, 4, 4)}, torch.zeros(1, 1, 4, 4), anomaly_weight=1.0
    )
    assert float(losses["anomaly"]) == 0


def test_salient_pixels_are_those_of_the_anomalous_tile(tmp_path: Path) -> None:
    torch.save(DigitAttention().state_dict(), tmp_path / "attention.pt")
    synthesis = SynthesisConfig(anomaly_share=0.5)
    settings = _ear(attention="mnist").model_copy(update={"synthesis": synthesis})
    trainer = EARTrainer(settings, (32, 32), tmp_path / "attention.pt")
    salient, expected = trainer.salient(_batch()), trainer.module.salient(_batch().anomalous)
    assert salient is not None and expected is not None
    assert torch.equal(salient, expected)


def test_salient_pixels_are_computed_once_per_tile(tmp_path: Path) -> None:
    torch.save(DigitAttention().state_dict(), tmp_path / "attention.pt")
    trainer = EARTrainer(_ear(attention="mnist"), (32, 32), tmp_path / "attention.pt")
    batch = _batch()
    fresh = trainer.module.salient(batch.normal)
    first = trainer.salient(batch)
    other = batch._replace(normal=torch.zeros_like(batch.normal))  # the same tiles by number
    kept = trainer.salient(other)
    assert fresh is not None and first is not None and kept is not None
    assert torch.equal(first, fresh) and torch.equal(kept, fresh)


def test_pmb_freezes_the_median_cut_and_reports_each_form() -> None:
    torch.manual_seed(0)
    trainer = PMBTrainer(_pmb(hee="frozen"), (32, 32), None)
    batch = _batch()
    choice = trainer.choose(batch)
    net = trainer.module
    with torch.no_grad():
        cuts = net.histogram(net.difference(batch.normal, net.restore(batch.normal)[0])).flatten()
    assert net.cut.item() == pytest.approx(cuts.median().item(), rel=1e-5)
    assert set(choice.report["measured"]) == {"exact", "frozen", "off"}
    assert choice.config.model_dump()["hee"] == "frozen" and net.config.hee == "frozen"


def test_pmb_takes_the_form_that_does_best_when_asked() -> None:
    torch.manual_seed(0)
    trainer = PMBTrainer(_pmb(hee="auto"), (32, 32), None)
    choice = trainer.choose(_batch())
    measured = choice.report["measured"].items()
    scores = {form: figures["selection_score"] for form, figures in measured}
    assert scores[choice.report["hee"]] == max(scores.values())
    net = trainer.module
    assert net.config.hee == choice.report["hee"]
    for form, figures in measured:
        net.config = net.config.model_copy(update={"hee": form})
        with torch.inference_mode():
            assert measure(_batch(), lambda rgb: {"map": net(rgb)})["map"] == figures


def test_pmb_scales_score_and_blur_with_the_image() -> None:
    settings = _pmb(top_k=None)
    config = PMBTrainer(settings, (64, 64), None).module.config
    assert config.smooth_sigma == 1 and config.top_k == 6


def test_memories_learn_by_the_restoration() -> None:
    trainer = PMBTrainer(PMB, (32, 32), None)
    trainer.begin("restore")
    trainer.losses("restore", _batch())["l2"].backward()  # type: ignore[no-untyped-call]
    memory = trainer.module.get_parameter("memories.0.items")
    assert memory.grad is not None and memory.grad.abs().sum().item() > 0


def test_a_wrapped_vision_transformer_is_read(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shape = ViTShape(8, 24, 3, depth=1)
    given, taken = ViT(shape, (64, 64)), ViT(shape, (32, 64))
    wrapped = {f"module.backbone.{k}": v for k, v in given.state_dict().items()}
    torch.save({"epoch": 3, "teacher": wrapped}, tmp_path / "dino.pth")
    fill_vit(taken, tmp_path / "dino.pth", "a ViT")
    assert torch.equal(taken.cls_token, given.cls_token)
    assert taken.pos_embed.shape == (1, 33, 24)


def test_another_transformers_file_names_what_differs(tmp_path: Path) -> None:
    torch.save(ViT(ViTShape(8, 24, 3, depth=1), (64, 64)).state_dict(), tmp_path / "dino.pth")
    with pytest.raises(DataError, match=r"has in another shape.*looks like a vision transformer"):
        fill_vit(ViT(ViTShape(8, 48, 3, depth=1), (64, 64)), tmp_path / "dino.pth", "a ViT")


def test_a_file_that_needs_code_to_unpickle_is_refused(tmp_path: Path) -> None:
    torch.save(DigitAttention(), tmp_path / "whole.pt")
    with pytest.raises(DataError, match=r"would run code.*torch.save\(model.state_dict"):
        read_state(tmp_path / "whole.pt", "weights")


def test_files_without_tensors_or_of_another_kind_are_named(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    with pytest.raises(DataError, match="no state dict of tensors"):
        read_state(tmp_path / "empty.pt", "weights")
    (tmp_path / "noise.pt").write_bytes(b"noise")
    with pytest.raises(DataError, match="cannot be read as PyTorch weights"):
        read_state(tmp_path / "noise.pt", "weights")
    with pytest.raises(DataError, match=r"nothing edge-ad knows; its first parameters are a"):
        fill(DigitAttention(), {"a": torch.zeros(1)}, tmp_path / "x.pt", "digit attention")
