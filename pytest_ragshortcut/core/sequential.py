"""A claim about a share, decided while draws come in: anytime-valid, so that one may look and stop.

The outcomes of independent draws are held or missed, at an unknown rate. What speaks for "the rate
is above r" is how much likelier the outcomes are under rates above r than under r itself, averaged
over those rates with weights fixed beforehand. Under r that average is a martingale which begins
at 1, so it ever reaches 1/alpha with probability alpha at most, whenever one stops (Ville 1939).
Under a smaller rate it is a supermartingale, for it grows with every draw that held: what speaks
against r speaks against every smaller rate. Likewise for "the rate is below r", the other way
round. The rates that are not rejected are an interval that holds at all numbers of draws at once.

**Above r** the weights are a half on the rate 1 and a half spread evenly over (r, 1): the claim is
most often made of a model that has no miss. **Below r** they are a half spread evenly over (0, r)
and a half as Beta(10, 1) on (0, r), which is mostly near r; no rate has a weight of its own. For a
claim of 95 % at 95 % confidence, draws needed on average where the true rate is

    true rate                  1      0.99   0.975  0.9    0.85   0.8    0.5    0
    as above                   68     146    465    204    59     30     5.5    2
    below r, evenly alone      68     146    465    258    68     33     5.4    2
    below r, Beta alone        68     146    467    182    55     29     6.7    3

(at most 1000; at 0.975 a tenth of the runs is undecided then). The two halves together are never
far behind the better one, and a model that reads nothing is found out by its second draw. A sample
of fixed size takes 59 draws of 59 for the first column, and may be looked at once.

Sources:
    Ville 1939 (the inequality); Robbins 1970, "Statistical methods related to the law of the
    iterated logarithm" (mixtures); Howard et al. 2021, "Time-uniform, nonparametric, nonasymptotic
    confidence sequences"; Waudby-Smith & Ramdas 2024, "Estimating means of bounded random
    variables by betting".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np

from pytest_ragshortcut.core.plans import Array
from pytest_ragshortcut.errors import OptionError

_EVEN, _NEAR = 1, 10
"""Rates lie Beta(1, b) of the way from r to the end: evenly for b = 1, mostly near r for 10."""
_HALVINGS = 64
"""Of the unit interval: more than a double has digits."""

_MANY = 10**6


class Decision(StrEnum):
    """What the draws so far say of a claim."""

    HOLDS = "HOLDS"
    """The rate is above the claimed one."""
    FAILS = "FAILS"
    """It is below."""
    OPEN = "OPEN"
    """Neither is shown yet."""


def evidence_above(n_held: int, n: int, rate: float) -> float:
    """Measure what the outcomes say against "at most this rate, or any smaller one".

    Args:
        n_held: how many draws held.
        n: how many draws there were.
        rate: in (0, 1).

    Returns:
        The log of the e-value. From log(1 / alpha) on the rate is rejected, with an error of
        alpha at most, whenever one stops. It falls with the rate and grows with n_held.

    Example:
        >>> evidence_above(0, 0, 0.95)
        0.0
        >>> [round(math.exp(evidence_above(n, n, 0.95)), 1) for n in (59, 68)]
        [13.6, 21.0]
    """
    n_missed = n - n_held
    spread = _log_mean(n_held, n_missed, log_odds=-_log_odds(rate), weight=_EVEN)
    without_miss = -n_held * math.log(rate) if n_missed == 0 else -math.inf
    return float(np.logaddexp(without_miss, spread) - math.log(2.0))


def evidence_below(n_held: int, n: int, rate: float) -> float:
    """Measure what the outcomes say against "at least this rate, or any larger one".

    Takes and returns what evidence_above does; it grows with the rate and falls with n_held.

    Example:
        >>> [round(math.exp(evidence_below(0, n, 0.95)), 1) for n in (1, 2)]
        [6.6, 75.1]
    """
    log_odds, n_missed = _log_odds(rate), n - n_held
    spread = _log_mean(n_missed, n_held, log_odds=log_odds, weight=_EVEN)
    near = _log_mean(n_missed, n_held, log_odds=log_odds, weight=_NEAR)
    return float(np.logaddexp(spread, near) - math.log(2.0))


@dataclass(frozen=True)
class Share:
    """How many of the draws so far held, and what that says of a claimed rate.

    Of the claim it errs with probability 1 - confidence at most, however long one draws and
    whenever one stops: where the rate is no larger, it ever says HOLDS that seldom, and FAILS
    where it is no smaller. The draws have to be independent.

    Raises:
        OptionError: if the rate or the confidence means nothing, or more held than were drawn.

    Example:
        >>> share = Share(188, 200, rate=0.95, confidence=0.95)
        >>> print(share.decision, "-", share.sentence)
        OPEN - held in 188 of 200 draws: 94.0 %, between 87.3 % and 97.9 % with 95 % confidence \
