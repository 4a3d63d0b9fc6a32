"""What EAR and PMB (reconstructed) decide around their networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from edge_ad.errors import DataError
from edge_ad.methods.ear.digit_attention import DigitAttention
from edge_ad.methods.ear.training import EARSettings, EARTrainer, default_mosaic
from edge_ad.methods.layers.vit import Shape, ViT
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.losses import restoration_losses
from edge_ad.methods.pmb.training import PMBSettings, PMBTrainer
from edge_ad.methods.pretrained import fill, fill_vit, read_state
from edge_ad.synthesis.anomalies import SynthesisConfig

EAR = EARSettings(attention="none", widths=(4, 4, 8, 8), mosaic_px=4)
PMB = PMBSettings(widths=(4, 4, 8, 8), bottleneck=8, partitions=(2, 2, 2, 2), items=4, top_k=20)


def _batch() -> Batch:
    clean = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(4, 1, 32, 32)
    mask[:, :, 8:16, 8:16] = 1
    return Batch(clean, torch.where(mask > 0, 1 - clean, clean), mask, torch.arange(4))


def test_ears_rate_warms_up_and_falls_to_a_fifth() -> None:
    settings = EAR.model_copy(update={"warmup": 0.1})
    rates = [settings.rate(done) for done in (0.0, 0.05, 0.1, 0.55, 1.0)]
    assert rates == pytest.approx([0.01, 0.5, 1.0, 0.6, 0.2])


@pytest.mark.parametrize(("size", "px"), [((256, 256), 16), ((128, 192), 8), ((32, 32), 2)])
def test_the_mosaic_scales_with_the_image(size: tuple[int, int], px: int) -> None:
    assert default_mosaic(size) == px


def test_the_skip_to_leave_out_is_measured_when_asked() -> None:
    trainer = EARTrainer(EAR.model_copy(update={"skip_off": "auto"}), (32, 32), None)
    choice = trainer.choose(_batch())
    assert set(choice.report["measured"]) == {"none", "shallow", "middle", "deep"}
    best = max(choice.report["measured"].items(), key=lambda item: item[1]["selection_score"])[0]
    assert choice.config.model_dump()["skip_off"] == best == choice.report["skip_off"]


@pytest.mark.parametrize("kind", ["ear", "pmb"])
def test_the_network_sees_the_damage_and_is_held_to_the_good_tile(
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


def test_undoing_counts_the_damaged_pixels_once_more() -> None:
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 1:3, 1:3] = 1
    errors = {"a": mask.repeat(1, 3, 1, 1), "b": torch.full((1, 1, 4, 4), 0.5)}
    losses = restoration_losses(errors, mask, anomaly_weight=2.0)
    assert {name: float(loss) for name, loss in losses.items()} == {
        "a": 0.25,  # 4 of 16 pixels
        "b": 0.5,
        "anomalous": 2 * 1.5,
    }
    assert "anomalous" not in restoration_losses(errors, mask, anomaly_weight=0.0)


def test_undoing_weighs_nothing_where_nothing_is_damaged() -> None:
    losses = restoration_losses(
        {"a": torch.ones(1, 3, 4, 4)}, torch.zeros(1, 1, 4, 4), anomaly_weight=1.0
    )
    assert float(losses["anomalous"]) == 0


def test_salient_pixels_are_looked_for_in_what_is_damaged(tmp_path: Path) -> None:
    torch.save(DigitAttention().state_dict(), tmp_path / "attention.pt")
    damage = SynthesisConfig(anomaly_share=0.5)
    settings = EAR.model_copy(update={"attention": "mnist", "synthesis": damage})
    trainer = EARTrainer(settings, (32, 32), tmp_path / "attention.pt")
    found, wanted = trainer.salient(_batch()), trainer.module.salient(_batch().anomalous)
    assert found is not None and wanted is not None
    assert torch.equal(found, wanted)


def test_salient_pixels_are_worked_out_once_a_tile(tmp_path: Path) -> None:
    torch.save(DigitAttention().state_dict(), tmp_path / "attention.pt")
    trainer = EARTrainer(
        EAR.model_copy(update={"attention": "mnist"}), (32, 32), tmp_path / "attention.pt"
    )
    batch = _batch()
    fresh = trainer.module.salient(batch.normal)
    first = trainer.salient(batch)
    other = batch._replace(normal=torch.zeros_like(batch.normal))  # the same tiles by number
    kept = trainer.salient(other)
    assert fresh is not None and first is not None and kept is not None
    assert torch.equal(first, fresh) and torch.equal(kept, fresh)


def test_pmb_freezes_the_median_cut_and_tells_each_form() -> None:
    torch.manual_seed(0)
    trainer = PMBTrainer(PMB.model_copy(update={"hee": "frozen"}), (32, 32), None)
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
    trainer = PMBTrainer(PMB.model_copy(update={"hee": "auto"}), (32, 32), None)
    choice = trainer.choose(_batch())
    merits = {way: one["selection_score"] for way, one in choice.report["measured"].items()}
    assert merits[choice.report["hee"]] == max(merits.values())
    assert trainer.module.config.hee == choice.report["hee"]


def test_pmb_scales_score_and_blur_with_the_image() -> None:
    settings = PMB.model_copy(update={"top_k": None})
    config = PMBTrainer(settings, (64, 64), None).module.config
    assert config.smooth_sigma == 1 and config.top_k == 6


def test_memories_learn_by_the_restoration() -> None:
    trainer = PMBTrainer(PMB, (32, 32), None)
    trainer.begin("restore")
    trainer.losses("restore", _batch())["l2"].backward()  # type: ignore[no-untyped-call]
    memory = trainer.module.get_parameter("memories.0.items")
    assert memory.grad is not None and memory.grad.abs().sum().item() > 0


def test_a_vision_transformer_is_read_whatever_wraps_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shape = Shape(8, 24, 3, depth=1)
    given, taken = ViT(shape, (64, 64)), ViT(shape, (32, 64))
    wrapped = {f"module.backbone.{k}": v for k, v in given.state_dict().items()}
    torch.save({"epoch": 3, "teacher": wrapped}, tmp_path / "dino.pth")
    fill_vit(taken, tmp_path / "dino.pth", "a ViT")
    assert torch.equal(taken.cls_token, given.cls_token)
    assert taken.pos_embed.shape == (1, 33, 24)


def test_another_transformers_file_says_what_differs(tmp_path: Path) -> None:
    torch.save(ViT(Shape(8, 24, 3, depth=1), (64, 64)).state_dict(), tmp_path / "dino.pth")
    with pytest.raises(DataError, match=r"has in another shape.*looks like a vision transformer"):
        fill_vit(ViT(Shape(8, 48, 3, depth=1), (64, 64)), tmp_path / "dino.pth", "a ViT")


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
