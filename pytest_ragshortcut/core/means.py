"""What a sample says of a mean, where all that is known of a value is the range it lies in.

What speaks for "the mean is above m" is a bet: whoever stakes a share c of all that the range lets
them stake multiplies their money by 1 + c (x - m) / (m - low) at each value. If the mean is m or
less, no bet is expected to gain, so its product is above 1/alpha with probability alpha at most
(Markov). Stakes are fixed beforehand: a half on everything (c = 1), which gains most where no value
is far below m, and a half spread evenly over (0, 1). Nothing is assumed of how values are spread,
and their order does not matter. For values that are 0 or 1 it is `sequential.evidence_above`.

No test of a mean can do without this caution. Where all of n values are alike, a bootstrap says
that the mean is known exactly; yet a twentieth of all cases may lose everything, and n = 30 show
none of them in one of five samples. Here the bound is then as wide as that of a rate: cases that
lose everything are bounded as failures are that were not seen.

Sources:
    Waudby-Smith & Ramdas 2024, "Estimating means of bounded random variables by betting", section
    4. We deviate: stakes do not follow the values, so that their order cannot matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from pytest_ragshortcut.core.plans import Array
from pytest_ragshortcut.core.sequential import boundary
from pytest_ragshortcut.errors import OptionError

_N_STAKES = 64


@dataclass(frozen=True, eq=False)
class BoundedSample:
    """Independent values of one range, and what they say of their mean.

    Raises:
        OptionError: if a value is outside the range, or there is none.

    Example:
        >>> same = BoundedSample(np.zeros(100), low=-1.0, high=1.0)
        >>> round(same.lower(alpha=0.025), 3), round(same.upper(alpha=0.025), 3)
        (-0.041, 0.041)
    """

    values: Array
    """(n,)."""
    low: float
    high: float

    def __post_init__(self) -> None:
        inside = (self.values >= self.low) & (self.values <= self.high)
        if not self.values.size or not inside.all():
            expected = f"one value or more, each in [{self.low:g}, {self.high:g}]"
            raise OptionError(option="values", value=repr(self.values), expected=expected)

    @property
    def mean(self) -> float:
        """The sample's own."""
        return float(self.values.mean())

    def p_at_most(self, mean: float, *, times: float = 1.0) -> float:
        """Return how well the values agree with a mean that is no larger.

        Args:
            mean: the largest mean in question.
            times: how often to count every value: what a larger sample just like it would say.

        Returns:
            A p-value: if the mean is no larger, it is alpha or less with probability alpha at most.

        Example:
            >>> held = BoundedSample(np.ones(68), low=0.0, high=1.0)
            >>> held.p_at_most(0.95) < 0.05 < held.p_at_most(0.95, times=67 / 68)
            True
        """
        return _p(self._units, self._unit(mean), times)

    def p_at_least(self, mean: float, *, times: float = 1.0) -> float:
        """Return how well the values agree with a mean that is no smaller; see p_at_most."""
        return _p(1.0 - self._units, 1.0 - self._unit(mean), times)

    def lower(self, *, alpha: float, first: float | None = None) -> float:
        """Return the largest mean that the true one is shown to be above.

        Args:
            alpha: how probable it may be that the true mean is below all the same.
            first: the mean that something is decided by, so that bound and decision agree.
        """
        guess = 0.5 if first is None else self._unit(first)
        inside, _ = boundary(lambda unit: _p(self._units, unit, 1.0) <= alpha, first=guess)
        return self._value(inside)

    def upper(self, *, alpha: float, first: float | None = None) -> float:
        """Return the smallest mean that the true one is shown to be below; see lower."""
        guess = 0.5 if first is None else self._unit(first)
        turned = 1.0 - self._units
        _, outside = boundary(lambda unit: _p(turned, 1.0 - unit, 1.0) > alpha, first=guess)
        return self._value(outside)

    @cached_property
    def _units(self) -> Array:
        units: Array = np.clip((self.values - self.low) / (self.high - self.low), 0.0, 1.0)
        return units

    def _unit(self, value: float) -> float:
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def _value(self, unit: float) -> float:
        return self.low + unit * (self.high - self.low)


def _p(units: Array, mean: float, times: float) -> float:
    """Return the p-value of "the mean of values in [0, 1] is at most so much"."""
    if mean <= 0.0:
        return 0.0 if units.any() else 1.0
    stakes, weights = _stakes()
    with np.errstate(divide="ignore"):
        gains = np.log1p(stakes[:, None] * (units / mean - 1.0)).sum(axis=1)
    return min(1.0, math.exp(-float(np.logaddexp.reduce(np.log(weights) + times * gains))))


@cache
def _stakes() -> tuple[Array, Array]:
    """Return (n_stakes,) shares of what may be staked, and (n_stakes,) how much is bet on each."""
    nodes, weights = np.polynomial.legendre.leggauss(_N_STAKES)
    return np.append((nodes + 1.0) / 2.0, 1.0), np.append(weights / 4.0, 0.5)
