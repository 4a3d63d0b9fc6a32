"""Training of the digit attention of EAR's first version (digit_attention.py)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.dataset import readable
from edge_ad.errors import DataError
from edge_ad.files import replacing
from edge_ad.images import list_images
from edge_ad.methods.ear.digit_attention import DigitAttention

SIDE = 28  # MNIST's
HELD_BACK_EVERY = 10


@dataclass(frozen=True)
class DigitTrainConfig:
    """Settings of the training; the numbers are those of the authors' public code."""

    steps: int = 20000
    batch: int = 32
    lr: float = 1e-4
    seed: int = 0


def learn_digits(
    folder: Path,
    output: Path,
    config: DigitTrainConfig,
    stop: threading.Event,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Train on `folder/0` to `folder/9`, write the attention's weights, return the figures.

    `progress` takes a line of text now and then. Raises DataError when a digit's folder is missing
    or empty. When `stop` is set, training ends and nothing is written.
    """
    images, labels = _digits(folder)
    torch.manual_seed(config.seed)
    net = DigitAttention()
    held = torch.arange(len(labels)) % HELD_BACK_EVERY == 0
    _fit(net.train(), images[~held], labels[~held], config, stop, progress)
    accuracy = _accuracy(net.eval(), images[held], labels[held])
    if not stop.is_set():
        with replacing(output) as temporary:
            torch.save(net.state_dict(), temporary)
    return {
        "weights": str(output),
        "images": len(labels),
        "held_back": int(held.sum()),
        "accuracy": accuracy,
        "steps": config.steps,
    }


def _fit(
    net: DigitAttention,
    images: Tensor,
    labels: Tensor,
    config: DigitTrainConfig,
    stop: threading.Event,
    progress: Callable[[str], None],
) -> None:
    optimizer = torch.optim.Adam(net.parameters(), config.lr)
    for step in range(config.steps):
        if stop.is_set():
            return
        chosen = torch.randint(len(labels), (config.batch,))
        loss = F.cross_entropy(net.digits(images[chosen]), labels[chosen])
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        if step % 500 == 499:
            progress(f"step {step + 1} of {config.steps}, loss {loss.item():.3f}")


@torch.no_grad()
def _accuracy(net: DigitAttention, images: Tensor, labels: Tensor) -> float:
    predicted = torch.cat([net.digits(part).argmax(dim=1) for part in torch.split(images, 256)])
    return float((predicted == labels).float().mean())


def _digits(folder: Path) -> tuple[Tensor, Tensor]:
    """Return shuffled images float32 (n, 1, 28, 28) in [0, 1] and labels int64 (n,)."""
    images, labels = [], []
    for digit in range(10):
        place = folder / str(digit)
        paths = list_images(place) if place.is_dir() else []
        if not paths:
            raise DataError(
                f"{place}: no images of the digit {digit}. Expected folders 0 to 9 with images "
                "of that digit each, like MNIST's as PNG files."
            )
        for _, image in readable(paths):
            grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
            images.append(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
            labels.append(digit)
    order = np.random.default_rng(0).permutation(len(labels))
    shuffled = torch.from_numpy(np.stack(images)[order])[:, None].float() / 255
    return shuffled, torch.tensor(labels)[order]
