"""A reliance score from question to verdict on a CUDA device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pytest_ragshortcut import (
    RagCase,
    RagModel,
    assert_context_reliance,
    attention_contributions,
    attention_knockout,
    causal_trace,
    context_reliance,
    counterfactual_swap,
    parametric_reliance,
)
from pytest_ragshortcut.core.plans import Array

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is at hand"),
]

DEVICE = torch.device("cuda")
QUESTION = "Where was Eavan Boland born?"
AGREEING = "Eavan Boland, the poet, was born in Dublin in 1944."
CONTRADICTING = "Eavan Boland was born in Cork."


def loaded(name: str, device: str = DEVICE.type, **options: Any) -> RagModel:
    return RagModel.from_pretrained(f"embedded:{name}", device=device, **options)


@pytest.mark.parametrize("name", ["reader", "memoriser"])
@pytest.mark.parametrize("passage", [AGREEING, CONTRADICTING])
def test_reliance_is_that_of_the_cpu(name: str, passage: str) -> None:
    device, cpu = loaded(name), loaded(name, "cpu")
    assert device.model.device.type == DEVICE.type
    assert device.note == ""
    for measure in (context_reliance, parametric_reliance):
        found, expected = (measure(model, QUESTION, passage) for model in (device, cpu))
        assert found.score == pytest.approx(expected.score, abs=1e-3)
        assert found.verdict == expected.verdict
        assert found.interval == pytest.approx(expected.interval, abs=1e-3)
        assert found.case == expected.case


def test_a_claim_holds_and_fails_as_it_does_on_a_cpu() -> None:
    assert assert_context_reliance(loaded("reader"), QUESTION, CONTRADICTING) > 0.8
    with pytest.raises(AssertionError, match="context reliance 0"):
        assert assert_context_reliance(loaded("memoriser"), QUESTION, CONTRADICTING) > 0.8


@pytest.mark.parametrize("executor", ["incremental", "reference"])
@pytest.mark.parametrize("device", ["auto", DEVICE.type])
def test_both_executors_give_every_probe_the_same_numbers(executor: Any, device: str) -> None:
    case = RagCase(QUESTION, CONTRADICTING)
    asked, cpu = loaded("reader", device, executor=executor), loaded("reader", "cpu")
    assert asked.model.device.type == DEVICE.type
    readers: tuple[Callable[[RagModel], Array], ...] = (
        lambda model: counterfactual_swap(model, case).follow_each,
        lambda model: attention_knockout(model, case).probability,
        lambda model: attention_contributions(model, case).summed,
        lambda model: causal_trace(model, case, corruption="mask").restored,
        lambda model: causal_trace(model, case, component="mlp", window=2).restored,
    )
    for read in readers:
        np.testing.assert_allclose(read(asked), read(cpu), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_reaches_the_same_verdict(dtype: str) -> None:
    case = RagCase(QUESTION, CONTRADICTING)
    found = context_reliance(loaded("reader", dtype=dtype), case)
    expected = context_reliance(loaded("reader", "cpu"), case)
    assert found.verdict == expected.verdict
    assert found.score == pytest.approx(expected.score, abs=0.1)
