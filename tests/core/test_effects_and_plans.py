"""The formulas of the probes, the corruptions' data, the checks of a plan."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ragshortcut.core.corruptions import GaussianNoise, noise_corruptions, replacement
from pytest_ragshortcut.core.effects import (
    follow,
    indirect_effect,
    relative_change,
    restored_fraction,
    share,
    top_mean,
    total_effect,
)
from pytest_ragshortcut.core.plans import Knockout, RowReading, layer_window
from pytest_ragshortcut.errors import PlanError, UndefinedEffectError

PROBABILITY = st.floats(0, 1)
LOGPROB = st.floats(-200, 0)


@given(clean=PROBABILITY, samples=st.lists(PROBABILITY, min_size=1, max_size=5))
def test_a_site_that_restores_everything_has_the_total_effect(
    clean: float, samples: list[float]
) -> None:
    corrupted = np.array(samples)
    restored = np.full_like(corrupted, clean)
    total = total_effect(clean, corrupted)
    assert indirect_effect(restored, corrupted) == pytest.approx(total, abs=1e-12)
    assert indirect_effect(corrupted, corrupted) == 0.0
    assert -1.0 <= total <= 1.0


@given(clean=PROBABILITY, corrupted=PROBABILITY)
def test_the_restored_fraction_is_defined_from_the_minimum_on(
    clean: float, corrupted: float
) -> None:
    def restored() -> np.ndarray:
        effect = np.array([0.0, clean - corrupted])
        return restored_fraction(effect, clean=clean, corrupted=corrupted, min_total_effect=0.01)

    if clean - corrupted >= 0.01:
        assert restored() == pytest.approx(np.array([0.0, 1.0]))
    else:
        with pytest.raises(UndefinedEffectError):
            restored()


def test_the_restored_fraction_of_nan_is_undefined() -> None:
    with pytest.raises(UndefinedEffectError):
        restored_fraction(np.zeros(1), clean=math.nan, corrupted=0.1, min_total_effect=0.01)


@given(cut=PROBABILITY, clean=st.floats(1e-3, 1))
def test_a_relative_change_is_at_least_minus_one(cut: float, clean: float) -> None:
    (change,) = relative_change(np.array([cut]), clean)
    assert change >= -1.0
    assert clean * (1.0 + change) == pytest.approx(cut, abs=1e-12)


def test_a_relative_change_of_nothing_is_undefined() -> None:
    assert np.isnan(relative_change(np.array([0.0, 0.5]), 0.0)).all()


@given(substitute=LOGPROB, memory=LOGPROB)
def test_follow_and_its_mirror_image_add_up_to_one(substitute: float, memory: float) -> None:
    forth, back = follow(substitute, memory), follow(memory, substitute)
    assert 0.0 <= forth <= 1.0
    assert forth + back == pytest.approx(1.0)
    assert (forth > 0.5) == (substitute > memory) or abs(substitute - memory) < 1e-9


def test_follow_does_not_underflow() -> None:
    assert follow(-2000.0, -2001.0) == pytest.approx(math.e / (1 + math.e))


def test_a_share_of_nothing_is_undefined() -> None:
    assert math.isnan(share(0.0, 0.0))
    assert share(1.0, 3.0) == 0.25


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30), st.floats(0, 1, exclude_min=True))
def test_a_top_mean_lies_between_the_mean_and_the_maximum(
    values: list[float], top_share: float
) -> None:
    found = top_mean(np.array(values), top_share=top_share)
    assert np.mean(values) - 1e-9 <= found <= max(values) + 1e-9
    assert top_mean(np.array(values), top_share=1.0) == pytest.approx(np.mean(values))


def test_the_top_mean_of_a_small_share_is_the_maximum() -> None:
    assert top_mean(np.arange(20.0), top_share=0.05) == 19.0
    assert top_mean(np.arange(40.0).reshape(2, 20), top_share=0.05) == 38.5


@given(n_layers=st.integers(1, 40), size=st.integers(1, 45))
def test_layer_windows_cover_all_layers_and_are_clipped_at_both_ends(
    n_layers: int, size: int
) -> None:
    windows = [layer_window(center, size, n_layers) for center in range(n_layers)]
    for center, window in enumerate(windows):
        assert center in window
        assert 0 <= window[0] <= window[-1] < n_layers
        assert window == tuple(range(window[0], window[-1] + 1))
        assert len(window) <= size
        # Neither end is clipped away from the model's ends.
        if size // 2 <= center and center - (-size // 2) <= n_layers:
            assert len(window) == size
    if size == 1:
        assert [layer for window in windows for layer in window] == list(range(n_layers))


def test_the_noise_is_the_same_in_every_draw_and_scales() -> None:
    embeddings = np.random.default_rng(0).normal(2.0, 0.5, (50, 8))
    noise = GaussianNoise(scale=3.0, n_samples=2000, seed=7)
    drawn = noise.draw(3, embeddings)
    assert drawn.shape == (2000, 3, 8)
    assert (drawn == noise.draw(3, embeddings)).all()
    assert (drawn != GaussianNoise(seed=8, n_samples=2000).draw(3, embeddings)).any()
    assert drawn.std() == pytest.approx(3.0 * embeddings.std(), rel=0.02)
    assert abs(drawn.mean()) < 0.05


@pytest.mark.parametrize("shape", [(3, 8), (0, 2, 8), (4, 3, 8)])
def test_noise_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(PlanError, match=r"the noise has the shape"):
        noise_corruptions((4, 5), np.zeros(shape))


def test_each_noise_sample_is_one_corruption() -> None:
    noise = np.arange(24.0).reshape(3, 2, 4)
    made = noise_corruptions([4, 5], noise)
    assert [corruption.positions for corruption in made] == [(4, 5)] * 3
    assert all((c.noise == sample).all() for c, sample in zip(made, noise, strict=True))


def test_a_replacement_of_another_length_is_refused() -> None:
    with pytest.raises(PlanError, match="3 tokens cannot replace 2"):
        replacement([4, 5], [7, 8, 9])


@pytest.mark.parametrize(
    ("sources", "targets", "layers", "nothing"),
    [
        ((), (1,), (0,), True),
        ((1,), (), (0,), True),
        ((1,), (2,), (), True),
        ((1,), (1,), (0,), True),
        ((1, 2), (2,), (0,), False),
        ((1,), (2,), (0,), False),
    ],
)
def test_a_knockout_knows_when_it_cuts_nothing(
    sources: tuple[int, ...], targets: tuple[int, ...], layers: tuple[int, ...], nothing: bool
) -> None:
    assert Knockout(sources, targets, layers).cuts_nothing is nothing


@given(st.lists(LOGPROB, min_size=1, max_size=4))
def test_a_reading_of_several_tokens_multiplies_their_probabilities(values: list[float]) -> None:
    reading = RowReading(np.array(values))
    assert reading.logprob == pytest.approx(sum(values))
    assert reading.probability == pytest.approx(math.prod(map(math.exp, values)), abs=1e-12)
    assert 0.0 <= reading.probability <= 1.0
