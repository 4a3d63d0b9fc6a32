"""Compare the rejects on the line with the rate that the threshold guarantees, at every moment.

Under the guarantee, a part is rejected with probability at most p, whatever came before. For any
q > p the product of q / p for each reject and (1 - q) / (1 - p) for each pass then has an
expectation of at most 1, and so has a weighted mean of such products: over many q, since the real
rate is unknown, and over many starts, since light fails after a year of good parts as well. A mean
that ever reaches 1 / level does so with probability at most `level` while the guarantee holds
(Ville's inequality; a test martingale: Shafer, Shen, Vereshchagin, Vovk, 2011; Ramdas, Gruenwald,
Vovk, Shafer, "Game-theoretic statistics and safe anytime-valid inference", 2023). The line may
look after every part, for ever, without correction for looking so often.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import UsageError

LEVEL = 0.01
_RATES = 24  # alternatives q, evenly spaced in their logarithm from 1.2 p to nearly 1
_START_EVERY = 10  # expected rejects: a new start costs nothing but time
_RECENT = 8  # starts kept in each octave of age

Floats = NDArray[np.float64]


def log_evidence(rejects: Floats, parts: Floats, guaranteed_rate: float) -> Floats:
    """Return the logarithm of the mean product over the alternatives q, one start; any shape."""
    highest = 1 - (1 - guaranteed_rate) / 100
    rates = np.geomspace(
        min(1.2 * guaranteed_rate, (guaranteed_rate + highest) / 2), highest, _RATES
    )
    terms = rejects[..., None] * np.log(rates / guaranteed_rate)
    terms = terms + (parts - rejects)[..., None] * (np.log1p(-rates) - math.log1p(-guaranteed_rate))
    return np.asarray(np.logaddexp.reduce(terms, axis=-1) - math.log(_RATES))


def log_weight(number: NDArray[np.int_]) -> Floats:
    """Return the logarithm of the weight of a start, from 0; over all of them they sum to 1."""
    return np.asarray(-np.log((number + 1.0) * (number + 2.0)))


@dataclass(frozen=True)
class RateSummary:
    """Parts counted, rejects among them, and the evidence against the guarantee at its highest.

    `exceeded_parts`, with `exceeded_rejected` among them, are those up to `exceeded_at` that spoke
    most clearly against the guarantee.
    """

    guaranteed_rate: float
    expected_anomalous: float
    parts: int
    rejected: int
    level: float
    evidence: float
    exceeded_at: int | None
    exceeded_parts: int | None
    exceeded_rejected: int | None

    def as_json(self) -> dict[str, Any]:
        """Return the record of a run's summary; `evidence` is at most 1e300."""
        return {**self.__dict__, "exceeded": self.exceeded_at is not None}


def as_percent(share: float) -> str:
    """Return a share in percent with two digits: 0.064 %, 3.8 %, 100 %."""
    return f"{float(f'{100 * share:.2g}'):g} %"


class RateCheck:
    """Watches the verdicts of one camera; `update` returns true once, when too many are rejected.

    With `frames_per_part` N above 1, N frames in a row count as one part, rejected if any of them
    is, and the next N are passed over, since they may show the end of the same part. The guarantee
    is that of `threshold`: verdicts under another one are not to be counted; None means any.
    Anomalous parts, a share `expected_anomalous` of all, are rejected rightly.
    """

    def __init__(
        self,
        guaranteed_rate: float,
        frames_per_part: int = 1,
        level: float = LEVEL,
        threshold: float | None = None,
        expected_anomalous: float = 0.0,
    ) -> None:
        if not 0 < guaranteed_rate < 1:
            raise UsageError(
                f"the guaranteed rate must lie between 0 and 1, got {guaranteed_rate:g}."
            )
        self._guaranteed_rate, self._level, self._frames = guaranteed_rate, level, frames_per_part
        self._expected = expected_anomalous
        self._most = guaranteed_rate + expected_anomalous * (1 - guaranteed_rate)  # of all parts
        self.threshold = threshold
        self._every = math.ceil(_START_EVERY / self._most)
        self._in_part, self._part_rejected = 0, False
        self._parts = self._rejected = 0
        self._before = {0: 0}  # rejects before each start, by the start's number
        self._highest = 0.0
        self._exceeded_at: int | None = None
        self._against: tuple[int, int] | tuple[None, None] = (None, None)  # parts, rejects

    def update(self, frame: int, *, rejected: bool) -> bool:
        """Take the verdict on a judged frame; return whether the guarantee is found broken now."""
        if self._frames > 1:
            place, self._in_part = self._in_part, (self._in_part + 1) % (2 * self._frames)
            if place >= self._frames:
                return False
            self._part_rejected = rejected or (place > 0 and self._part_rejected)
            if place < self._frames - 1:
                return False
            rejected = self._part_rejected
        return self._count(frame, rejected=rejected)

    @property
    def starts(self) -> int:
        """Return how many starts are kept."""
        return len(self._before)

    def summary(self) -> RateSummary:
        """Return what was counted so far."""
        evidence = math.exp(min(self._highest, 690))
        return RateSummary(
            self._guaranteed_rate,
            self._expected,
            self._parts,
            self._rejected,
            self._level,
            evidence,
            self._exceeded_at,
            *self._against,
        )

    def reason(self) -> str:
        """Return the sentence for the event, once the guarantee is found broken."""
        parts, rejected = self._against
        assert parts and rejected
        latest = "" if parts == self._parts else "the last "
        guaranteed = f"at most {as_percent(self._guaranteed_rate)} of normal parts"
        if self._expected:
            guaranteed += f", and {as_percent(self._expected)} are expected to be anomalous"
        hint = " or, if several frames show one part, give --frames-per-part"
        return (
            f"{rejected} of {latest}{parts} parts rejected ({as_percent(rejected / parts)}), but "
            f"the threshold guarantees {guaranteed}. Chance alone explains this in at most "
            f"{as_percent(self._level)} of runs: either more parts are anomalous than expected, or "
            "light, camera or product have changed. Look at the evidence images, then set the "
            f"threshold again{hint if self._frames == 1 else ''}."
        )

    def _count(self, frame: int, *, rejected: bool) -> bool:
        if self._parts and self._parts % self._every == 0:
            self._start()
        self._parts += 1
        if not rejected:  # a pass only lowers the evidence
            return False
        self._rejected += 1
        by_start = self._log_evidence()
        self._highest = max(self._highest, float(np.logaddexp.reduce(by_start)))
        if self._exceeded_at is not None or self._highest < -math.log(self._level):
            return False
        start, before = list(self._before.items())[int(by_start.argmax())]
        self._against = (self._parts - start * self._every, self._rejected - before)
        self._exceeded_at = frame
        return True

    def _start(self) -> None:
        """Add a start and thin out old ones: leaving some out only lowers the evidence."""
        newest = self._parts // self._every
        self._before[newest] = self._rejected
        self._before = {
            number: rejects
            for number, rejects in self._before.items()
            if number == 0 or newest - number < _RECENT * (number & -number)  # its power of two
        }

    def _log_evidence(self) -> Floats:
        """Return the weighted evidence of each start, as a logarithm."""
        numbers = np.array(list(self._before))
        rejects = self._rejected - np.array(list(self._before.values()), np.float64)
        parts = (self._parts - numbers * self._every).astype(np.float64)
        evidence = log_evidence(rejects, parts, self._most)
        return np.asarray(log_weight(numbers) + evidence)
