"""Compare two results with regard to the noise within each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

_PARTS = 3


@dataclass(frozen=True, slots=True)
class Change:
    """The medians of one kind of time before and after, in milliseconds, and their noise.

    `noise` is the share of the median that the two results vary by within themselves.
    """

    name: str
    old_ms: float
    new_ms: float
    noise: float

    @property
    def share(self) -> float:
        """The change as a share of the old median; negative is faster."""
        return self.new_ms / self.old_ms - 1

    @property
    def verdict(self) -> str:
        if abs(self.share) <= self.noise:
            return "within noise"
        return "slower" if self.share > 0 else "faster"

    def as_json(self) -> dict[str, object]:
        """Return medians, change, noise and verdict."""
        return {
            "name": self.name,
            "old_ms": round(self.old_ms, 4),
            "new_ms": round(self.new_ms, 4),
            "change": round(self.share, 4),
            "noise": round(self.noise, 4),
            "verdict": self.verdict,
        }


Samples = Mapping[str, Sequence[float]]


def compare_samples(old: Samples, new: Samples) -> list[Change]:
    """Compare the times that both results have; seconds, in the order they were measured."""
    return [
        Change(
            name,
            old_ms=1e3 * median(old[name]),
            new_ms=1e3 * median(new[name]),
            noise=spread(old[name]) + spread(new[name]),
        )
        for name in new
        if len(old.get(name, ())) >= _PARTS <= len(new[name]) and median(old[name]) > 0
    ]


def spread(seconds: Sequence[float]) -> float:
    """Return how far the medians of the first, second and last third lie apart, as a share."""
    ends = [round(len(seconds) * part / _PARTS) for part in range(_PARTS + 1)]
    thirds = [median(seconds[ends[part] : ends[part + 1]]) for part in range(_PARTS)]
    return (max(thirds) - min(thirds)) / median(seconds) if median(seconds) else 0.0
