"""Checkpoints in the formats of others become detectors with the same outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor
from torch.nn import functional as F

from edge_ad.cli.import_ import command
from edge_ad.errors import DataError, UsageError
from edge_ad.methods.destseg.foreign_checkpoints import DESTSEG
from edge_ad.methods.destseg.network import DeSTSeg, DeSTSegConfig
from edge_ad.methods.draem.foreign_checkpoints import DRAEM_DISCRIMINATIVE, DRAEM_RECONSTRUCTIVE
from edge_ad.methods.draem.network import DRAEM, DRAEMConfig
from edge_ad.methods.foreign import Rules, import_checkpoint, renamed
from edge_ad.methods.weights import load_detector
from tests.golden.golden_formula import part_image, value_of
from tests.golden.test_golden import check, frozen

NAMES = json.loads((Path(__file__).parent / "names.json").read_text(encoding="utf-8"))
SIZE = (64, 96)


def _official(kind: str, rules: Rules, like: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the formula's weights under the authors' names."""
    ours = {name: str(renamed(name, rules)) for name in NAMES[kind]}
    return {name: value_of(mine, like[mine]) for name, mine in ours.items()}


@pytest.fixture(scope="module")
def draem_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    like = DRAEM(DRAEMConfig(rec_base=32, seg_base=16), SIZE).state_dict()
    folder = tmp_path_factory.mktemp("draem")
    rec, seg = folder / "bottle_.pckl", folder / "bottle__seg.pckl"
    torch.save(_official("draem_reconstructive", DRAEM_RECONSTRUCTIVE, like), rec)
    torch.save(_official("draem_discriminative", DRAEM_DISCRIMINATIVE, like), seg)
    return rec, seg


