"""What a gate asks of one property, each as a claim that cases can show, or show to be wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pytest_ragshortcut.baselines.policy import Policy
from pytest_ragshortcut.baselines.resampling import ResampledSample
from pytest_ragshortcut.core.means import BoundedSample
from pytest_ragshortcut.core.plans import Array

_MANY = 10**6
_N_DIGITS = 9


@dataclass(frozen=True)
class Pair:
    """One case's two scores, turned so that more is better; None where undefined."""

    baseline: float | None
    candidate: float | None
    is_waived: bool = False

    @property
    def counts(self) -> bool:
        """Whether it is compared: it is not waived, and the baseline has a score."""
        return self.baseline is not None and not self.is_waived

    def change(self, undefined: float) -> float:
        """Return candidate minus baseline, with a number for a candidate's undefined score."""
        assert self.baseline is not None
        new = undefined if self.candidate is None else self.candidate
        # A change of 0.05 is one, whatever the last bits of its two scores are.
        return round(new - self.baseline, _N_DIGITS)


class Sample(Protocol):
    """Values that say something of their mean: exactly, or by resampling."""

    @property
    def mean(self) -> float:
        """The sample's own."""

    def p_at_most(self, mean: float, *, times: float = 1.0) -> float:
        """Return the p-value of a mean that is no larger."""

    def p_at_least(self, mean: float, *, times: float = 1.0) -> float:
        """Return the p-value of a mean that is no smaller."""

    def lower(self, *, alpha: float, first: float | None = None) -> float:
        """Return the largest mean that the true one is shown to be above."""

    def upper(self, *, alpha: float, first: float | None = None) -> float:
        """Return the smallest mean that the true one is shown to be below."""


@dataclass(frozen=True)
class Claim:
    """One thing that is asked of a property."""

    about: str
    """margin, floor or fell."""
    p_wrong: Callable[[float], float]
    """The p-value of its being wrong, small where the cases show it; of a sample so many times as
    large and just like this one."""
    p_right: Callable[[float], float]
    """The p-value of its being right, small where the cases show that it is wrong."""


@dataclass(frozen=True, eq=False)
class Means:
    """A mean where an undefined score is the worst possible, and where it is the best.

    Where all scores are defined the two are one.
    """

    least: Sample
    most: Sample

    def lower(self, *, alpha: float, first: float) -> float:
        """Return what the mean is shown to be above, whatever the undefined scores are."""
        return self.least.lower(alpha=alpha, first=first)

    def upper(self, *, alpha: float, first: float) -> float:
        """Return what the mean is shown to be below, whatever the undefined scores are."""
        return self.most.upper(alpha=alpha, first=first)

    def claims_above(self, about: str, limit: float) -> Claim:
        """Claim that the mean is above a limit."""
        return Claim(
            about,
            lambda times: self.least.p_at_most(limit, times=times),
            lambda times: self.most.p_at_least(limit, times=times),
        )


@dataclass(frozen=True)
class Rate:
    """How many cases of a number did what they should not: at most, and for certain.

    Example:
        >>> low, high = Rate(0, 0, 100).interval(low=0.025, high=0.025)
        >>> low, round(high, 4)
        (0.0, 0.0362)
    """

    most: int
    """Those without a score, and those that rounding alone may have moved, among them."""
    least: int
    """Without these."""
    n: int

    def interval(self, *, low: float, high: float) -> tuple[float, float]:
        """Bound the share of all cases that do it, exactly.

        Args:
            low: how probable it may be that the share is below the lower bound all the same.
            high: the same of the upper bound.

        Source:
            Clopper & Pearson 1934.
        """
        from scipy.stats import binomtest

        def ends(n_failed: int, alpha: float) -> tuple[float, float]:
            test = binomtest(n_failed, self.n)
            found = test.proportion_ci(1.0 - 2.0 * alpha, method="exact")
            return float(found.low), float(found.high)

        return ends(self.least, low)[0], ends(self.most, high)[1]

    def claim_below(self, about: str, limit: float) -> Claim:
        """Claim that the share is below a limit."""
        from scipy.stats import binom

        def p_wrong(times: float) -> float:
            return float(binom.cdf(round(self.most * times), round(self.n * times), limit))

        def p_right(times: float) -> float:
            return float(binom.sf(round(self.least * times) - 1, round(self.n * times), limit))

        return Claim(about, p_wrong, p_right)


def changes_of(pairs: Sequence[Pair], policy: Policy, *, tolerance: float) -> Means:
    """Take the changes of pairs that count.

    One within the tolerance may be rounding: where a property is to pass it is no gain, and where
    it is to fail no loss.
    """

    def changes(undefined: float) -> Array:
        return np.array([pair.change(undefined) for pair in pairs])

    def sample(values: Array, rounding: Array) -> Sample:
        return _sample(np.where(np.abs(values) <= tolerance, rounding, values), -1.0, policy)

    worst, best = changes(0.0), changes(1.0)
    return Means(sample(worst, np.minimum(worst, 0.0)), sample(best, np.maximum(best, 0.0)))


def scores_of(pairs: Sequence[Pair], policy: Policy) -> Means:
    """Take the candidate's scores of pairs that count."""

    def sample(undefined: float) -> Sample:
        scores = [undefined if pair.candidate is None else pair.candidate for pair in pairs]
        return _sample(np.array(scores), 0.0, policy)

    return Means(sample(0.0), sample(1.0))


def fell(pair: Pair, *, margin: float) -> bool:
    """Say whether a case is worse by more than the margin, or has no score any more.

    Example:
        >>> fell(Pair(1.0, 0.9), margin=0.05), fell(Pair(0.9, 0.85), margin=0.05)
        (True, False)
        >>> fell(Pair(1.0, None), margin=0.05), fell(Pair(None, 0.0), margin=0.05)
        (True, False)
    """
    return pair.baseline is not None and pair.change(-1.0) < -margin


def fallen(pairs: Sequence[Pair], *, margin: float, tolerance: float) -> Rate:
    """Count how many of the pairs that count fell: at most, and for certain.

    Example:
        >>> fallen([Pair(1.0, 0.9), Pair(1.0, None), Pair(1.0, 0.0)], margin=0.05, tolerance=0.1)
        Rate(most=3, least=1, n=3)
    """
    return Rate(
        most=sum(fell(pair, margin=margin) for pair in pairs),
        least=sum(pair.change(1.0) < -(margin + tolerance) for pair in pairs),
        n=len(pairs),
    )


def _sample(values: Array, low: float, policy: Policy) -> Sample:
    kind = ResampledSample if policy.interval == "bootstrap" else BoundedSample
    return kind(values, low=low, high=1.0)


def n_needed(n: int, is_enough: Callable[[float], bool]) -> int | None:
    """Return how many cases like n given ones would do; None where a million would not.

    Args:
        n: how many there are: too few.
        is_enough: whether a sample so many times as large would do.

    Example:
        >>> n_needed(40, lambda times: 40 * times >= 59)
        59
    """
    few, many = n, 2 * n
    while not is_enough(many / n):
        if many >= _MANY:
            return None
        few, many = many, min(2 * many, _MANY)
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if is_enough(middle / n) else (middle, many)
    return many