each side
    """

    n_held: int
    n: int
    """How many draws there were."""
    rate: float
    """The claim: at least this share of all draws holds."""
    confidence: float
    """Of each bound by itself, at all numbers of draws at once."""

    def __post_init__(self) -> None:
        _require("rate", self.rate, 0.0, 1.0)
        _require("confidence", self.confidence, 0.5, 1.0)
        if not 0 <= self.n_held <= self.n:
            expected = f"a whole number from 0 to the number of draws, {self.n}"
            raise OptionError(option="n_held", value=repr(self.n_held), expected=expected)

    @property
    def decision(self) -> Decision:
        """Whether the claim is shown, or shown to be wrong."""
        if self._is_above(self.rate):
            return Decision.HOLDS
        return Decision.FAILS if self._is_below(self.rate) else Decision.OPEN

    @property
    def observed(self) -> float:
        """The share of the draws that held; NaN where nothing was drawn."""
        return self.n_held / self.n if self.n else math.nan

    @cached_property
    def lower(self) -> float:
        """The largest rate that the true one is shown to be above; 0 where there is none."""
        return boundary(self._is_above, first=self.rate)[0]

    @cached_property
    def upper(self) -> float:
        """The smallest rate that the true one is shown to be below; 1 where there is none."""
        return boundary(lambda rate: not self._is_below(rate), first=self.rate)[1]

    @cached_property
    def n_more(self) -> int:
        """How many further draws would show the claim if all of them held; 0 once it is decided.

        Beyond a million, where counting them takes long, about how many.
        """
        if self.decision is not Decision.OPEN:
            return 0
        too_few, enough = 0, 1
        while not self._with(enough)._is_above(self.rate):
            too_few, enough = enough, 2 * enough
            if enough > _MANY:
                return enough
        while enough - too_few > 1:
            middle = (too_few + enough) // 2
            if self._with(middle)._is_above(self.rate):
                enough = middle
            else:
                too_few = middle
        return enough

    @property
    def sentence(self) -> str:
        """What was drawn and what it says; rounded down, the upper bound up."""
        observed = f"{1000 * self.n_held // self.n / 10.0:.1f} %" if self.n else "undefined"
        low, high = math.floor(1000.0 * self.lower) / 10.0, math.ceil(1000.0 * self.upper) / 10.0
        return (
            f"held in {self.n_held} of {self.n} draws: {observed}, between {low:.1f} % and "
            f"{high:.1f} % with {percent(self.confidence)} confidence each side"
        )

    @property
    def verdict(self) -> str:
        """What became of the claim, and why.

        Example:
            >>> Share(0, 2, rate=0.95, confidence=0.95).verdict
            'the claim of 95 % FAILS: held in 0 of 2 draws: 0.0 %, between 0.0 % and 89.9 % with \
95 % confidence each side'
        """
        end = "is OPEN, undecided" if self.decision is Decision.OPEN else self.decision
        return f"the claim of {percent(self.rate)} {end}: {self.sentence}"

    def after(self, *, held: bool) -> Share:
        """Return what is known after one draw more.

        Example:
            >>> Share(1, 1, rate=0.9, confidence=0.95).after(held=False).n_held
            1
        """
        return Share(self.n_held + held, self.n + 1, self.rate, self.confidence)

    def _with(self, n_more: int) -> Share:
        return Share(self.n_held + n_more, self.n + n_more, self.rate, self.confidence)

    @property
    def _enough(self) -> float:
        return -math.log1p(-self.confidence)

    def _is_above(self, rate: float) -> bool:
        return evidence_above(self.n_held, self.n, rate) >= self._enough

    def _is_below(self, rate: float) -> bool:
        return evidence_below(self.n_held, self.n, rate) >= self._enough


def percent(share: float) -> str:
    """Write a share as a person would.

    Example:
        >>> percent(0.975)
        '97.5 %'
    """
    return f"{100.0 * share:.6g} %"


def _log_mean(gains: int, losses: int, *, log_odds: float, weight: int) -> float:
    """Average (1 + u odds)^gains (1 - u)^losses over u ~ Beta(1, weight), in log space.

    With odds (1 - r) / r that is (q / r)^gains ((1 - q) / (1 - r))^losses for q = r + u (1 - r):
    the ratio of likelihoods. The incomplete beta integral, written out as the tail of a binomial
    distribution, whose terms are all positive: nothing cancels.
    """
    terms = np.arange(gains + 1)
    log_factorial = _log_factorials(gains + losses + weight)
    logs = (
        terms * log_odds
        + (log_factorial[gains] - log_factorial[gains - terms])
        + (log_factorial[losses + weight - 1] - log_factorial[terms + losses + weight])
    )
    largest = float(logs.max())
    return math.log(weight) + largest + math.log(float(np.exp(logs - largest).sum()))


def _log_odds(rate: float) -> float:
    return math.log(rate) - math.log1p(-rate)


def _log_factorials(largest: int) -> Array:
    """Return (largest + 1,), the logs of 0!, 1!, 2! ... ."""
    return np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, largest + 1)))))


def boundary(is_under: Callable[[float], bool], *, first: float) -> tuple[float, float]:
    """Enclose where in [0, 1] a property ends that small numbers have and large ones have not.

    Args:
        is_under: the property.
        first: what is tried first. With a limit that something is decided by, an interval and the
            decision cannot disagree.

    Example:
        >>> [round(end, 6) for end in boundary(lambda rate: rate < 0.3, first=0.5)]
        [0.3, 0.3]
    """
    low, high, middle = 0.0, 1.0, first
    for _ in range(_HALVINGS):
        if is_under(middle):
            low = middle
        else:
            high = middle
        middle = (low + high) / 2.0
        if not low < middle < high:
            break
    return low, high


def _require(name: str, value: float, above: float, below: float) -> None:
    if not (isinstance(value, int | float) and above < value < below):
        expected = f"a number between {above:g} and {below:g}, neither included"
        raise OptionError(option=name, value=repr(value), expected=expected)
