"""Write DRAEM at 256x256 with seeded weights in every form; runs in anomalib's environment.

    python neighbour_models.py FOLDER

`draem.ckpt` for `edge-ad import`, `weights/torch/model.pt` and `weights/openvino/model.xml` as
anomalib exports them, `plain/draem.onnx` from float RGB planes to `score` and `map` for bare
sessions and AnomaVision. Speed does not depend on the weights; norms get statistics of a trained
network's size, so that no layer's values vanish.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from neighbour_runner import SIDE, import_torchvision  # the script's own folder is on the path
from PIL import Image
from torch import nn
from untrained import spread_norms

import_torchvision()
from anomalib.models import Draem  # noqa: E402  # it imports torchvision


class Plain(nn.Module):
    """Only the network: float (N, 3, SIDE, SIDE) in [0, 1] -> score (N,), map (N, SIDE, SIDE)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        prediction = self.network(image)
        return prediction.pred_score.reshape(-1), prediction.anomaly_map.reshape(-1, SIDE, SIDE)


def seeded(folder: Path) -> Any:
    """Return anomalib's DRAEM with seeded weights, whose scores are not rescaled."""
    textures = folder / "textures"
    textures.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(textures / "texture.png")
    torch.manual_seed(0)
    model = Draem(dtd_dir=textures, evaluator=False, visualizer=False).eval()
    spread_norms(model)
    with torch.no_grad():
        for name, value in (("min", 0.0), ("max", 1.0)):
            for kind in ("image", "pixel"):
                getattr(model.post_processor, f"{kind}_{name}").fill_(value)
                getattr(model.post_processor, f"_{kind}_threshold").fill_(0.5)
    return model


def main() -> None:
    folder = Path(sys.argv[1])
    model = seeded(folder)
    torch.save({"state_dict": model.state_dict()}, folder / "draem.ckpt")
    model.to_torch(folder)
    model.to_openvino(folder, input_size=(SIDE, SIDE))
    (folder / "plain").mkdir(exist_ok=True)
    torch.onnx.export(
        Plain(model.model).eval(),
        (torch.rand(1, 3, SIDE, SIDE),),
        str(folder / "plain" / "draem.onnx"),
        input_names=["image"],
        output_names=["score", "map"],
        dynamo=True,
        external_data=False,
    )


if __name__ == "__main__":
    main()
