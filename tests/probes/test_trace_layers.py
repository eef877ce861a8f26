"""A trace of some layers is those rows of the whole map, and nothing else is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.corruptions import GaussianNoise
from pytest_ragshortcut.core.plans import ProbePlan, RowReading
from pytest_ragshortcut.errors import PlanError
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.probes.trace import causal_trace

NOISE = GaussianNoise(n_samples=2, seed=3)
N_LAYERS = 3


class Counted(RagModel):
    """Keeps the plans that it is asked to run."""

    plans: list[ProbePlan]

    def run_all(self, plans: Sequence[ProbePlan]) -> tuple[tuple[RowReading, ...], ...]:
        self.plans += plans
        return super().run_all(plans)


@pytest.fixture
def counted(llama: RagModel) -> Counted:
    model = Counted(llama.model, llama.tokenizer)
    model.plans = []
    return model


@pytest.mark.parametrize("layers", [(0,), (2,), (0, 2), (2, 0, 2), range(3), (np.int64(1),)])
@pytest.mark.parametrize(("component", "window"), [("residual", 1), ("mlp", 2), ("attention", 3)])
def test_the_chosen_layers_are_the_whole_maps_rows(
    llama: RagModel, case: RagCase, layers: Any, component: Any, window: int
) -> None:
    options: dict[str, Any] = {"noise": NOISE, "component": component, "window": window}
    full = causal_trace(llama, case, **options)
    some = causal_trace(llama, case, layers=layers, **options)
    chosen = sorted({int(layer) for layer in layers})
    others = [layer for layer in range(N_LAYERS) if layer not in chosen]
    for one, whole in (
        (some.restored, full.restored),
        (some.indirect_effect, full.indirect_effect),
    ):
        assert one.shape == whole.shape
        assert one[chosen] == pytest.approx(whole[chosen], rel=1e-9, abs=1e-12)
        assert np.isnan(one[others]).all()
    assert (some.clean, some.total_effect) == pytest.approx((full.clean, full.total_effect))
    assert np.abs(full.indirect_effect[chosen]).max() > 1e-6


def test_layers_and_positions_choose_a_block(llama: RagModel, case: RagCase) -> None:
    full = causal_trace(llama, case, noise=NOISE)
    some = causal_trace(llama, case, noise=NOISE, layers=(1,), positions=("subject", "last", 2))
    prompt = some.prompt
    sites = sorted({*prompt.positions("subject", "last"), 2})
    block = np.zeros(some.restored.shape, dtype=bool)
    block[1, sites] = True
    expected = full.indirect_effect[block]
    assert some.indirect_effect[block] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert np.isnan(some.indirect_effect[~block]).all()
    # Before the corruption nothing can come back.
    assert some.indirect_effect[1, 2] == 0.0


def test_no_other_layer_is_run(counted: Counted, case: RagCase) -> None:
    trace = causal_trace(counted, case, noise=NOISE, layers=(2, 1), positions=("last",))
    rows = counted.plans[-1].rows
    restored = [restoration.layers for row in rows for restoration in row.restorations]
    assert restored == [(1,)] * NOISE.n_samples + [(2,)] * NOISE.n_samples
    assert len(rows) == 1 + 3 * NOISE.n_samples
    assert trace.n_samples == NOISE.n_samples


@pytest.mark.parametrize(
    ("centre", "window", "layers"),
    [(0, 1, (0,)), (0, 3, (0, 1)), (1, 3, (0, 1, 2)), (2, 3, (1, 2)), (2, 2, (1, 2)), (1, 9, None)],
)
def test_windows_centre_on_the_chosen_layers(
    counted: Counted, case: RagCase, centre: int, window: int, layers: tuple[int, ...] | None
) -> None:
    causal_trace(
        counted, case, noise=NOISE, component="mlp", window=window, layers=(centre,),
        positions=("last",),
    )  # fmt: skip
    restored = {r.layers for row in counted.plans[-1].rows for r in row.restorations}
    assert restored == {layers or tuple(range(N_LAYERS))}


def test_no_layer_runs_the_clean_and_the_corrupted_rows_alone(
    counted: Counted, case: RagCase
) -> None:
    trace = causal_trace(counted, case, noise=NOISE, layers=())
    assert len(counted.plans[-1].rows) == 1 + NOISE.n_samples
    assert np.isnan(trace.restored).all()
    assert trace.total_effect == pytest.approx(trace.clean - trace.corrupted)


@pytest.mark.parametrize("layers", [(3,), (-1,), (0, 7, 1)])
def test_a_layer_that_does_not_exist_is_refused(
    llama: RagModel, case: RagCase, layers: tuple[int, ...]
) -> None:
    with pytest.raises(PlanError) as caught:
        causal_trace(llama, case, noise=NOISE, layers=layers)
    wrong = next(layer for layer in layers if not 0 <= layer < N_LAYERS)
    error = caught.value
    assert error.problem == f"layer {wrong} does not exist"
    assert error.where == "causal_trace, layers"
    assert error.expected == "0 to 2: there are 3 layers"
    assert error.action == "Pass layers='all', or some of these"
