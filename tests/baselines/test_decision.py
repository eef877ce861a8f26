"""Decisions of the gate: the errors it promises, by simulation; its rules, by enumeration."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_ragshortcut.baselines.claims import Pair, Rate
from pytest_ragshortcut.baselines.decision import Outcome, holm, judge, overall
from pytest_ragshortcut.baselines.policy import Policy
from pytest_ragshortcut.baselines.sentences import sentence_of
from pytest_ragshortcut.core.plans import Array
from pytest_ragshortcut.errors import OptionError

MARGIN = 0.1
ALPHA = 0.025
N_RUNS = 400
# Three standard errors above what is promised.
MOST = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / N_RUNS)

Draw = Callable[[np.random.Generator, int], Array]


def pairs(changes: Iterable[float], baseline: float = 1.0) -> list[Pair]:
    return [Pair(baseline, baseline + float(change)) for change in changes]


def outcomes(policy: Policy, *properties: list[Pair]) -> list[Outcome]:
    named = {f"test_{i}, context": each for i, each in enumerate(properties)}
    return [each.outcome for each in judge(named, policy, tolerance=0.0)]


def _rare_loss(generator: np.random.Generator, n: int) -> Array:
    """One case in ten loses everything: on average the margin."""
    return -(generator.random(n) < MARGIN).astype(float)


def _small_losses(generator: np.random.Generator, n: int) -> Array:
    return np.clip(generator.normal(-MARGIN, 0.05, n), -2 * MARGIN, 0.0)


def _even_losses(generator: np.random.Generator, n: int) -> Array:
    return -generator.random(n) * 2 * MARGIN


@pytest.mark.parametrize("draw", [_rare_loss, _small_losses, _even_losses])
@pytest.mark.parametrize("n", [25, 80])
def test_a_model_at_the_margin_seldom_passes_and_seldom_fails(draw: Draw, n: int) -> None:
    generator = np.random.default_rng(n)
    made = [outcomes(Policy(MARGIN), pairs(draw(generator, n)))[0] for _ in range(N_RUNS)]
    assert made.count(Outcome.PASS) / N_RUNS <= MOST
    assert made.count(Outcome.FAIL) / N_RUNS <= MOST


def test_of_several_models_at_the_margin_seldom_any_passes_or_fails() -> None:
    generator = np.random.default_rng(0)
    n_passed = n_failed = 0
    for _ in range(N_RUNS):
        some = [pairs(_rare_loss(generator, 60)) for _ in range(4)]
        some.append(pairs(np.zeros(200)))
        *made, good = outcomes(Policy(MARGIN), *some)
        assert good is Outcome.PASS
        n_passed += Outcome.PASS in made
        n_failed += Outcome.FAIL in made
    assert n_passed / N_RUNS <= MOST
    assert n_failed / N_RUNS <= MOST


def test_at_the_floor_and_at_the_rate_it_seldom_passes() -> None:
    generator = np.random.default_rng(1)
    floor, rate = Policy(0.9, floor=0.8), Policy(0.9, fell=0.2)
    n_floor = n_rate = 0
    for _ in range(N_RUNS):
        scores = np.where(generator.random(60) < 0.2, 0.0, 1.0)
        n_floor += outcomes(floor, pairs(scores - 1.0))[0] is Outcome.PASS
        n_rate += outcomes(rate, pairs(scores - 1.0))[0] is Outcome.PASS
    assert n_floor / N_RUNS <= MOST
    assert n_rate / N_RUNS <= MOST


def test_what_the_bootstrap_is_not_told_of() -> None:
    """Why it is not the default: samples that happen to hold one rare loss look precise."""
    generator = np.random.default_rng(2)
    some = [pairs(_rare_loss(generator, 45)) for _ in range(N_RUNS)]
    passed = {
        interval: [outcomes(Policy(MARGIN, interval=interval), each)[0] for each in some].count(
            Outcome.PASS
        )
        for interval in ("bootstrap", "bounded")
    }
    assert passed["bootstrap"] / N_RUNS > 1.3 * ALPHA
    assert passed["bounded"] / N_RUNS <= MOST


@pytest.mark.parametrize("interval", ["bounded", "bootstrap"])
def test_scores_that_are_all_alike_have_an_interval(interval: str) -> None:
    policy = Policy(0.05, interval=interval)  # type: ignore[arg-type]
    assert outcomes(policy, pairs(np.zeros(40))) == [Outcome.INCONCLUSIVE]
    assert outcomes(policy, pairs(np.zeros(90))) == [Outcome.PASS]


def test_where_values_vary_the_bootstrap_needs_fewer_cases() -> None:
    changes = np.repeat([-0.3, 0.0], [8, 72])
    assert outcomes(Policy(0.06, interval="bootstrap"), pairs(changes)) == [Outcome.PASS]
    assert outcomes(Policy(0.06), pairs(changes)) == [Outcome.INCONCLUSIVE]


@given(values=st.lists(st.floats(-1.0, 0.0), min_size=1, max_size=12))
def test_a_few_cases_decide_nothing_however_alike_they_are(values: list[float]) -> None:
    policy = Policy(0.05, interval="bootstrap")
    assert Outcome.PASS not in outcomes(policy, pairs(values))


def test_a_model_that_lost_its_context_fails_at_once() -> None:
    assert outcomes(Policy(0.05, floor=0.8), pairs(-np.ones(8))) == [Outcome.FAIL]


@given(
    n=st.integers(5, 80),
    loss=st.sampled_from([0.0, -0.02, -0.3, -1.0]),
    n_lost=st.integers(0, 10),
    more=st.booleans(),
)
def test_as_many_more_cases_as_it_says_decide(n: int, loss: float, n_lost: int, more: bool) -> None:
    changes = [loss] * min(n_lost, n) + [0.0] * (n - min(n_lost, n))
    policy = Policy(MARGIN, floor=0.5 if more else None)
    (judged,) = judge({"a": pairs(changes)}, policy, tolerance=0.0)
    if judged.n_more:
        larger = changes * ((n + judged.n_more) // n + 2)
        assert outcomes(policy, pairs(larger)) == [judged.more_would]
        assert f"{judged.n_more:,} more case" in sentence_of(judged)


def test_an_undefined_score_counts_as_the_worst_for_passing_and_the_best_for_failing() -> None:
    good = [Pair(1.0, 1.0)] * 90
    assert outcomes(Policy(0.05), good) == [Outcome.PASS]
    assert outcomes(Policy(0.05), good + [Pair(1.0, None)] * 10) == [Outcome.INCONCLUSIVE]
    assert outcomes(Policy(0.05), [Pair(1.0, None)] * 100) == [Outcome.INCONCLUSIVE]


def test_what_the_baseline_has_no_score_of_and_what_is_waived_is_left_out() -> None:
    lost = [Pair(1.0, 0.0, is_waived=True)] * 50 + [Pair(None, 0.0)] * 50
    assert outcomes(Policy(0.05), [Pair(1.0, 1.0)] * 90 + lost) == [Outcome.PASS]
    (judged,) = judge({"a": lost}, Policy(0.05), tolerance=0.0)
    assert not judged.decides
    assert overall([judged]) is Outcome.FAIL, "a gate of nothing does not pass"


def test_rounding_is_no_gain_and_no_loss() -> None:
    """What may be rounding neither lets a property pass nor makes it fail."""
    worse, better = {"a": pairs([-0.06] * 3000)}, {"a": pairs([-0.2] * 20 + [0.04] * 400)}
    for properties, exact in ((worse, Outcome.FAIL), (better, Outcome.PASS)):
        assert judge(properties, Policy(0.05), tolerance=0.0)[0].outcome is exact
    assert judge(worse, Policy(0.05), tolerance=0.07)[0].outcome is Outcome.INCONCLUSIVE
    lost = {"a": pairs([-0.3] * 90)}
    assert judge(lost, Policy(0.05), tolerance=0.4)[0].outcome is Outcome.INCONCLUSIVE


SCORES = st.sampled_from([0.0, 0.3, 0.9, 0.95, 1.0])


@given(
    properties=st.lists(
        st.lists(st.tuples(SCORES, SCORES | st.none()), min_size=1, max_size=6), max_size=3
    ),
    times=st.integers(1, 40),
    floor=st.none() | st.just(0.8),
    share=st.none() | st.just(0.2),
    interval=st.sampled_from(["bounded", "bootstrap"]),
)
def test_no_interval_that_is_shown_contradicts_the_outcome(
    properties: list[list[tuple[float, float | None]]],
    times: int,
    floor: float | None,
    share: float | None,
    interval: str,
) -> None:
    policy = Policy(MARGIN, floor=floor, fell=share, interval=interval)  # type: ignore[arg-type]
    named = {str(i): [Pair(*each) for each in some] * times for i, some in enumerate(properties)}
    for judged in judge(named, policy, tolerance=1e-4):
        evidence, low = judged.evidence, judged.alpha_pass
        high = judged.alpha_fail / len(evidence.claims)
        shown = [evidence.change.lower(alpha=low, first=-MARGIN) >= -MARGIN]
        against = [evidence.change.upper(alpha=high, first=-MARGIN) <= -MARGIN]
        if floor is not None:
            shown.append(evidence.candidate.lower(alpha=low, first=floor) >= floor)
            against.append(evidence.candidate.upper(alpha=high, first=floor) <= floor)
        if share is not None:
            least, most = evidence.fell.interval(low=high, high=low)
            shown.append(most <= share)
            against.append(least >= share)
        assert (judged.outcome is Outcome.PASS) == all(shown)
        assert (judged.outcome is Outcome.FAIL) == any(against)
        assert sentence_of(judged)


def test_a_primary_property_decides_alone() -> None:
    some = {"a.py::test_good, context": pairs(np.zeros(90)), "a.py::test_bad, context": pairs([-1])}
    for name in ("test_good", "a.py::test_good", "a.py::test_good, context"):
        judged = judge(some, Policy(0.05, primary=name), tolerance=0.0)
        assert overall(judged) is Outcome.PASS
        assert [each.decides for each in judged] == [True, False]
    with pytest.raises(OptionError, match="test_other"):
        judge(some, Policy(0.05, primary="test_other"), tolerance=0.0)


@given(p=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6), alpha=st.floats(0.01, 0.2))
def test_holm_is_the_closure_of_bonferroni(p: list[float], alpha: float) -> None:
    """Rejected is what every intersection that it is in rejects (Marcus, Peritz & Gabriel 1976)."""
    names = [str(i) for i in range(len(p))]
    found = holm(dict(zip(names, p, strict=True)), alpha)
    for i, name in enumerate(names):
        subsets = (s for s in range(1, 2 ** len(p)) if s >> i & 1)
        members = ([p[j] for j in range(len(p)) if s >> j & 1] for s in subsets)
        assert found[name][0] == all(min(some) <= alpha / len(some) for some in members)


@given(n_failed=st.integers(0, 30), n_held=st.integers(0, 200), limit=st.floats(0.01, 0.6))
def test_rates_are_exact(n_failed: int, n_held: int, limit: float) -> None:
    n = n_failed + n_held
    if n == 0:
        return
    rate = Rate(n_failed, n_failed, n)
    low, high = rate.interval(low=0.025, high=0.025)
    assert low == pytest.approx(stats.beta.ppf(0.025, n_failed, n_held + 1) if n_failed else 0.0)
    assert high == pytest.approx(stats.beta.ppf(0.975, n_failed + 1, n_held) if n_held else 1.0)
    claim = rate.claim_below("fell", limit)
    if not math.isclose(high, limit):
        assert (claim.p_wrong(1.0) <= 0.025) == (high < limit)
    if not math.isclose(low, limit):
        assert (claim.p_right(1.0) <= 0.025) == (low > limit)


def test_a_case_without_a_score_has_not_been_seen_to_fall() -> None:
    undefined = [Pair(1.0, None)] * 30
    assert outcomes(Policy(0.05, fell=0.1), undefined) == [Outcome.INCONCLUSIVE]
    (judged,) = judge({"a": undefined}, Policy(0.05), tolerance=0.0)
    assert "30 cases without a score count as the worst possible" in sentence_of(judged)


def test_no_failure_of_a_hundred_still_allows() -> None:
    (judged,) = judge({"a": pairs(np.zeros(100))}, Policy(0.05), tolerance=0.0)
    assert "0 of 100 cases fell by more than 0.05, which still allows 3.6 %" in sentence_of(judged)
