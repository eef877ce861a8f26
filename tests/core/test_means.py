"""Bounds of a mean: against the binary closed form, and by simulation of what they promise."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ragshortcut.core.means import BoundedSample
from pytest_ragshortcut.core.plans import Array
from pytest_ragshortcut.core.sequential import evidence_above, evidence_below
from pytest_ragshortcut.errors import OptionError

Draw = Callable[[np.random.Generator, int], Array]
ALPHA = 0.025
UNITS = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30).map(np.array)
MEANS = st.floats(0.01, 0.99)


def sample(values: Array) -> BoundedSample:
    return BoundedSample(values, low=0.0, high=1.0)


@given(n_held=st.integers(0, 60), n_missed=st.integers(0, 60), rate=MEANS)
def test_of_zeros_and_ones_it_is_the_closed_form(n_held: int, n_missed: int, rate: float) -> None:
    n = n_held + n_missed
    if n == 0:
        return
    values = sample(np.repeat([1.0, 0.0], [n_held, n_missed]))
    above = min(1.0, math.exp(-evidence_above(n_held, n, rate)))
    assert values.p_at_most(rate) == pytest.approx(above, rel=1e-9)
    # evidence_below stakes otherwise, so it is turned round rather than compared with.
    turned = min(1.0, math.exp(-evidence_above(n_missed, n, 1.0 - rate)))
    assert values.p_at_least(rate) == pytest.approx(turned, rel=1e-9)
    assert evidence_below(n_held, n, rate) >= -math.inf


@given(values=UNITS, mean=MEANS, other=MEANS)
def test_what_speaks_against_a_mean_speaks_against_every_smaller_one(
    values: Array, mean: float, other: float
) -> None:
    low, high = sorted((mean, other))
    assert sample(values).p_at_most(low) <= sample(values).p_at_most(high) * (1 + 1e-9)
    assert sample(values).p_at_least(low) >= sample(values).p_at_least(high) * (1 - 1e-9)


@given(values=UNITS, mean=MEANS, alpha=st.sampled_from([0.01, 0.025, 0.2]))
def test_bounds_and_p_values_never_disagree(values: Array, mean: float, alpha: float) -> None:
    given_sample = sample(values)
    is_above = given_sample.p_at_most(mean) <= alpha
    assert is_above == (given_sample.lower(alpha=alpha, first=mean) >= mean)
    is_below = given_sample.p_at_least(mean) <= alpha
    assert is_below == (given_sample.upper(alpha=alpha, first=mean) <= mean)
    low, high = (bound(alpha=alpha) for bound in (given_sample.lower, given_sample.upper))
    assert low <= given_sample.mean + 1e-9
    assert high >= given_sample.mean - 1e-9


@given(values=UNITS, mean=MEANS, seed=st.integers(0, 99))
def test_their_order_does_not_matter(values: Array, mean: float, seed: int) -> None:
    turned = np.random.default_rng(seed).permutation(values)
    assert sample(turned).p_at_most(mean) == pytest.approx(sample(values).p_at_most(mean))


@given(values=UNITS, mean=MEANS, low=st.floats(-3, 0), width=st.floats(0.5, 4))
def test_the_range_is_a_unit_of_measurement(
    values: Array, mean: float, low: float, width: float
) -> None:
    moved = BoundedSample(
        np.clip(low + width * values, low, low + width), low=low, high=low + width
    )
    expected = sample(values).p_at_most(mean)
    assert moved.p_at_most(low + width * mean) == pytest.approx(expected, rel=1e-5, abs=1e-12)


@given(values=UNITS, mean=MEANS, times=st.integers(1, 4))
def test_a_sample_so_many_times_as_large_says_so_many_times_as_much(
    values: Array, mean: float, times: int
) -> None:
    whole = sample(np.tile(values, times))
    expected = whole.p_at_most(mean)
    assert sample(values).p_at_most(mean, times=times) == pytest.approx(expected, rel=1e-6)


def _rare_loss(generator: np.random.Generator, n: int) -> Array:
    return np.where(generator.random(n) < 0.05, 0.0, 1.0)


def _noise(generator: np.random.Generator, n: int) -> Array:
    return np.clip(generator.normal(0.95, 0.02, n), 0.9, 1.0)


def _skewed(generator: np.random.Generator, n: int) -> Array:
    return generator.beta(1.9, 0.1, n)


@pytest.mark.parametrize("draw", [_rare_loss, _noise, _skewed])
@pytest.mark.parametrize("n", [20, 60, 150])
def test_a_mean_that_is_no_larger_is_seldom_called_larger(draw: Draw, n: int) -> None:
    generator = np.random.default_rng(n)
    runs = [sample(draw(generator, n)) for _ in range(1000)]
    wrongly_above = sum(run.p_at_most(0.95) <= ALPHA for run in runs)
    wrongly_below = sum(run.p_at_least(0.95) <= ALPHA for run in runs)
    # Three standard errors above what is promised.
    most = 1000 * ALPHA + 3 * math.sqrt(1000 * ALPHA * (1 - ALPHA))
    assert wrongly_above <= most
    assert wrongly_below <= most


def test_a_sample_of_nothing_or_of_something_else_is_refused() -> None:
    for values in (np.array([]), np.array([1.5]), np.array([math.nan])):
        with pytest.raises(OptionError, match="values"):
            sample(values)
