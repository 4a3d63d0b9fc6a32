"""Weights and images from a formula over a parameter's name and index: no file has to be kept.

Every value starts from a number in [0, 1) that depends on nothing but name and index: 32-bit
integers mixed as in the finaliser of MurmurHash3, started with the CRC-32 of the name. Integer
arithmetic, so every machine gets the same bits.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def uniform(name: str, count: int) -> NDArray[np.float32]:
    """`count` numbers in [0, 1)."""
    x = np.arange(count, dtype=np.uint32) * np.uint32(2654435761)
    x += np.uint32(zlib.crc32(name.encode()))
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x ^= x >> np.uint32(shift)
        x *= np.uint32(factor)
    x ^= x >> np.uint32(16)
    return np.asarray((x >> np.uint32(8)) / np.float32(1 << 24), np.float32)


def value_of(name: str, like: Tensor) -> Tensor:
    """Return the parameter or buffer of that name, in the shape of `like`.

    Convolutions: He-uniform, sqrt(6 / fan_in) * (2u - 1). Batch norm: variance u + 1/2 and scale
    0.9 (u + 1/2), which keeps activations near one. The rest: (2u - 1) / 5; counters stay.
    """
    if not like.is_floating_point():
        return like
    u = uniform(name, like.numel()).reshape(like.shape)
    centred = 2 * u - 1
    if like.dim() == 4:
        centred *= np.float32(np.sqrt(6 / np.prod(like.shape[1:])))
    elif name.endswith("running_var"):
        centred = u + np.float32(0.5)
    elif name.endswith("weight"):
        centred = np.float32(0.9) * (u + np.float32(0.5))
    else:
        centred /= np.float32(5)
    return torch.from_numpy(centred)


def state_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict of the formula's values, named and shaped as `state`."""
    return {name: value_of(name, like) for name, like in state.items()}


def part_image(count: int, height: int, width: int) -> Tensor:
    """float32 (count, 3, height, width) in [0, 1): waves with some noise."""
    shape = (count, 3, height, width)
    noise = uniform("picture", int(np.prod(shape))).reshape(shape)
    n, c, y, x = np.meshgrid(*(np.arange(side) for side in shape), indexing="ij")
    wave = ((3 * y + 5 * x + 7 * c + 11 * n) % 64) / np.float32(64)
    return torch.from_numpy(((wave + noise) / 2).astype(np.float32))


def summary(x: Tensor) -> dict[str, object]:
    """Return what is frozen of a tensor: shape, mean, spread, extremes, 24 evenly spaced values."""
    flat = x.detach().double().flatten()
    places = torch.linspace(0, flat.numel() - 1, 24).long()
    return {
        "shape": list(x.shape),
        "mean": flat.mean().item(),
        "std": flat.std(correction=0).item(),
        "min": flat.min().item(),
        "max": flat.max().item(),
        "samples": flat[places].tolist(),
    }
