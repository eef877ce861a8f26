"""A mean's bounds by the bootstrap: narrow, and blind to losses that a sample happens to miss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pytest_ragshortcut.core.means import BoundedSample
from pytest_ragshortcut.core.plans import Array

_N_RESAMPLES = 9999
_AT_ONCE = 2_000_000
"""How many numbers to draw at a time."""


@dataclass(frozen=True, eq=False)
class ResampledSample:
    """Values whose mean is bounded by percentiles of resampled means.

    They never show more than as many values would that are all as good as the best, or as bad as
    the worst, of a bounded sample: values that are all alike teach nothing of how they vary, and
    few that are nearly so little more. Levels below one in ten thousand show nothing.

    Source:
        Efron & Tibshirani 1993, chapter 13 (percentile intervals), 16 (tests). We add one to both
        counts of a p-value (Davison & Hinkley 1997, section 4.2), so that none is zero.
    """

    values: Array
    """(n,)."""
    low: float
    high: float
    seed: int = 0

    @property
    def mean(self) -> float:
        """The sample's own."""
        return float(self.values.mean())

    def p_at_most(self, mean: float, *, times: float = 1.0) -> float:
        """Return the share of resampled means that are no larger; see BoundedSample.p_at_most."""
        resampled = _p(int((self._means(times) <= mean).sum()))
        return max(resampled, self._all(self.values.max()).p_at_most(mean, times=times))

    def p_at_least(self, mean: float, *, times: float = 1.0) -> float:
        """Return the share of resampled means that are no smaller."""
        resampled = _p(int((self._means(times) >= mean).sum()))
        return max(resampled, self._all(self.values.min()).p_at_least(mean, times=times))

    def lower(self, *, alpha: float, first: float | None = None) -> float:
        """Return the largest mean that the true one is shown to be above."""
        place = _place(alpha)
        resampled = self.low if place < 0 else float(np.partition(self._resampled, place)[place])
        return min(resampled, self._all(self.values.max()).lower(alpha=alpha, first=first))

    def upper(self, *, alpha: float, first: float | None = None) -> float:
        """Return the smallest mean that the true one is shown to be below."""
        place = _place(alpha)
        turned = -self._resampled
        resampled = self.high if place < 0 else -float(np.partition(turned, place)[place])
        return max(resampled, self._all(self.values.min()).upper(alpha=alpha, first=first))

    def _all(self, value: float) -> BoundedSample:
        return BoundedSample(np.full(len(self.values), value), low=self.low, high=self.high)

    def _means(self, times: float) -> Array:
        """Return the resampled means, drawn together as those of a larger sample would be."""
        means: Array = self.mean + (self._resampled - self.mean) / math.sqrt(times)
        return means

    @cached_property
    def _resampled(self) -> Array:
        generator = np.random.default_rng(self.seed)
        n = len(self.values)
        rows = max(_AT_ONCE // n, 1)
        parts = [
            self.values[generator.integers(n, size=(min(rows, _N_RESAMPLES - start), n))].mean(1)
            for start in range(0, _N_RESAMPLES, rows)
        ]
        return np.concatenate(parts)


def _p(count: int) -> float:
    return (1 + count) / (1 + _N_RESAMPLES)


def _place(alpha: float) -> int:
    """Return how many resampled means may lie on the wrong side; -1 where not even none."""
    place = min(int(alpha * (1 + _N_RESAMPLES)), _N_RESAMPLES - 1)
    while place >= 0 and _p(place) > alpha:
        place -= 1
    return place
