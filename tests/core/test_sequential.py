"""A claim about a share: the e-processes by exact fractions, and how often they are wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pytest_ragshortcut.core.sequential import Decision, Share, evidence_above, evidence_below
from pytest_ragshortcut.errors import OptionError

ENOUGH = math.log(20.0)
MAX_DRAWS = 1000

counts = st.tuples(st.integers(0, 400), st.integers(0, 400))
rates = st.floats(0.001, 0.999)
confidences = st.floats(0.51, 0.999)
shares = st.builds(
    lambda held, missed, rate, confidence: Share(held, held + missed, rate, confidence),
    st.integers(0, 300), st.integers(0, 60), rates, confidences,
)  # fmt: skip


def _integral(coefficients: list[Fraction], start: Fraction, stop: Fraction) -> Fraction:
    return sum(
        (c * (stop ** (k + 1) - start ** (k + 1)) / (k + 1) for k, c in enumerate(coefficients)),
        Fraction(0),
    )


def _likelihood(n_held: int, n_missed: int, weight: int) -> list[Fraction]:
    """Return the coefficients of q^(held + weight - 1) (1 - q)^missed, lowest first."""
    signs = [Fraction((-1) ** k * math.comb(n_missed, k)) for k in range(n_missed + 1)]
    return [Fraction(0)] * (n_held + weight - 1) + signs


def _exactly_above(n_held: int, n_missed: int, rate: Fraction) -> Fraction:
    under_rate = rate**n_held * (1 - rate) ** n_missed
    spread = _integral(_likelihood(n_held, n_missed, 1), rate, Fraction(1)) / (1 - rate)
    return (Fraction(n_missed == 0) + spread) / under_rate / 2


def _exactly_below(n_held: int, n_missed: int, rate: Fraction) -> Fraction:
    under_rate = rate**n_held * (1 - rate) ** n_missed
    even, near = (
        weight * _integral(_likelihood(n_held, n_missed, weight), Fraction(0), rate) / rate**weight
        for weight in (1, 10)
    )
    return (even + near) / under_rate / 2


fractions = st.builds(Fraction, st.integers(1, 63), st.just(64))


@given(held=st.integers(0, 40), missed=st.integers(0, 40), rate=fractions)
def test_evidence_is_the_mean_ratio_of_likelihoods(held: int, missed: int, rate: Fraction) -> None:
    n, r = held + missed, float(rate)
    above, below = _exactly_above(held, missed, rate), _exactly_below(held, missed, rate)
    assert math.exp(evidence_above(held, n, r)) == pytest.approx(float(above), rel=1e-11)
    assert math.exp(evidence_below(held, n, r)) == pytest.approx(float(below), rel=1e-11)


@given(counts=counts, rate=rates)
@example(counts=(100_000, 7), rate=0.95)
@example(counts=(3, 100_000), rate=0.05)
def test_evidence_agrees_with_numerical_integration(counts: tuple[int, int], rate: float) -> None:
    held, missed = counts
    # Over an integrand that may be sharp, on panels that are finest at both ends.
    nodes, weights = np.polynomial.legendre.leggauss(40)
    edges = np.concatenate(([0.0], np.geomspace(1e-7, 0.5, 60)))
    edges = np.concatenate((edges, 1.0 - edges[-2::-1]))
    width = np.diff(edges)[:, None]
    u, mass = (edges[:-1, None] + width * (nodes + 1) / 2).ravel(), (width * weights / 2).ravel()

    def mean(q: NDArray[np.float64], density: NDArray[np.float64]) -> float:
        logs = held * np.log(q / rate) + missed * np.log((1 - q) / (1 - rate))
        largest = logs.max()
        return float(largest + np.log((np.exp(logs - largest) * mass * density).sum()))

    above = mean(rate + u * (1 - rate), np.ones_like(u))
    if missed == 0:
        above = float(np.logaddexp(above, -held * math.log(rate)))
    below = mean(rate * u, 1 + 10 * u**9)
    assert evidence_above(held, held + missed, rate) == pytest.approx(above - math.log(2), abs=1e-7)
    assert evidence_below(held, held + missed, rate) == pytest.approx(below - math.log(2), abs=1e-7)


@given(counts=counts, rate=rates, other=rates)
def test_evidence_is_a_supermartingale_under_every_rate_that_it_rejects(
    counts: tuple[int, int], rate: float, other: float
) -> None:
    held, n = counts[0], sum(counts)

    def expected(evidence: Callable[[int, int, float], float], true: float) -> float:
        if_held, if_missed = evidence(held + 1, n + 1, rate), evidence(held, n + 1, rate)
        return float(np.logaddexp(math.log(true) + if_held, math.log1p(-true) + if_missed))

    for evidence in (evidence_above, evidence_below):
        assert expected(evidence, rate) == pytest.approx(evidence(held, n, rate), abs=1e-9)
    smaller, larger = min(rate, other), max(rate, other)
    assert expected(evidence_above, smaller) <= evidence_above(held, n, rate) + 1e-9
    assert expected(evidence_below, larger) <= evidence_below(held, n, rate) + 1e-9
    assert evidence_above(0, 0, rate) == pytest.approx(0.0, abs=1e-12)
    assert evidence_below(0, 0, rate) == pytest.approx(0.0, abs=1e-12)


@given(counts=counts, rate=rates, other=rates)
def test_evidence_against_a_rate_is_more_against_one_further_away(
    counts: tuple[int, int], rate: float, other: float
) -> None:
    held, n = counts[0], sum(counts)
    smaller, larger = min(rate, other), max(rate, other)
    assert evidence_above(held, n, smaller) >= evidence_above(held, n, larger) - 1e-9
    assert evidence_below(held, n, larger) >= evidence_below(held, n, smaller) - 1e-9


@given(share=shares)
def test_decision_and_interval_never_disagree(share: Share) -> None:
    assert (share.decision is Decision.HOLDS) == (share.lower >= share.rate)
    assert (share.decision is Decision.FAILS) == (share.upper <= share.rate)
    assert 0.0 <= share.lower <= share.upper <= 1.0
    if share.n:
        assert share.lower <= share.observed <= share.upper


@given(share=shares)
def test_they_do_not_even_where_the_claim_is_a_bound(share: Share) -> None:
    for bound in (share.lower, share.upper):
        for rate in (bound, math.nextafter(bound, 0.0), math.nextafter(bound, 1.0)):
            if 0.0 < rate < 1.0:
                at = Share(share.n_held, share.n, rate, share.confidence)
                assert (at.decision is Decision.HOLDS) == (at.lower >= rate)
                assert (at.decision is Decision.FAILS) == (at.upper <= rate)


@given(share=shares)
def test_bounds_are_where_the_evidence_is_just_enough(share: Share) -> None:
    enough = -math.log1p(-share.confidence)
    for evidence, bound in ((evidence_above, share.lower), (evidence_below, share.upper)):
        if 1e-12 < bound < 1.0 - 1e-12:
            assert evidence(share.n_held, share.n, bound) == pytest.approx(enough, abs=1e-8)


@given(share=shares)
def test_a_draw_more_moves_both_bounds_its_own_way(share: Share) -> None:
    held, missed = share.after(held=True), share.after(held=False)
    assert missed.lower <= share.lower + 1e-12 <= held.lower + 2e-12
    assert missed.upper <= share.upper + 1e-12 <= held.upper + 2e-12


@given(share=shares)
def test_the_claim_does_not_move_the_bounds(share: Share) -> None:
    other = Share(share.n_held, share.n, 0.5, share.confidence)
    assert other.lower == pytest.approx(share.lower, abs=1e-12)
    assert other.upper == pytest.approx(share.upper, abs=1e-12)


@given(share=shares)
def test_as_many_more_without_a_miss_decide_and_no_fewer(share: Share) -> None:
    more = share.n_more
    assert (more == 0) == (share.decision is not Decision.OPEN)
    if more:
        enough = Share(share.n_held + more, share.n + more, share.rate, share.confidence)
        too_few = Share(enough.n_held - 1, enough.n - 1, share.rate, share.confidence)
        assert enough.decision is Decision.HOLDS
        assert too_few.decision is not Decision.HOLDS


def test_the_sentence_says_what_was_drawn_and_rounds_outwards() -> None:
    share = Share(1999, 2000, rate=0.95, confidence=0.975)
    assert share.sentence == (
        "held in 1999 of 2000 draws: 99.9 %, between 99.5 % and 100.0 % with 97.5 % confidence "
        "each side"
    )
    assert 0.995 < share.lower < 0.996
    assert 0.999 < share.upper < 1.0
    assert Share(0, 0, 0.9, 0.95).sentence.startswith("held in 0 of 0 draws: undefined, between")
    assert math.isnan(Share(0, 0, 0.9, 0.95).observed)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rate": 0.0}, "rate has the value '0.0'"),
        ({"rate": 95}, "rate has the value '95'"),
        ({"rate": math.nan}, "rate has the value 'nan'"),
        ({"rate": "95 %"}, "rate takes a number between 0 and 1"),
        ({"confidence": 0.5}, "confidence takes a number between 0.5 and 1"),
        ({"confidence": 1.0}, "confidence has the value '1.0'"),
        ({"n_held": 3}, "n_held takes a whole number from 0 to the number of draws, 2"),
        ({"n_held": -1}, "n_held has the value '-1'"),
    ],
)
def test_what_means_nothing_is_refused(changed: dict[str, float], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        Share(**{"n_held": 1, "n": 2, "rate": 0.9, "confidence": 0.95, **changed})


@cache
def _limits(rate: float) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Return for n = 1, 2, ... up to how many misses show the claim, and from how many refute it.

    None shows it: -1. None refutes it: more than n.
    """
    most, fewest = [], []
    shown, refuted = -1, 0
    for n in range(1, MAX_DRAWS + 1):
        while shown < n and evidence_above(n - shown - 1, n, rate) >= ENOUGH:
            shown += 1
        while refuted <= n and evidence_below(n - refuted, n, rate) < ENOUGH:
            refuted += 1
        most.append(shown)
        fewest.append(refuted)
    return np.array(most), np.array(fewest)


