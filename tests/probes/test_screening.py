"""A screened trace runs the cells whose gradients promise most, and says what it left out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from benchmarks import misses

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.corruptions import GaussianNoise
from pytest_ragshortcut.core.plans import Array, ProbePlan, RowReading
from pytest_ragshortcut.core.results import TraceResult
from pytest_ragshortcut.core.screening import Screening
from pytest_ragshortcut.errors import PlanError
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.probes.inquiry import ask, together
from pytest_ragshortcut.probes.resolve import resolve
from pytest_ragshortcut.probes.trace import causal_trace, trace_prompt
from pytest_ragshortcut.testing import PlantedModel

NOISE = GaussianNoise(n_samples=3, seed=5)
N_LAYERS = 3
EVERY_CELL = 10_000


class Counted(RagModel):
    """Keeps what it is asked."""

    plans: list[ProbePlan]
    screenings: list[Screening]

    def run_all(self, plans: Sequence[ProbePlan]) -> tuple[tuple[RowReading, ...], ...]:
        self.plans += plans
        return super().run_all(plans)

    def estimate_effects(self, screenings: Sequence[Screening]) -> tuple[Array, ...]:
        self.screenings += screenings
        return super().estimate_effects(screenings)


@pytest.fixture
def counted(llama: RagModel) -> Counted:
    model = Counted(llama.model, llama.tokenizer)
    model.plans, model.screenings = [], []
    return model


def assert_is_part_of(some: TraceResult, full: TraceResult, k: int) -> None:
    """Check that k cells are the full map's, those with the largest estimates, the rest NaN."""
    run = np.isfinite(some.restored)
    assert run.sum() == k
    assert some.restored[run] == pytest.approx(full.restored[run], rel=1e-9)
    assert some.indirect_effect[run] == pytest.approx(full.indirect_effect[run], abs=1e-12)
    assert (np.isfinite(some.indirect_effect) == run).all()
    assert some.estimate is not None
    ranked = np.sort(np.abs(some.estimate[np.isfinite(some.estimate)]))[::-1]
    assert (np.abs(some.estimate[run]) >= ranked[k - 1]).all()
    assert (some.clean, some.corrupted, some.total_effect) == pytest.approx(
        (full.clean, full.corrupted, full.total_effect), rel=1e-9
    )


@pytest.mark.parametrize("k", [1, 7, 17])
@pytest.mark.parametrize(
    ("component", "window"),
    [("residual", 1), ("attention", 1), ("mlp", 1), ("mlp", 2), ("attention", 3)],
)
def test_exactly_k_cells_are_run_and_they_are_the_whole_maps(
    counted: Counted, case: RagCase, component: Any, window: int, k: int
) -> None:
    options: dict[str, Any] = {"noise": NOISE, "component": component, "window": window}
    full = causal_trace(counted, case, **options)
    assert full.estimate is None
    some = causal_trace(counted, case, screen=k, **options)
    assert_is_part_of(some, full, k)
    assert len(counted.plans[-1].rows) == 1 + NOISE.n_samples * (1 + k)
    assert len(counted.screenings) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"corruption": "mask"},
        {"corruption": "mask", "corrupt": "subject everywhere"},
        {"corruption": "mask", "corrupt": "attribute"},
        {"corruption": "noise"},
        {"book": "closed", "noise": NOISE},
    ],
    ids=str,
)
def test_any_corruption_can_be_screened(
    llama: RagModel, case: RagCase, options: dict[str, Any]
) -> None:
    if options.get("corruption") == "noise":
        prompt = ask(llama, resolve(llama, case)).open_book
        shape = (2, len(prompt.positions("subject")), llama.d_model)
        options = {"corruption": 0.3 * np.random.default_rng(2).standard_normal(shape)}
    full = causal_trace(llama, case, **options)
    # What is read are two tokens, or one closed-book.
    assert len(full.prompt.answer_ids) == (1 if options.get("book") else 2)
    assert_is_part_of(causal_trace(llama, case, screen=9, **options), full, 9)


def test_only_cells_that_are_asked_for_are_picked(llama: RagModel, case: RagCase) -> None:
    sites: dict[str, Any] = {"positions": ("subject", "last", 1), "layers": (0, 2)}
    full = causal_trace(llama, case, noise=NOISE, **sites)
    some = causal_trace(llama, case, noise=NOISE, screen=3, **sites)
    assert_is_part_of(some, full, 3)
    asked = np.isfinite(full.restored)
    assert some.estimate is not None
    assert (np.isfinite(some.estimate) == asked).all()
    everywhere = causal_trace(llama, case, noise=NOISE, screen=3).estimate
    assert everywhere is not None
    assert some.estimate[asked] == pytest.approx(everywhere[asked], abs=1e-12)


def test_cells_that_cannot_move_cost_none_of_the_k(counted: Counted, case: RagCase) -> None:
    full = causal_trace(counted, case, noise=NOISE)
    first = full.prompt.positions("subject")[0]
    n_moving = N_LAYERS * (len(full.prompt.input_ids) - first)
    some = causal_trace(counted, case, noise=NOISE, screen=n_moving - 1)
    assert_is_part_of(some, full, n_moving - 1)
    assert np.isnan(some.restored[:, :first]).all()
    for k in (n_moving, EVERY_CELL):
        every = causal_trace(counted, case, noise=NOISE, screen=k)
        assert every.restored == pytest.approx(full.restored, rel=1e-9)
        assert every.indirect_effect == pytest.approx(full.indirect_effect, abs=1e-12)
        assert every.estimate is not None
        assert np.isfinite(every.estimate).all()
        assert (every.estimate[:, :first] == 0.0).all()