def _outputs(weights: Path, rgb: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        anomaly_map, score = load_detector(weights).module(rgb)
    return {"map": anomaly_map, "score": score}


def _import(*words: str | Path) -> Any:
    done = CliRunner().invoke(command, [*map(str, words), "--json"], catch_exceptions=False)
    return json.loads(done.stdout)


def test_official_draem_keeps_its_outputs(draem_files: tuple[Path, Path], tmp_path: Path) -> None:
    result = _import(*reversed(draem_files), "-o", tmp_path / "x.pt", "--size", "64x96")
    assert result["method"] == "draem" and result["config"]["rec_base"] == 32
    case, official = frozen("draem-small")
    check(_outputs(tmp_path / "x.pt", part_image(case["count"], *case["size"])), official)


@pytest.mark.slow
def test_official_destseg_keeps_its_outputs(tmp_path: Path) -> None:
    case, official = frozen("destseg")
    like = DeSTSeg(DeSTSegConfig(), tuple(case["size"])).state_dict()
    torch.save(_official("destseg", DESTSEG, like), tmp_path / "bottle.pckl")
    size = "x".join(map(str, case["size"]))
    result = _import(tmp_path / "bottle.pckl", "-o", tmp_path / "x.pt", "--size", size)
    assert result["title"] == "DeSTSeg"
    outputs = _outputs(tmp_path / "x.pt", part_image(case["count"], *case["size"]))
    check({"map": outputs["map"]}, official)
    largest = outputs["map"].flatten(1).topk(100, dim=1).values  # 100 at every size, as there
    assert torch.allclose(outputs["score"], largest.mean(dim=1))


def test_anomalibs_draem_takes_the_image_first_and_in_rgb(
    draem_files: tuple[Path, Path], tmp_path: Path
) -> None:
    rec, seg = (torch.load(path, weights_only=True) for path in draem_files)
    first = seg["encoder_segment.block1.0.weight"]
    seg["encoder_segment.block1.0.weight"] = torch.cat([first[:, 3:], first[:, :3]], dim=1)
    state = {f"model.reconstructive_subnetwork.{k}": v for k, v in rec.items()}
    state |= {f"model.discriminative_subnetwork.{k}": v for k, v in seg.items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "model.ckpt")
    result = _import(tmp_path / "model.ckpt", "-o", tmp_path / "x.pt", "--size", "64x96")
    assert result["origin"] == "anomalib" and result["config"]["mean_filter_px"] == 1
    case, official = frozen("draem-small")
    bgr = part_image(case["count"], *case["size"]).flip(1)  # the input of the stored outputs
    outputs = _outputs(tmp_path / "x.pt", bgr)
    check({"map": outputs["map"]}, official)
    assert torch.equal(outputs["score"], outputs["map"].flatten(1).amax(1))


def _fastflow(size: int, steps: int, ratio: float) -> dict[str, Tensor]:
    """Return a FastFlow state with anomalib's names on ResNet-18, from the formula."""
    from edge_ad.methods.layers.resnet import ResNet18

    trunk = ResNet18((64, 128, 256)).state_dict()
    state = {f"feature_extractor.{k}": v for k, v in trunk.items()}
    for level, channels in enumerate((64, 128, 256)):
        side, half = size // (4 << level), channels // 2
        inner = int(half * ratio)
        for part in ("weight", "bias"):
            state[f"norms.{level}.{part}"] = torch.zeros(channels, side, side)
        for step in range(steps):
            kernel, block = 1 if step % 2 else 3, f"fast_flow_blocks.{level}.module_list.{step}"
            order = torch.from_numpy(np.random.default_rng(step).permutation(channels))
            state[f"{block}.w_perm"] = torch.eye(channels)[order].view(channels, channels, 1, 1)
            state[f"{block}.w_perm_inv"] = state[f"{block}.w_perm"].transpose(0, 1)
            state[f"{block}.global_scale"] = torch.zeros(1, channels, 1, 1)
            state[f"{block}.global_offset"] = torch.zeros(1, channels, 1, 1)
            state[f"{block}.subnet.1.weight"] = torch.zeros(inner, half, kernel, kernel)
            state[f"{block}.subnet.1.bias"] = torch.zeros(inner)
            state[f"{block}.subnet.4.weight"] = torch.zeros(channels, inner, kernel, kernel)
            state[f"{block}.subnet.4.bias"] = torch.zeros(channels)
    kept = ("w_perm", "w_perm_inv")
    return {k: v if k.endswith(kept) else value_of(k, v) for k, v in state.items()}


def _flowed(state: dict[str, Tensor], level: int, steps: int, x: Tensor) -> Tensor:
    """Compute a level's latent by definition: permutation as a 1x1 convolution with a matrix."""
    x = F.layer_norm(x, x.shape[1:], state[f"norms.{level}.weight"], state[f"norms.{level}.bias"])
    for step in range(steps):
        at = f"fast_flow_blocks.{level}.module_list.{step}"
        half = x.shape[1] // 2
        one, two = x[:, :half], x[:, half:]
        for number in (1, 4):
            weight, bias = (state[f"{at}.subnet.{number}.{part}"] for part in ("weight", "bias"))
            one = F.conv2d(one, weight, bias, padding=weight.shape[2] // 2)
            one = torch.relu(one) if number == 1 else one * 0.1
        moved = two * torch.exp(2.0 * torch.tanh(one[:, :half])) + one[:, half:]
        x = torch.cat([x[:, :half], moved], dim=1)
        scale = 0.1 * F.softplus(state[f"{at}.global_scale"], beta=0.5)
        x = F.conv2d(x * scale + state[f"{at}.global_offset"], state[f"{at}.w_perm"])
    return x


def test_anomalibs_fastflow_equals_its_definition(tmp_path: Path) -> None:
    state = _fastflow(64, steps=3, ratio=0.16)
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": {f"model.{k}": v for k, v in state.items()}}, path)
    result = _import(path, "-o", tmp_path / "x.pt", "--size", "64x64")
    assert result["title"] == "CL-Flow (reconstructed)" and result["config"]["flow_steps"] == 3
    module: Any = load_detector(tmp_path / "x.pt").module
    rgb = part_image(2, 64, 64)
    with torch.no_grad():
        features = module.features(rgb)
        latents = [_flowed(state, level, 3, x) for level, x in enumerate(features)]
        probabilities = [torch.exp(-0.5 * z.square().mean(1, keepdim=True)) for z in latents]
        maps = [F.interpolate(-p, size=(64, 64), mode="bilinear") for p in probabilities]
        expected = torch.stack(maps).mean(0)[:, 0]
        torch.testing.assert_close(module(rgb)[0] - 1, expected, atol=1e-5, rtol=0)


def test_a_fastflow_of_another_size_names_its_own(tmp_path: Path) -> None:
    state = {f"model.{k}": v for k, v in _fastflow(64, steps=2, ratio=0.16).items()}
    torch.save({"state_dict": state}, tmp_path / "model.ckpt")
    with pytest.raises(UsageError, match=r"made for 64x64.*--size 64x64"):
        import_checkpoint([tmp_path / "model.ckpt"], (128, 128))


def test_one_file_of_draem_asks_for_the_other(draem_files: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match=r"two files; the discriminative network .* is missing"):
        import_checkpoint(draem_files[:1], SIZE)


def test_an_unknown_checkpoint_names_what_it_resembles(tmp_path: Path) -> None:
    torch.save({"layer1.0.conv1.weight": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(DataError, match=r"like ResNet-18. Known are"):
        import_checkpoint([tmp_path / "x.pth"], SIZE)


def test_missing_and_foreign_parameters_are_named(
    draem_files: tuple[Path, Path], tmp_path: Path
) -> None:
    rec = torch.load(draem_files[0], weights_only=True)
    del rec["encoder.block3.0.weight"]
    torch.save(rec, tmp_path / "rec.pckl")
    with pytest.raises(
        DataError, match=r"does not have 1 parameter \(reconstructive.encoder.2.0.weight"
    ):
        import_checkpoint([tmp_path / "rec.pckl", draem_files[1]], SIZE)
    rec["encoder.extra.weight"] = torch.zeros(1)
    torch.save(rec, tmp_path / "rec.pckl")
    with pytest.raises(DataError, match=r"holds 1 parameter \(encoder.extra.weight"):
        import_checkpoint([tmp_path / "rec.pckl", draem_files[1]], SIZE)
