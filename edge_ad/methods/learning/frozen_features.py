"""A frozen network's answers to tiles that never change, computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

KEEP_BYTES = 1 << 30

Levels = Sequence[Tensor]


class FrozenFeatures:
    """Remembers what `network` answers to numbered pictures, as far as `keep_bytes` reach.

    Each picture goes through the network alone, so that its answer does not depend on its
    neighbours: a resumed training sees the same numbers. Pictures whose number lies beyond what
    may be kept go through in one batch, every time.
    """

    def __init__(self, network: Callable[[Tensor], Levels], keep_bytes: int = KEEP_BYTES) -> None:
        self._network = network
        self._keep_bytes = keep_bytes
        self._kept: dict[int, list[Tensor]] = {}
        self._room = 0  # how many pictures may be kept; known once the first was seen

    @torch.no_grad()
    def __call__(self, pictures: Tensor, numbers: Tensor) -> list[Tensor]:
        """pictures (N, 3, H, W), numbers int64 (N,) -> the network's levels for them."""
        wanted: list[int] = numbers.tolist()
        if not self._room:
            size = sum(level.nbytes for level in self._network(pictures[:1]))
            self._room = max(1, self._keep_bytes // size)
        if max(wanted) >= self._room:
            return list(self._network(pictures))
        answers = [
            self._answer(pictures[place : place + 1], number) for place, number in enumerate(wanted)
        ]
        return [torch.cat(level) for level in zip(*answers, strict=True)]

    def _answer(self, picture: Tensor, number: int) -> list[Tensor]:
        if number not in self._kept:
            self._kept[number] = [level.contiguous() for level in self._network(picture)]
        return self._kept[number]