def test_the_estimate_of_a_window_is_the_sum_over_its_layers(
    llama: RagModel, case: RagCase
) -> None:
    options: dict[str, Any] = {"noise": NOISE, "component": "mlp", "screen": 1}
    single = causal_trace(llama, case, **options).estimate
    assert single is not None
    wide = causal_trace(llama, case, window=2, **options).estimate
    assert wide == pytest.approx(
        np.stack([single[:1].sum(0), single[:2].sum(0), single[1:].sum(0)])
    )
    # The windows stay the same where not every centre is asked for.
    some = causal_trace(llama, case, window=2, layers=(2,), **options).estimate
    assert some is not None
    assert wide is not None
    assert some[2] == pytest.approx(wide[2])
    assert np.isnan(some[:2]).all()


@pytest.mark.parametrize("k", [0, -3])
def test_no_cells_are_refused(llama: RagModel, case: RagCase, k: int) -> None:
    with pytest.raises(PlanError) as caught:
        causal_trace(llama, case, noise=NOISE, screen=k)
    error = caught.value
    assert error.problem == f"{k} cells are to be screened out"
    assert error.where == "causal_trace, screen"
    assert error.expected == "At least 1 cell is run, or screen=None for all of them"
    assert error.action == "Pass screen=20, say"


def test_a_window_of_the_residual_stream_is_refused(llama: RagModel, case: RagCase) -> None:
    with pytest.raises(PlanError, match="2 layers of the residual stream cannot be screened"):
        causal_trace(llama, case, noise=NOISE, window=2, screen=3)
    assert causal_trace(llama, case, noise=NOISE, window=2, layers=(0,)).estimate is None


def test_what_cannot_be_traced_cannot_be_screened(llama: RagModel, case: RagCase) -> None:
    with pytest.raises(PlanError, match="names another component"):
        causal_trace(llama, case, noise=NOISE, component="embedding", screen=3)  # type: ignore[arg-type]


def test_a_model_without_gradients_says_so() -> None:
    model = PlantedModel({"Ada Quill": "Oslo"}, answers=("Rome",), context_strength=1.0)
    case = RagCase("Where was Ada Quill born?", "Ada Quill was born in Rome.")
    with pytest.raises(PlanError, match="planted has no gradients to screen by"):
        causal_trace(model, case, corruption="mask", screen=3)
    assert model.estimate_effects(()) == ()


def test_traces_are_screened_side_by_side(llama: RagModel, case: RagCase) -> None:
    prompt = ask(llama, resolve(llama, case)).open_book
    options: dict[str, Any] = {"corrupt": "subject", "corruption": "gaussian", "noise": NOISE}
    several = [
        trace_prompt(llama, prompt, screen=k, component=component, **options)
        for k, component in ((2, "residual"), (None, "mlp"), (5, "mlp"))
    ]
    first, second, third = ask(llama, together(several))
    assert_is_part_of(first, causal_trace(llama, case, noise=NOISE), 2)
    assert_is_part_of(third, second, 5)
    assert second.estimate is None


def test_the_result_shows_the_estimate_beside_the_map(llama: RagModel, case: RagCase) -> None:
    some, full = (causal_trace(llama, case, noise=NOISE, screen=k) for k in (4, None))
    assert [panel.title for panel in full.panels()] == ["indirect effect"]
    assert [panel.title for panel in some.panels()] == [
        "indirect effect",
        "gradient estimate of it",
    ]
    assert json.loads(json.dumps(full.to_dict()))["estimate"] is None
    shown = json.loads(json.dumps(some.to_dict()))["estimate"]
    assert np.array(shown) == pytest.approx(np.asarray(some.estimate))
    assert "gradient estimate" in some._repr_html_()


# How well it picks, on models that were trained.


@pytest.fixture(scope="module")
def found() -> list[misses.Misses]:
    return misses.measure(misses.SETTINGS[1:2])


def test_the_table_of_misses_is_written(found: list[misses.Misses]) -> None:
    text = misses.table(found)
    assert "reader, attribute, mask" in text
    assert all(f"k={k}" in text for k in misses.BUDGETS)


def test_it_finds_most_strong_cells_and_by_far_more_than_chance(
    found: list[misses.Misses],
) -> None:
    (one,) = found
    assert len(one.maps) >= 15
    # Measured: 0.35, 0.11, 0.06, 0.02 of about 60, where chance misses 0.93, 0.85, 0.70, 0.40.
    for k, at_most in zip(misses.BUDGETS, (0.5, 0.25, 0.15, 0.1), strict=True):
        assert one.missed(k) <= at_most
        assert one.missed(k) < one.by_chance(k) / 2
    assert one.largest_missed(20) <= 2


def test_it_misses_some_and_its_size_is_no_effect(found: list[misses.Misses]) -> None:
    """The reasons why it is never the default: should they go, its documentation is wrong."""
    (one,) = found
    assert one.missed(5) > 0.1
    assert one.largest_missed(5) > 0
    sizes = [each.size for each in one.maps]
    assert min(sizes) < 0.1
    assert max(sizes) > 2