def _ends(rate: float, true: float) -> tuple[float, float, float]:
    """Return how often a claim is ever shown or refuted, and how many draws are needed.

    Exactly, by the distribution of the misses after n draws in runs that are still undecided.
    """
    undecided = np.zeros(MAX_DRAWS + 2)
    undecided[0], holds, fails, drawn = 1.0, 0.0, 0.0, 0.0
    for most, fewest in zip(*_limits(rate), strict=True):
        drawn += undecided.sum()
        undecided[1:] = undecided[1:] * true + undecided[:-1] * (1.0 - true)
        undecided[0] *= true
        holds += undecided[: most + 1].sum()
        fails += undecided[fewest:].sum()
        undecided[: most + 1] = undecided[fewest:] = 0.0
    return float(holds), float(fails), float(drawn)


@pytest.mark.parametrize("rate", [0.5, 0.8, 0.95, 0.99])
def test_wrong_decisions_are_as_seldom_as_promised(rate: float) -> None:
    for true in (0.0, rate / 2, 1 - 2 * (1 - rate), rate - 0.001, rate):
        assert _ends(rate, true)[0] <= 0.05
    for true in (rate, rate + 0.001, (1 + rate) / 2, 1.0):
        assert _ends(rate, true)[1] <= 0.05
    # Close to what is allowed: a test that never decides would pass the lines above.
    assert _ends(rate, rate)[0] > 0.02
    assert _ends(rate, rate)[1] > 0.02


