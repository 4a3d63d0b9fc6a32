"""Store outputs of the authors' own code: python tests/golden/make.py --draem DIR --destseg DIR

DIR are checkouts of github.com/VitjanZ/DRAEM and github.com/apple/ml-destseg; the latter, and
EfficientNet-Lite, need the package timm. Nothing of theirs is kept but their networks' outputs.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import types
import unittest.mock
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.methods.destseg.foreign_checkpoints import DESTSEG
from edge_ad.methods.draem.foreign_checkpoints import DRAEM_DISCRIMINATIVE, DRAEM_RECONSTRUCTIVE
from edge_ad.methods.foreign import Rules, renamed
from tests.golden.golden_formula import part_image, state_of, summary, value_of

HERE = Path(__file__).parent
CASES = {
    "draem-small": {"widths": (32, 16), "size": (64, 96), "count": 2},
    "draem": {"widths": (128, 64), "size": (64, 64), "count": 1},
    "destseg": {"size": (96, 128), "count": 2},
    "efficientnet_lite0": {"size": (64, 96), "count": 1},
    "efficientnet_lite2": {"size": (61, 75), "count": 2},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draem", type=Path, required=True)
    parser.add_argument("--destseg", type=Path, required=True)
    folders = parser.parse_args()
    torch.manual_seed(0)
    with torch.no_grad():
        for name in ("draem-small", "draem"):
            _write(name, _draem(folders.draem, CASES[name]))
        _write("destseg", _destseg(folders.destseg, CASES["destseg"]))
        for name in ("efficientnet_lite0", "efficientnet_lite2"):
            _write(name, _efficientnet(name, CASES[name]))


def _draem(folder: Path, case: dict[str, Any]) -> dict[str, Tensor]:
    official = _module(folder, "model_unet")
    rec = official.ReconstructiveSubNetwork(base_width=case["widths"][0])
    seg = official.DiscriminativeSubNetwork(6, 2, base_channels=case["widths"][1])
    _fill(rec, DRAEM_RECONSTRUCTIVE)
    _fill(seg, DRAEM_DISCRIMINATIVE)
    bgr = part_image(case["count"], *case["size"]).flip(1)
    repair = rec(bgr)
    logits = seg(torch.cat([repair, bgr], dim=1))
    anomaly_map = torch.softmax(logits, dim=1)[:, 1:]
    score = F.avg_pool2d(anomaly_map, 21, stride=1, padding=10).amax(dim=(1, 2, 3))
    return {"repair": repair, "logits": logits, "map": anomaly_map[:, 0], "score": score}


def _destseg(folder: Path, case: dict[str, Any]) -> dict[str, Tensor]:
    timm = importlib.import_module("timm")
    create = timm.create_model

    def without_download(name: str, *, pretrained: bool, **how: Any) -> Any:
        return create(name, **how)

    with unittest.mock.patch.object(timm, "create_model", without_download):
        net = _module(folder, "model.destseg").DeSTSeg(dest=True, ed=True)
    _fill(net, DESTSEG)
    mean, std = (
        torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    segmentation, _, distances = net((part_image(case["count"], *case["size"]) - mean) / std)
    size = {"size": case["size"], "mode": "bilinear", "align_corners": False}
    anomaly_map = F.interpolate(segmentation, **size)
    score = anomaly_map.flatten(1).sort(dim=1, descending=True).values[:, :100].mean(dim=1)
    levels = {f"distance{k}": level for k, level in enumerate(distances, 1)}
    return {"segmentation": segmentation, "map": anomaly_map[:, 0], "score": score, **levels}


def _efficientnet(name: str, case: dict[str, Any]) -> dict[str, Tensor]:
    """Return the levels of timm's port of TensorFlow's network, whose names are ours."""
    timm = importlib.import_module("timm")
    net = timm.create_model(f"tf_{name}", features_only=True, out_indices=(1, 2, 3)).eval()
    net.load_state_dict(state_of(net.state_dict()))
    levels = net(2 * part_image(case["count"], *case["size"]) - 1)
    return {f"level{number}": level for number, level in enumerate(levels, 1)}


def _fill(net: nn.Module, rules: Rules) -> None:
    """Fill a network with the formula's values, which belong to our parameter names."""
    state = net.state_dict()
    names = {name: renamed(name, rules) for name in state}
    assert None not in names.values() and len(set(names.values())) == len(state)
    net.load_state_dict({name: value_of(str(names[name]), state[name]) for name in state})
    net.eval()


def _module(folder: Path, name: str) -> Any:
    """Import a module of a checkout, without its package's imports for training and plots."""
    sys.path.insert(0, str(folder.resolve()))
    package = types.ModuleType("model")
    package.__path__ = [str(folder / "model")]
    sys.modules["model"] = package
    return importlib.import_module(name)


def _write(name: str, outputs: dict[str, Tensor]) -> None:
    content = {"case": CASES[name], "official": {k: summary(v) for k, v in outputs.items()}}
    path = HERE / f"{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(path.name, {k: (v.mean().item(), v.std(correction=0).item()) for k, v in outputs.items()})


if __name__ == "__main__":
    main()
