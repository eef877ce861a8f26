"""Random plans over one tiny model: what no plan can break."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_ragshortcut.core.effects import indirect_effect
from pytest_ragshortcut.core.plans import (
    COMPONENTS,
    Corruption,
    Knockout,
    PlanRow,
    ProbePlan,
    Restoration,
    RowReading,
    layer_window,
)

N_LAYERS, N_TOKENS, WIDTH = 3, 12, 32
EXECUTOR = "llama"
CLOSE = 1e-9

POSITIONS = st.sets(st.integers(0, N_TOKENS - 1), min_size=1, max_size=5).map(
    lambda chosen: tuple(sorted(chosen))
)
LAYERS = st.builds(layer_window, st.integers(0, N_LAYERS - 1), st.integers(1, 4), st.just(N_LAYERS))
KNOCKOUTS = st.builds(Knockout, POSITIONS, POSITIONS, LAYERS)
RESTORATIONS = st.builds(Restoration, st.sampled_from(COMPONENTS), LAYERS, POSITIONS)


@st.composite
def corruptions(draw: st.DrawFn) -> Corruption:
    positions = draw(POSITIONS)
    if draw(st.booleans()):
        seed = draw(st.integers(0, 99))
        drawn = np.random.default_rng(seed).standard_normal((len(positions), WIDTH))
        return Corruption(positions, noise=drawn)
    ids = draw(st.tuples(*(st.integers(3, 98) for _ in positions)))
    return Corruption(positions, token_ids=ids)


@st.composite
def plan_rows(draw: st.DrawFn) -> PlanRow:
    n_answer = draw(st.integers(1, 3))
    start = tiny.ids(N_TOKENS - n_answer + 1, seed=draw(st.integers(0, 5)))
    return PlanRow(
        tiny.prompt(start, tiny.ids(n_answer, seed=draw(st.integers(6, 9)))),
        draw(st.none() | corruptions()),
        tuple(draw(st.lists(RESTORATIONS, max_size=2))),
        tuple(draw(st.lists(KNOCKOUTS, max_size=2))),
    )


ROWS = st.lists(plan_rows(), min_size=1, max_size=6)


def run(*rows: PlanRow) -> tuple[RowReading, ...]:
    return tiny.executor(EXECUTOR).run(ProbePlan(rows))


def same(one: RowReading, other: RowReading) -> bool:
    return one.logprobs == pytest.approx(other.logprobs, abs=CLOSE)


@settings(max_examples=40)
@given(ROWS)
def test_every_reading_is_a_probability(rows: list[PlanRow]) -> None:
    readings = run(*rows)
    assert len(readings) == len(rows)
    for row, reading in zip(rows, readings, strict=True):
        assert reading.logprobs.shape == (len(row.prompt.answer_ids),)
        assert (reading.logprobs <= 0.0).all()
        assert 0.0 <= reading.probability <= 1.0


@settings(max_examples=30)
@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(rows: list[PlanRow], random: object) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = run(*(rows[index] for index in order))
    readings = run(*rows)
    for place, index in enumerate(order):
        assert same(shuffled[place], readings[index])


@settings(max_examples=30)
@given(plan_rows())
def test_a_row_twice_in_a_plan_reads_the_same_twice(row: PlanRow) -> None:
    first, between, second = run(row, PlanRow(row.prompt), row)
    assert same(first, second)
    assert between.logprobs == pytest.approx(
        tiny.by_hand(tiny.model(EXECUTOR), row.prompt), abs=CLOSE
    )


@settings(max_examples=30)
@given(plan_rows(), corruptions(), RESTORATIONS)
def test_an_indirect_effect_is_bounded_by_the_probabilities_it_is_made_of(
    row: PlanRow, corruption: Corruption, restoration: Restoration
) -> None:
    corrupted, restored = run(
        PlanRow(row.prompt, corruption), PlanRow(row.prompt, corruption, (restoration,))
    )
    effect = indirect_effect(np.array([restored.probability]), np.array([corrupted.probability]))
    assert -corrupted.probability <= effect <= 1.0 - corrupted.probability


@settings(max_examples=30)
@given(plan_rows(), POSITIONS, POSITIONS, POSITIONS, LAYERS)
def test_cutting_two_sources_together_is_cutting_each_in_one_row(
    row: PlanRow, one: tuple[int, ...], other: tuple[int, ...], targets: tuple[int, ...],
    layers: tuple[int, ...],
) -> None:  # fmt: skip
    union = Knockout(tuple(sorted({*one, *other})), targets, layers)
    apart = Knockout(one, targets, layers), Knockout(other, targets, layers)
    together, separately = run(replace(row, knockouts=(union,)), replace(row, knockouts=apart))
    assert same(together, separately)


@settings(max_examples=30)
@given(plan_rows(), POSITIONS, POSITIONS)
def test_cutting_each_layer_of_a_partition_is_cutting_all_of_them(
    row: PlanRow, sources: tuple[int, ...], targets: tuple[int, ...]
) -> None:
    everything = tuple(range(N_LAYERS))
    apart = tuple(Knockout(sources, targets, (layer,)) for layer in everything)
    together, separately = run(
        replace(row, knockouts=(Knockout(sources, targets, everything),)),
        replace(row, knockouts=apart),
    )
    assert same(together, separately)


@settings(max_examples=30)
@given(plan_rows(), corruptions(), st.sampled_from(COMPONENTS), LAYERS, POSITIONS, POSITIONS)
def test_restoring_positions_together_is_restoring_each_in_one_row(
    row: PlanRow, corruption: Corruption, component: str, layers: tuple[int, ...],
    one: tuple[int, ...], other: tuple[int, ...],
) -> None:  # fmt: skip
    union = Restoration(component, layers, tuple(sorted({*one, *other})))
    apart = Restoration(component, layers, one), Restoration(component, layers, other)
    together, separately = run(
        PlanRow(row.prompt, corruption, (union,)), PlanRow(row.prompt, corruption, apart)
    )
    assert same(together, separately)


@settings(max_examples=30)
@given(plan_rows(), st.data())
def test_nothing_behind_a_reader_reaches_it(row: PlanRow, data: st.DataObject) -> None:
    prompt = tiny.prompt(row.prompt.input_ids, (5,), n_prompt=6)
    behind = tuple(range(6, len(prompt.input_ids)))
    noise = np.random.default_rng(data.draw(st.integers(0, 9))).standard_normal(
        (len(behind), WIDTH)
    )
    clean, corrupted, cut = run(
        PlanRow(prompt),
        PlanRow(prompt, Corruption(behind, noise=noise)),
        PlanRow(prompt, knockouts=(Knockout(behind, tuple(range(6)), (0, 1, 2)),)),
    )
    assert same(clean, corrupted)
    assert cut.logprobs == pytest.approx(clean.logprobs, abs=1e-6)