@pytest.mark.parametrize("true", [0.8, 0.93, 0.95, 0.97, 1.0])
def test_simulated_runs_end_as_the_exact_recursion_says(true: float) -> None:
    n_runs, random = 4000, np.random.default_rng(20240624)
    missed = np.cumsum(random.random((n_runs, MAX_DRAWS)) >= true, axis=1)
    most, fewest = _limits(0.95)
    shown, refuted = missed <= most, missed >= fewest
    first_shown = np.where(shown.any(axis=1), shown.argmax(axis=1), MAX_DRAWS)
    first_refuted = np.where(refuted.any(axis=1), refuted.argmax(axis=1), MAX_DRAWS)
    holds = int((first_shown < first_refuted).sum())
    fails = int((first_refuted < first_shown).sum())
    drawn = np.minimum(np.minimum(first_shown, first_refuted) + 1, MAX_DRAWS).mean()
    expected = _ends(0.95, true)
    for count, probability in ((holds, expected[0]), (fails, expected[1])):
        assert _is_plausible(count, n_runs, probability)
    assert drawn == pytest.approx(expected[2], abs=5 * MAX_DRAWS / 2 / math.sqrt(n_runs))
    if true <= 0.95:
        assert _at_least(holds, n_runs, 0.05) > 1e-6
    if true >= 0.95:
        assert _at_least(fails, n_runs, 0.05) > 1e-6


def _at_least(count: int, n: int, probability: float) -> float:
    """Return how likely as many or more successes are, exactly."""
    if not 0.0 < probability < 1.0:
        return float(count <= n * probability)
    terms = np.arange(count, n + 1)
    log_choose = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in terms]
    return float(
        np.exp(log_choose + terms * math.log(probability) + (n - terms) * math.log1p(-probability))
        .sum()
    )  # fmt: skip


def _is_plausible(count: int, n: int, probability: float) -> bool:
    probability = min(max(probability, 0.0), 1.0)
    fewer = _at_least(n - count, n, 1.0 - probability)
    return min(_at_least(count, n, probability), fewer) > 1e-6


def test_what_a_decision_costs_beside_a_sample_of_fixed_size() -> None:
    fixed = math.ceil(math.log(0.05) / math.log(0.95))
    needed = {true: _ends(0.95, true)[2] for true in (1.0, 0.99, 0.9, 0.8, 0.5, 0.0)}
    print(f"fixed: {fixed} of {fixed};", *(f"{t:g}: {n:.1f}" for t, n in needed.items()))
    assert fixed == 59
    assert needed[1.0] == 68
    assert needed[0.99] < 150
    assert needed[0.9] < 210
    assert needed[0.8] < 30
    assert needed[0.5] < 6
    assert needed[0.0] == 2


def test_the_weight_near_the_rate_finds_what_an_even_spread_does_not() -> None:
    n, rate = 200, Fraction(19, 20)
    missed = int(_limits(0.95)[1][n - 1])
    even = _integral(_likelihood(n - missed, missed, 1), Fraction(0), rate) / rate
    assert Share(n - missed, n, 0.95, 0.95).decision is Decision.FAILS
    assert even / (rate ** (n - missed) * (1 - rate) ** missed) < 20
