"""A frozen network's answers to tiles that never change, computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

KEEP_BYTES = 1 << 30

Levels = Sequence[Tensor]


class FrozenFeatures:
    """Remembers what `network` answers to numbered images, as far as `keep_bytes` reach.

    Each image goes through the network alone, so that its answer does not depend on its
    neighbours: a resumed training sees the same numbers. Images whose number lies beyond what
    may be kept go through in one batch, every time.
    """

    def __init__(self, network: Callable[[Tensor], Levels], keep_bytes: int = KEEP_BYTES) -> None:
        self._network = network
        self._keep_bytes = keep_bytes
        self._kept: dict[int, list[Tensor]] = {}
        self._room = 0  # how many images may be kept; known once the first was seen

    @torch.no_grad()
    def __call__(self, images: Tensor, numbers: Tensor) -> list[Tensor]:
        """images (N, 3, H, W), numbers int64 (N,) -> the network's levels for them."""
        wanted: list[int] = numbers.tolist()
        if not self._room:
            size = sum(level.nbytes for level in self._network(images[:1]))
            self._room = max(1, self._keep_bytes // size)
        if max(wanted) >= self._room:
            return list(self._network(images))
        answers = [
            self._answer(images[place : place + 1], number) for place, number in enumerate(wanted)
        ]
        return [torch.cat(level) for level in zip(*answers, strict=True)]

    def _answer(self, image: Tensor, number: int) -> list[Tensor]:
        if number not in self._kept:
            self._kept[number] = [level.contiguous() for level in self._network(image)]
        return self._kept[number]
