"""A budget is kept on a CUDA device, and memory that runs out all the same is made do with."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from pytest_ragshortcut.core.plans import Corruption, Knockout, PlanRow, ProbePlan, Restoration
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.models.architectures import map_architecture
from pytest_ragshortcut.models.executors import choose_executor
from pytest_ragshortcut.models.incremental.executor import IncrementalExecutor
from pytest_ragshortcut.models.reference import ReferenceExecutor

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is at hand"),
]

DEVICE = torch.device("cuda")
MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture(autouse=True)
def nothing_left_over() -> Iterator[None]:
    yield
    gc.collect()
    torch.cuda.empty_cache()


def llama(dtype: torch.dtype, **sizes: Any) -> PreTrainedModel:
    """Build a random Llama on the device."""
    config = LlamaConfig(tie_word_embeddings=False, **sizes)
    with torch.device(DEVICE):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()  # type: ignore[no-any-return]


def middling() -> PreTrainedModel:
    """Build a Llama of 70 million parameters, whose attention and answers are far from even."""
    model = llama(
        torch.float32,
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=4,
        num_attention_heads=16,
        num_key_value_heads=4,
        vocab_size=1000,
        max_position_embeddings=1024,
    )
    narrow = 1024**-0.5
    wide = {"embed_tokens": 0.2, "q_proj": 2 * narrow, "k_proj": 2 * narrow, "lm_head": 4 * narrow}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            for part, deviation in wide.items():
                if name.endswith(f"{part}.weight"):
                    parameter.normal_(0, deviation)
    return model


def prompt(n_tokens: int, vocabulary: int, seed: int = 0) -> TokenizedPrompt:
    drawn = np.random.default_rng(seed).integers(3, vocabulary, n_tokens + 2).tolist()
    return tiny.prompt(drawn[:n_tokens], drawn[n_tokens:])


def mechanism(of: TokenizedPrompt, model: PreTrainedModel, n_behind: int) -> list[PlanRow]:
    """List a causal map of the last tokens, and cuts of all that stands before, layer by layer."""
    config = model.config.get_text_config()
    last = len(of.input_ids) - 1
    span = tuple(range(last - n_behind, last - n_behind + 3))
    noise = np.random.default_rng(0).standard_normal((3, config.hidden_size))
    corruption = Corruption(span, noise=noise)
    layers = range(config.num_hidden_layers)
    rows = [PlanRow(of), PlanRow(of, corruption), PlanRow(of, contributions=True)]
    rows += [
        PlanRow(of, corruption, (Restoration("residual", (layer,), (position,)),))
        for layer in layers
        for position in range(span[0], last + 1)
    ]
    rows += [
        PlanRow(of, knockouts=(Knockout(tuple(range(start, start + 64)), of.readers, (layer,)),))
        for layer in layers
        for start in range(0, last - 64, 64)
    ]
    return rows


def peak_of(run: Any) -> int:
    """Return how many bytes more than before were allocated at the highest."""
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return int(torch.cuda.max_memory_allocated() - before)


def test_without_a_budget_half_of_what_is_free_is_planned_for() -> None:
    model = middling()
    free = torch.cuda.mem_get_info(DEVICE)[0]
    planned = IncrementalExecutor(model, map_architecture(model)).budget.n_bytes
    assert planned == pytest.approx(free / 2, rel=0.05)


@pytest.mark.parametrize("memory", [96 * MIB, 128 * MIB, 512 * MIB])
def test_a_plan_stays_within_its_budget_and_reads_the_same(memory: int) -> None:
    model = middling()
    architecture = map_architecture(model)
    plan = ProbePlan(
        tuple(row for seed in range(6) for row in mechanism(prompt(500, 1000, seed), model, 24))
    )
    # The first products on a device take workspaces that stay.
    model(input_ids=torch.tensor([prompt(500, 1000).input_ids], device=DEVICE))
    expected = IncrementalExecutor(model, architecture, memory=8 * GIB).run(plan)
    executor = IncrementalExecutor(model, architecture, memory=memory)
    found: list[Any] = []
    peak = peak_of(lambda: found.extend(executor.run(plan)))
    assert peak <= memory
    values = [np.concatenate([reading.logprobs for reading in each]) for each in (found, expected)]
    assert values[0] == pytest.approx(values[1], abs=1e-3)
    assert np.ptp(values[1]) > 0.1


def test_memory_that_runs_out_is_made_do_with() -> None:
    model = middling()
    architecture = map_architecture(model)
    sequences = [prompt(256, 1000, seed).input_ids for seed in range(64)]
    with torch.no_grad():
        plain = [
            model(input_ids=torch.tensor([ids], device=DEVICE), use_cache=False).logits[0, -1]
            for ids in sequences
        ]
    gc.collect()
    torch.cuda.empty_cache()
    room = torch.cuda.memory_reserved() + 768 * MIB
    executor = IncrementalExecutor(model, architecture, memory=64 * GIB)
    torch.cuda.set_per_process_memory_fraction(
        room / torch.cuda.get_device_properties(DEVICE).total_memory
    )
    try:
        found = executor.next_logits(sequences)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert executor.budget.n_bytes < 64 * GIB
    torch.testing.assert_close(found, torch.stack(plain), rtol=1e-3, atol=1e-3)


@pytest.fixture
def large() -> PreTrainedModel:
    if torch.cuda.mem_get_info(DEVICE)[0] < 40e9:
        pytest.skip("less than 40 GB of device memory is free")
    # As transformers draws it: sharper ones of this depth are chaotic in bfloat16.
    return llama(
        torch.bfloat16,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=128256,
        max_position_embeddings=8192,
    )


def test_a_model_of_eight_billion_parameters_is_traced_over_four_thousand_tokens(
    large: PreTrainedModel,
) -> None:
    assert sum(p.numel() for p in large.parameters()) == pytest.approx(8e9, rel=0.01)
    architecture = map_architecture(large)
    of = prompt(4096, 128256)
    executor, note = choose_executor(large, architecture)
    assert isinstance(executor, IncrementalExecutor), note
    torch.cuda.reset_peak_memory_stats()
    readings = executor.run(ProbePlan(tuple(mechanism(of, large, 12))))
    assert torch.cuda.max_memory_allocated() < 80e9
    assert np.isfinite([reading.logprobs for reading in readings]).all()
    contributions = readings[2].contributions
    assert contributions is not None
    assert contributions.per_head.shape == (32, 32, len(of.input_ids))
    (reference,) = ReferenceExecutor(large, architecture).run(ProbePlan((PlanRow(of),)))
    assert readings[0].logprobs == pytest.approx(reference.logprobs, abs=0.5)
