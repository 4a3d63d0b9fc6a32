"""A cache of a frozen network's features for tiles that never change."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

CACHE_BYTES = 1 << 30

Levels = Sequence[Tensor]


class FrozenFeatures:
    """Caches the features that `network` computes for numbered images, up to `cache_bytes`.

    Each image goes through the network alone, so that its features do not depend on its
    neighbours: a resumed training gets the same numbers. A batch with an image number beyond the
    capacity goes through in one call, every time.
    """

    def __init__(self, network: Callable[[Tensor], Levels], cache_bytes: int = CACHE_BYTES) -> None:
        self._network = network
        self._cache_bytes = cache_bytes
        self._cache: dict[int, list[Tensor]] = {}
        self._capacity = 0  # images; known after the first one

    def __len__(self) -> int:
        """Return how many images are cached."""
        return len(self._cache)

    @torch.no_grad()
    def __call__(self, images: Tensor, numbers: Tensor) -> list[Tensor]:
        """Return the levels' features of images (N, 3, H, W) with numbers int64 (N,)."""
        keys: list[int] = numbers.tolist()
        if not self._capacity:
            size = sum(level.nbytes for level in self._network(images[:1]))
            self._capacity = max(1, self._cache_bytes // size)
        if max(keys) >= self._capacity:
            return list(self._network(images))
        features = [self._features(images[i : i + 1], key) for i, key in enumerate(keys)]
        return [torch.cat(level) for level in zip(*features, strict=True)]

    def _features(self, image: Tensor, key: int) -> list[Tensor]:
        if key not in self._cache:
            self._cache[key] = [level.contiguous() for level in self._network(image)]
        return self._cache[key]
