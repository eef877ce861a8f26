"""Memory: how much a pass may take, and what happens when there is less than was planned for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from pytest_ragshortcut.core.plans import Corruption, Knockout, PlanRow, ProbePlan, Restoration
from pytest_ragshortcut.models.architectures import map_architecture
from pytest_ragshortcut.models.fingerprint import stamp
from pytest_ragshortcut.models.incremental.executor import IncrementalExecutor
from pytest_ragshortcut.models.incremental.memory import Budget, Demand, budget_of, is_out_of_memory

N_TOKENS = 14


def plan(n_prompts: int = 3) -> ProbePlan:
    """A causal map, knockouts and contributions of several prompts that share no beginning."""
    rows = []
    for seed in range(n_prompts):
        prompt = tiny.prompt(tiny.ids(N_TOKENS - 1, seed), (5, 6))
        noise = 0.5 * np.random.default_rng(seed).standard_normal((2, 32))
        corruption = Corruption((4, 5), noise=noise)
        rows += [PlanRow(prompt), PlanRow(prompt, corruption), PlanRow(prompt, contributions=True)]
        rows += [
            PlanRow(prompt, corruption, (Restoration("residual", (layer,), (position,)),))
            for layer in range(3)
            for position in range(N_TOKENS)
        ]
        rows.append(PlanRow(prompt, knockouts=(Knockout((2,), prompt.readers, (0, 1)),)))
    return ProbePlan(tuple(rows))


def values(readings: Any) -> np.ndarray:
    parts = [reading.logprobs for reading in readings]
    parts += [r.contributions.per_head.ravel() for r in readings if r.contributions is not None]
    return np.concatenate(parts)


class Scarce:
    """Lets no more than so many packed tokens through a layer, and counts the refusals."""

    def __init__(self, executor: IncrementalExecutor, max_tokens: int) -> None:
        self.executor, self.max_tokens = executor, max_tokens
        self.refused: list[int] = []

    @contextmanager
    def __call__(self) -> Iterator[Scarce]:
        layer = self.executor.frame.layer

        def scarce(index: int, hidden: torch.Tensor, *args: Any) -> Any:
            # Late in the model, so that much has been done when it happens.
            if index == 1 and len(hidden) > self.max_tokens:
                self.refused.append(len(hidden))
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return layer(index, hidden, *args)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.executor.frame, "layer", scarce)
            yield self


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral"])
@pytest.mark.parametrize("max_tokens", [N_TOKENS, 2 * N_TOKENS, 60])
def test_a_plan_that_takes_too_much_is_run_in_smaller_passes(name: str, max_tokens: int) -> None:
    executor = tiny.incremental(name)
    expected = values(tiny.incremental(name).run(plan()))
    before = stamp(executor.model)
    with Scarce(executor, max_tokens)() as scarce:
        found = values(executor.run(plan()))
        assert found == pytest.approx(expected, abs=1e-10)
        assert 0 < len(scarce.refused) < 10
        # What it had to give up it does not ask for again.
        refused = len(scarce.refused)
        executor.forget()
        assert values(executor.run(plan())) == pytest.approx(expected, abs=1e-10)
        assert len(scarce.refused) == refused
    assert executor.keeper.budget == executor.budget
    assert executor.keeper.store.max_bytes == executor.budget.stored_bytes
    assert stamp(executor.model) == before
    assert values(executor.run(plan())) == pytest.approx(expected, abs=1e-10)


def test_batches_that_were_done_are_not_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = tiny.incremental("llama")
    executor.budget = Budget(1 << 30, 1, 1, max_tokens=1 << 20, max_kept=2 * N_TOKENS)
    begun: list[tuple[int, ...]] = []
    clean_runs = executor.keeper.clean_runs

    def failing(prompts: Any) -> Any:
        begun.append(next(iter(prompts)))
        if len(begun) == 3:
            raise torch.OutOfMemoryError("out of memory")
        return clean_runs(prompts)

    monkeypatch.setattr(executor.keeper, "clean_runs", failing)
    found = executor.run(plan())
    assert values(found) == pytest.approx(values(tiny.incremental("llama").run(plan())), abs=1e-10)
    assert len(set(begun[:3])) == 3
    assert set(begun[3:]) == {begun[2]}


def test_memory_that_never_suffices_is_the_allocators_own_error() -> None:
    executor = tiny.incremental("llama")
    before = stamp(executor.model)
    budget = executor.budget
    with (
        Scarce(executor, N_TOKENS - 1)() as scarce,
        pytest.raises(torch.OutOfMemoryError, match=r"2\.00 GiB"),
    ):
        executor.run(plan())
    # It halves what it asked for until that is one prompt, and no further.
    assert 2 < len(scarce.refused) < 12
    assert scarce.refused[-1] == N_TOKENS
    assert executor.budget.n_bytes < budget.n_bytes
    assert stamp(executor.model) == before
    assert not torch.is_inference_mode_enabled()
    expected = values(tiny.incremental("llama").run(plan()))
    assert values(executor.run(plan())) == pytest.approx(expected, abs=1e-10)


def test_one_prompt_alone_is_tried_again_once_with_nothing_else_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    executor = tiny.incremental("llama")
    executor.run(plan())
    assert len(executor.keeper.store) > 1
    new = ProbePlan((PlanRow(tiny.prompt(tiny.ids(N_TOKENS, seed=9), (5,))),))
    kept: list[int] = []

    def failing(*_: Any) -> Any:
        kept.append(len(executor.keeper.store))
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(executor.frame, "layer", failing)
    with pytest.raises(torch.OutOfMemoryError):
        executor.run(new)
    assert len(kept) == 2
    assert kept[0] > 1
    assert kept[1] == 0


@pytest.mark.parametrize("error", [RuntimeError("stop"), ValueError("stop"), KeyboardInterrupt()])
def test_another_error_is_not_tried_again(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = tiny.incremental("llama")
    budget, calls = executor.budget, []

    def failing(*_: Any) -> Any:
        calls.append(1)
        raise error

    monkeypatch.setattr(executor.frame, "layer", failing)
    with pytest.raises(type(error)):
        executor.run(plan())
    assert len(calls) == 1
    assert executor.budget == budget


@pytest.mark.parametrize("max_tokens", [N_TOKENS, 20, 40])
def test_answers_are_continued_in_smaller_passes(max_tokens: int) -> None:
    sequences = [tiny.ids(n_tokens, seed) for seed, n_tokens in enumerate((14, 9, 14, 12, 14))]
    sequences.append(sequences[0])
    executor = tiny.incremental("llama")
    expected = tiny.incremental("llama").next_logits(sequences)
    with Scarce(executor, max_tokens)() as scarce:
        found = executor.next_logits(sequences)
    assert scarce.refused
    assert torch.allclose(found, expected, atol=1e-10)
    executor.forget()
    with Scarce(executor, 3)() as scarce, pytest.raises(torch.OutOfMemoryError):
        executor.next_logits(sequences)
    assert len(scarce.refused) < 10


def test_no_more_sequences_are_kept_at_once_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    sequences = [tiny.ids(n_tokens, seed) for seed, n_tokens in enumerate((14, 9, 9, 30, 2))]
    executor = tiny.incremental("llama")
    executor.budget = Budget(1 << 30, 1, 1, max_tokens=1 << 20, max_kept=20)
    kept: list[list[int]] = []
    clean_runs = executor.keeper.clean_runs

    def watched(prompts: Any) -> Any:
        kept.append([len(ids) for ids in prompts])
        return clean_runs(prompts)

    monkeypatch.setattr(executor.keeper, "clean_runs", watched)
    found = executor.next_logits(sequences)
    assert kept == [[14], [9, 9], [30], [2]]
    assert torch.allclose(found, tiny.incremental("llama").next_logits(sequences), atol=1e-10)


def test_a_hook_that_runs_out_of_memory_leaves_the_model_in_training() -> None:
    built = tiny.fresh("llama")
    executor = IncrementalExecutor(built, map_architecture(built))
    expected = values(executor.run(plan()))
    built.train()
    sizes: list[int] = []

    def hungry(_: Any, __: Any, output: Any) -> None:
        n_packed = output.shape[1]
        sizes.append(n_packed)
        if n_packed > 30:
            raise torch.OutOfMemoryError("out of memory")

    handle = built.model.layers[1].mlp.register_forward_hook(hungry)
    executor.forget()
    assert values(executor.run(plan())) == pytest.approx(expected, abs=1e-10)
    handle.remove()
    assert max(sizes) > 30
    assert all(module.training for module in built.modules())


def test_halving_halves_what_was_asked_for() -> None:
    budget = Budget(n_bytes=3000, token_bytes=10, kept_bytes=5, max_tokens=1 << 30)
    assert (budget.packed_tokens, budget.kept_tokens) == (100, 200)
    # A plan that never asked for as much as there was would not feel half of it.
    half = budget.halved(Demand(packed=40, kept=1000))
    assert (half.packed_tokens, half.kept_tokens) == (20, 100)
    assert half.stored_bytes == budget.stored_bytes // 2
    for _ in range(20):
        assert half.packed_tokens >= 1 <= half.kept_tokens
        half = half.halved(Demand(half.packed_tokens, half.kept_tokens))
    assert half.is_least
    assert not budget.is_least


def test_an_allocation_that_fails_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 48)
    assert is_out_of_memory(raised.value)
    with pytest.raises(MemoryError) as beyond:
        np.empty(1 << 48)
    assert is_out_of_memory(beyond.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))


def test_a_budget_buys_fewer_tokens_of_a_wider_model() -> None:
    narrow, wide = tiny.model("llama"), tiny.fresh("llama", hidden_size=64)
    bought = [budget_of(model, 10_000_000) for model in (narrow, wide)]
    assert bought[0].packed_tokens > bought[1].packed_tokens
    assert bought[0].kept_tokens > bought[1].kept_tokens
