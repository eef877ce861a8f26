"""The central property on a CUDA device: the executors agree with each other and with the CPU."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import PreTrainedModel

from pytest_ragshortcut.core.plans import (
    COMPONENTS,
    Corruption,
    Knockout,
    PlanRow,
    ProbePlan,
    Restoration,
    layer_window,
)
from pytest_ragshortcut.models.architectures import map_architecture
from pytest_ragshortcut.models.executors import choose_executor
from pytest_ragshortcut.models.incremental.executor import IncrementalExecutor
from pytest_ragshortcut.models.reference import ReferenceExecutor

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is at hand"),
]

DEVICE = torch.device("cuda")
N_TOKENS, N_LAYERS, WIDTH = 16, 3, 32
# Products of other shapes are summed in other orders, by other kernels.
CLOSE = 1e-4
DENSE = ("llama", "gpt2", "gemma2", "mistral", "qwen3", "opt", "olmo2")
DRAWN = ("llama", "gpt2", "mistral", "gemma2", "gpt_oss", "deepseek_v3")


@cache
def on_device(name: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    built = tiny.fresh(name, dtype)
    nn.Module.to(built, DEVICE)
    return built


def executors(
    name: str, dtype: torch.dtype = torch.float32
) -> tuple[ReferenceExecutor, IncrementalExecutor]:
    built = on_device(name, dtype)
    architecture = map_architecture(built)
    return ReferenceExecutor(built, architecture), IncrementalExecutor(built, architecture)


def noise(n_span: int, seed: int = 0) -> np.ndarray:
    return 0.5 * np.random.default_rng(seed).standard_normal((n_span, WIDTH))


def broad_rows(name: str) -> list[PlanRow]:
    """List rows of every kind, over two prompts of which one begins like the other."""
    prompt = tiny.greedy_prompt(tiny.model(name), n_prompt=N_TOKENS - 1, n_answer=2)
    fork = tiny.prompt((*prompt.input_ids[:10], *tiny.ids(3, seed=4)), prompt.answer_ids)
    rows = []
    for of in (prompt, fork):
        last = len(of.input_ids) - 1
        corruptions = Corruption((5, 6), noise=noise(2)), Corruption((0, 9), token_ids=(7, 8))
        rows += [PlanRow(of), *(PlanRow(of, corruption) for corruption in corruptions)]
        rows += [
            PlanRow(of, corruption, (Restoration(component, window, (p,)),))
            for corruption in corruptions
            for component in COMPONENTS
            for window in (layer_window(layer, 2, N_LAYERS) for layer in range(N_LAYERS))
            for p in (0, 5, 8, last)
        ]
        cut = Knockout((1, 5, last), (4, last - 1, last), (1, 2))
        mended = (Restoration("mlp", (0,), (7,)), Restoration("residual", (1,), (6, 9)))
        rows += [PlanRow(of, knockouts=(cut,)), PlanRow(of, corruptions[0], mended, (cut,))]
    return rows


def assert_agree(name: str, rows: list[PlanRow]) -> np.ndarray:
    plan = ProbePlan(tuple(rows))
    reference, incremental = executors(name)
    expected, found = reference.run(plan), incremental.run(plan)
    for one, other in zip(expected, found, strict=True):
        assert other.logprobs == pytest.approx(one.logprobs, abs=CLOSE, rel=CLOSE)
    return np.array([reading.probability for reading in expected])


@pytest.mark.parametrize("name", tiny.PACKABLE)
def test_a_broad_plan_reads_the_same_on_every_architecture(name: str) -> None:
    assert_agree(name, broad_rows(name))


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral", "gemma2"])
def test_the_device_reads_what_the_cpu_reads(name: str) -> None:
    rows = broad_rows(name)
    found = assert_agree(name, rows)
    cpu = tiny.model(name, torch.float32)
    expected = ReferenceExecutor(cpu, map_architecture(cpu)).run(ProbePlan(tuple(rows)))
    assert found == pytest.approx([reading.probability for reading in expected], abs=1e-3)
    # Models that say one thing whatever is done to them would agree on anything.
    assert np.ptp(found) > 0.05


POSITIONS = st.sets(st.integers(0, N_TOKENS - 4), min_size=1, max_size=5).map(sorted).map(tuple)


@st.composite
def drawn_rows(draw: st.DrawFn) -> list[PlanRow]:
    layers = st.builds(
        layer_window, st.integers(0, N_LAYERS - 1), st.integers(1, 4), st.just(N_LAYERS)
    )
    restorations = st.builds(Restoration, st.sampled_from(COMPONENTS), layers, POSITIONS)
    knockouts = st.builds(Knockout, POSITIONS, POSITIONS, layers)
    rows = []
    for _ in range(draw(st.integers(1, 5))):
        fork = draw(st.integers(1, N_TOKENS - 3))
        ids = tiny.ids(N_TOKENS - 3)[:fork] + tiny.ids(N_TOKENS - 3, seed=1)[fork:]
        prompt = tiny.prompt(ids, tiny.ids(draw(st.integers(1, 4)), seed=9))
        span = draw(st.none() | POSITIONS)
        corruption = span and Corruption(span, noise=noise(len(span), draw(st.integers(0, 1))))
        rows.append(
            PlanRow(
                prompt,
                corruption or None,
                tuple(draw(st.lists(restorations, max_size=3))),
                tuple(draw(st.lists(knockouts, max_size=2))),
            )
        )
    return rows


@settings(max_examples=40)
@given(name=st.sampled_from(DRAWN), rows=drawn_rows())
def test_any_plan_reads_the_same(name: str, rows: list[PlanRow]) -> None:
    assert_agree(name, rows)


@pytest.mark.parametrize("name", DENSE)
def test_bfloat16_readings_differ_by_rounding_alone(name: str) -> None:
    reference, incremental = executors(name, torch.bfloat16)
    plan = ProbePlan(tuple(broad_rows(name)))
    pairs = zip(reference.run(plan), incremental.run(plan), strict=True)
    differences = [abs(one.probability - other.probability) for one, other in pairs]
    assert np.median(differences) < 0.01
    assert max(differences) < 0.1


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral", "gemma2", "gpt_oss"])
def test_contributions_are_the_same(name: str) -> None:
    prompt = tiny.greedy_prompt(tiny.model(name), n_prompt=N_TOKENS - 1, n_answer=2)
    plan = ProbePlan((PlanRow(prompt, contributions=True),))
    (one,), (other,) = (executor.run(plan) for executor in executors(name))
    assert one.contributions is not None
    assert other.contributions is not None
    for part in ("per_head", "summed"):
        expected, found = getattr(one.contributions, part), getattr(other.contributions, part)
        assert expected.max() > 0.01
        assert found == pytest.approx(expected, abs=CLOSE * expected.max())


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_next_logits_are_those_of_a_plain_forward(name: str) -> None:
    built = on_device(name)
    sequences = [tiny.ids(30)[:20], tiny.ids(1), tiny.ids(30), tiny.ids(11, seed=4)]
    with torch.no_grad():
        plain = [
            built(input_ids=torch.tensor([ids], device=DEVICE), use_cache=False).logits[0, -1]
            for ids in sequences
        ]
    for executor in executors(name):
        found = executor.next_logits(sequences)
        assert found.device.type == DEVICE.type
        torch.testing.assert_close(found, torch.stack(plain), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", DENSE)
def test_the_self_check_lets_every_precision_through(name: str, dtype: torch.dtype) -> None:
    built = on_device(name, dtype)
    chosen, note = choose_executor(built, map_architecture(built))
    assert isinstance(chosen, IncrementalExecutor), note
