"""What the incremental executor computes, how often, and when it must not be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import nn
from transformers import PreTrainedModel

from pytest_ragshortcut.core.plans import (
    COMPONENTS,
    Corruption,
    Knockout,
    PlanRow,
    ProbePlan,
    Restoration,
    RowReading,
)
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.errors import ExecutorSelfCheckError
from pytest_ragshortcut.models.architectures import map_architecture
from pytest_ragshortcut.models.executors import choose_executor
from pytest_ragshortcut.models.incremental.executor import IncrementalExecutor
from pytest_ragshortcut.models.incremental.schedule import schedule
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.models.reference import ReferenceExecutor

N_TOKENS, FIRST, N_LAYERS = 14, 5, 5


DEEP: dict[str, dict[str, Any]] = {
    "llama": {"num_hidden_layers": N_LAYERS},
    "mistral": {"num_hidden_layers": N_LAYERS},
    "gpt2": {"n_layer": N_LAYERS},
    "gemma2": {
        "num_hidden_layers": N_LAYERS,
        "layer_types": ["sliding_attention", "full_attention"] * 2 + ["sliding_attention"],
    },
}


def deep(name: str = "llama") -> PreTrainedModel:
    """Build a model with more layers than windows are wide."""
    return tiny.fresh(name, **DEEP[name])


def executor_of(model: PreTrainedModel, **options: Any) -> IncrementalExecutor:
    return IncrementalExecutor(model, map_architecture(model), **options)


@contextmanager
def counted(model: PreTrainedModel) -> Iterator[list[int]]:
    """Count the tokens that pass through each layer's MLP."""
    layers = map_architecture(model).layers
    counts = [0] * len(layers)

    def counter(index: int) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        def count(_: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            counts[index] += given[0].shape[:-1].numel()

        return count

    with ExitStack() as stack:
        for index, layer in enumerate(layers):
            assert layer.mlp is not None
            stack.callback(layer.mlp.register_forward_pre_hook(counter(index)).remove)
        yield counts


def corruption(first: int = FIRST, seed: int = 0) -> Corruption:
    noise = np.random.default_rng(seed).standard_normal((2, 32))
    return Corruption((first, first + 2), noise=noise)


def prompt(seed: int = 0, n_tokens: int = N_TOKENS) -> TokenizedPrompt:
    """A prompt that is read at its last two tokens."""
    return tiny.prompt(tiny.ids(n_tokens - 1, seed), (5, 6))


def causal_map(of: TokenizedPrompt, disturbed: Corruption) -> list[PlanRow]:
    return [
        PlanRow(of, disturbed, (Restoration("residual", (layer,), (position,)),))
        for layer in range(N_LAYERS)
        for position in range(FIRST, len(of.input_ids))
    ]


def cuts(of: TokenizedPrompt) -> list[PlanRow]:
    """Cut every source from the last reader, in windows that begin in different layers."""
    return [
        PlanRow(of, knockouts=(Knockout((source,), of.readers[-1:], (layer, N_LAYERS - 1)),))
        for source in range(3)
        for layer in range(N_LAYERS)
    ]


def scheduled(rows: Sequence[PlanRow]) -> np.ndarray:
    """Sum what the schedules of rows compute, layer by layer."""
    total = np.zeros(N_LAYERS, dtype=np.int64)
    for row in rows:
        planned = schedule(
            restorations=row.restorations,
            knockouts=row.knockouts,
            readers=row.prompt.readers,
            first_changed=min(row.corruption.positions) if row.corruption else N_TOKENS,
            n_layers=N_LAYERS,
        )
        total += np.array(planned.counts)
    return total


def whole(n_tokens: int, n_readers: int = 2) -> np.ndarray:
    """Count a run that is kept: keys and values are all that its last layer must give."""
    return np.array([n_tokens] * (N_LAYERS - 1) + [n_readers])


def values(readings: Sequence[RowReading]) -> np.ndarray:
    return np.concatenate([reading.logprobs for reading in readings])


@pytest.mark.parametrize("name", DEEP)
def test_a_plan_computes_what_its_schedules_say_and_its_runs_once(name: str) -> None:
    model = deep(name)
    rows = causal_map(prompt(), corruption()) + cuts(prompt())
    with counted(model) as counts:
        executor_of(model).run(ProbePlan(tuple(rows)))
    # A restored state joins a row in the next layer, so that no two rows begin alike.
    clean, corrupted = whole(N_TOKENS), whole(N_TOKENS - FIRST)
    assert counts == list(scheduled(rows) + clean + corrupted)


def test_a_cut_from_the_last_reader_is_one_token_in_every_layer_from_the_first_cut_on() -> None:
    model = deep()
    with counted(model) as counts:
        executor_of(model).run(ProbePlan(tuple(cuts(prompt()))))
    begun = np.arange(1, N_LAYERS + 1) * 3
    # What the other reader says is the clean run's.
    assert counts == list(whole(N_TOKENS) + begun)


def test_a_whole_map_costs_what_can_change_and_no_more() -> None:
    model = deep()
    of = tiny.prompt(tiny.ids(N_TOKENS), (5,))
    with counted(model) as counts:
        executor_of(model).run(ProbePlan(tuple(causal_map(of, corruption()))))
    # Behind the first position, which leaves the prompt clean up to it, and behind the others.
    q = N_TOKENS - FIRST
    behind = (q - 1) + sum(range(1, q))
    above = np.arange(N_LAYERS)
    expected = np.array([*(above * behind)[:-1], above[-1] * q])
    assert counts == list(whole(N_TOKENS, 1) + whole(q, 1) + expected)


@pytest.mark.parametrize("component", COMPONENTS)
def test_rows_that_repeat_are_computed_once(component: Any) -> None:
    model = deep()

    def once() -> list[PlanRow]:
        restorations = (Restoration(component, (1, 2), (7,)),)
        disturbed = corruption()
        return [
            PlanRow(prompt()),
            PlanRow(prompt(), disturbed),
            PlanRow(prompt(), disturbed, restorations),
            PlanRow(prompt(), knockouts=(Knockout((2,), (N_TOKENS - 1,), (1,)),)),
        ]

    with counted(model) as counts:
        executor_of(model).run(ProbePlan(tuple(once())))
    single = [*counts]
    with counted(model) as counts:
        # Equal rows that are other objects, down to the noise.
        readings = executor_of(model).run(ProbePlan((*once(), *once(), *once())))
    assert counts == single
    assert (values(readings[:4]) == values(readings[4:8])).all()


def test_what_a_sub_layer_computed_is_kept_for_the_next_plan() -> None:
    model = deep()
    executor = executor_of(model)

    def rows(seed: int) -> list[PlanRow]:
        return [
            PlanRow(prompt(), corruption(seed=seed), (Restoration(component, (1,), (p,)),))
            for component in ("attention", "mlp")
            for p in (6, 9)
        ]

    with counted(model) as counts:
        executor.run(ProbePlan(tuple(rows(0))))
    at_sites = np.array([0, 2, 0, 0, 0])
    first = whole(N_TOKENS) + whole(N_TOKENS - FIRST) + scheduled(rows(0)) + at_sites
    assert counts == list(first)
    with counted(model) as counts:
        executor.run(ProbePlan(tuple(rows(1))))
    assert counts == list(whole(N_TOKENS - FIRST) + scheduled(rows(1)))


def test_answers_to_one_prompt_are_each_their_own_reading() -> None:
    model = tiny.model("llama")
    prompts = [tiny.prompt(tiny.ids(N_TOKENS), (answer,)) for answer in (5, 7, 5, 9)]
    disturbed, cut = corruption(), (Knockout((2,), (N_TOKENS - 1,), (1,)),)
    rows = [
        row
        for of in prompts
        for row in (PlanRow(of), PlanRow(of, disturbed), PlanRow(of, knockouts=cut))
    ]
    executor = executor_of(model)
    for found, row in zip(executor.run(ProbePlan(tuple(rows))), rows, strict=True):
        (alone,) = executor_of(model).run(ProbePlan((row,)))
        assert found.logprobs == pytest.approx(alone.logprobs, abs=1e-10)
    with counted(model) as counts:
        executor_of(model).run(ProbePlan(tuple(PlanRow(of) for of in prompts)))
    assert counts[0] == N_TOKENS


def test_rows_that_begin_alike_are_computed_once_until_they_part() -> None:
    model = deep()
    last = N_TOKENS - 1
    same = Knockout((1,), (6,), (0,))
    late = [PlanRow(prompt(), knockouts=(same, Knockout((s,), (last,), (3,)))) for s in (2, 3, 4)]
    with counted(model) as counts:
        executor_of(model).run(ProbePlan(tuple(late)))
    behind = N_TOKENS - 6
    assert scheduled(late[:1]).tolist() == [1, behind, behind, behind, 2]
    assert counts == list(whole(N_TOKENS) + np.array([1, behind, behind, 3 * behind, 3 * 2]))


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral", "gpt_oss", "deepseek_v3"])
def test_rows_of_several_prompts_read_together_what_they_read_one_by_one(name: str) -> None:
    built = tiny.model(name)
    rows = []
    for seed, n_tokens in enumerate((14, 9, 14, 11, 3, 1)):
        of = tiny.prompt(tiny.ids(n_tokens, seed), (5, 6, 7)[: 1 + seed % 3])
        last = len(of.input_ids) - 1
        noise = np.random.default_rng(seed).standard_normal((1, 32))
        disturbed = Corruption((last // 2,), noise=noise)
        rows += [PlanRow(of), PlanRow(of, disturbed)]
        rows += [
            PlanRow(of, disturbed, (Restoration(component, (0, 1), (last // 2, last)),))
            for component in COMPONENTS
        ]
        if last:
            rows.append(PlanRow(of, knockouts=(Knockout((0,), (last // 2, last), (1, 2)),)))
    together = values(executor_of(built).run(ProbePlan(tuple(rows))))
    shuffled = [rows[i] for i in np.random.default_rng(1).permutation(len(rows))]
    alone = [executor_of(built).run(ProbePlan((row,)))[0] for row in shuffled]
    again = executor_of(built).run(ProbePlan(tuple(shuffled)))
    close = tiny.closeness(name, built.dtype)
    assert values(alone) == pytest.approx(values(again), abs=close)
    found = dict(zip(map(id, shuffled), again, strict=True))
    assert values([found[id(row)] for row in rows]) == pytest.approx(together, abs=close)


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral", "gemma2", "gpt_oss", "olmo2", "opt"])
def test_next_logits_are_those_of_a_plain_forward(name: str) -> None:
    model = tiny.model(name)
    base = tiny.ids(30)
    sequences = [base[:20], base[:1], base[:30], base[:20], tiny.ids(11, seed=4), base[:19]]
    executor = executor_of(model)
    with torch.no_grad():
        plain = [
            model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1] for ids in sequences
        ]
    close = 1e-4 if model.dtype == torch.float32 else 1e-5
    for found in (
        executor.next_logits(sequences),
        torch.cat([executor.next_logits([ids]) for ids in sequences]),
    ):
        assert found.shape == (len(sequences), tiny.VOCABULARY)
        torch.testing.assert_close(found, torch.stack(plain), rtol=close, atol=close)


def by_length() -> PreTrainedModel:
    """Build a model whose positions turn differently in prompts of more than 32 tokens."""
    return tiny.fresh(
        "llama",
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "factor": 2.0,
            "original_max_position_embeddings": 32,
            "short_factor": [1.0] * 4,
            "long_factor": [3.0, 5.0, 7.0, 9.0],
        },
    )


def test_prompts_whose_positions_depend_on_their_length_share_nothing_across_it() -> None:
    model = by_length()
    long, other = tiny.ids(44), tiny.ids(41, seed=1)
    sequences = [long[:20], long, long[:32], other, long[:33], other[:30]]
    with torch.no_grad():
        plain = [
            model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1] for ids in sequences
        ]
        beyond = model(input_ids=torch.tensor([long]), use_cache=False).logits[0, 19]
    assert (beyond - plain[0]).abs().max() > 0.1
    chosen, note = choose_executor(model, map_architecture(model))
    assert note == ""
    for found in (
        chosen.next_logits(sequences),
        torch.cat([chosen.next_logits([ids]) for ids in sequences]),
    ):
        torch.testing.assert_close(found, torch.stack(plain), rtol=1e-5, atol=1e-5)
    rows = [PlanRow(tiny.prompt(ids, (5, 6))) for ids in sequences]
    for row, reading in zip(rows, chosen.run(ProbePlan(tuple(rows))), strict=True):
        assert reading.logprobs == pytest.approx(tiny.by_hand(model, row.prompt), abs=1e-5)


def test_prompts_far_apart_in_length_are_prepared_together() -> None:
    model = tiny.rag_parts()[0]
    base, other = tiny.ids(200), tiny.ids(70, seed=1)
    sequences = [base[:10], base, other, base[:130], other[:64], base[:65]]
    with torch.no_grad():
        plain = [
            model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1] for ids in sequences
        ]
    found = executor_of(model).next_logits(sequences)
    torch.testing.assert_close(found, torch.stack(plain), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("memory", [1, 30_000, 300_000])
def test_a_small_memory_says_and_reads_the_same(memory: int) -> None:
    built, tokenizer = tiny.rag_parts()
    rows = [PlanRow(prompt(seed), contributions=True) for seed in range(3)]
    roomy, small = (
        RagModel(built, tokenizer, executor="incremental", memory=m) for m in (None, memory)
    )
    expected, found = roomy.run(ProbePlan(tuple(rows))), small.run(ProbePlan(tuple(rows)))
    for one, other in zip(expected, found, strict=True):
        assert other.logprobs == pytest.approx(one.logprobs, abs=1e-10)
        assert one.contributions is not None
        assert other.contributions is not None
        for part in ("per_head", "summed"):
            parts = [getattr(each.contributions, part) for each in (one, other)]
            assert parts[1] == pytest.approx(parts[0], abs=1e-10)
    assert small.generate([prompt(), prompt(3)]) == roomy.generate([prompt(), prompt(3)])


def add_the_mean(hidden: torch.Tensor) -> torch.Tensor:
    return hidden + hidden.mean(dim=1, keepdim=True)


def add_the_mean_so_far(hidden: torch.Tensor) -> torch.Tensor:
    count = torch.arange(1, hidden.shape[1] + 1, device=hidden.device, dtype=hidden.dtype)
    return hidden + hidden.cumsum(dim=1) / count[:, None]


def add_the_token_before(hidden: torch.Tensor) -> torch.Tensor:
    return hidden + torch.cat([torch.zeros_like(hidden[:, :1]), hidden[:, :-1]], dim=1)


def scale_by_the_place(hidden: torch.Tensor) -> torch.Tensor:
    place = torch.arange(hidden.shape[1], device=hidden.device, dtype=hidden.dtype)
    return hidden * (1 + 0.1 * place[:, None])


def scale_by_the_length(hidden: torch.Tensor) -> torch.Tensor:
    return hidden * (1 + 0.01 * hidden.shape[1])


MIXING = (
    add_the_mean,
    add_the_mean_so_far,
    add_the_token_before,
    scale_by_the_place,
    scale_by_the_length,
)


def mixing(mix: Callable[[torch.Tensor], torch.Tensor], layer: int) -> PreTrainedModel:
    """Build a model whose layer, beside its attention, mixes tokens or counts them."""
    model = tiny.fresh("llama")
    module = map_architecture(model).layers[layer].mlp
    assert module is not None
    module.register_forward_hook(lambda _, __, output: mix(output))
    return model


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("mix", MIXING)
def test_a_layer_that_mixes_tokens_past_attention_runs_on_the_reference(
    mix: Callable[[torch.Tensor], torch.Tensor], layer: int
) -> None:
    model = mixing(mix, layer)
    with pytest.raises(ExecutorSelfCheckError, match="not the model's own"):
        choose_executor(model, map_architecture(model), kind="incremental")
    chosen, note = choose_executor(model, map_architecture(model))
    assert isinstance(chosen, ReferenceExecutor)
    assert "reference executor" in note
    assert "not the model's own" in note
    (found,) = chosen.run(ProbePlan((PlanRow(prompt()),)))
    assert found.logprobs == pytest.approx(tiny.by_hand(model, prompt()), abs=1e-10)


def test_a_layer_that_treats_tokens_alike_stays_on_the_incremental_executor() -> None:
    model = mixing(lambda hidden: 1.1 * hidden + 0.1, 1)
    chosen, note = choose_executor(model, map_architecture(model))
    assert isinstance(chosen, IncrementalExecutor)
    assert note == ""


def test_a_model_that_must_not_be_packed_answers_through_its_rag_model() -> None:
    _, tokenizer = tiny.rag_parts()
    model = tiny.fresh("llama", vocab_size=len(tokenizer))
    model.model.layers[1].mlp.register_forward_hook(lambda _, __, out: add_the_mean_so_far(out))
    insisting = RagModel(model, tokenizer, executor="incremental")
    for ask in (lambda: insisting.run(ProbePlan((PlanRow(prompt()),))), lambda: insisting.note):
        with pytest.raises(ExecutorSelfCheckError):
            ask()
    (found,) = RagModel(model, tokenizer).run(ProbePlan((PlanRow(prompt()),)))
    assert found.logprobs == pytest.approx(tiny.by_hand(model, prompt()), abs=1e-10)


CHANGED = ("embed_tokens", "self_attn.o_proj", "self_attn.v_proj", "mlp.up_proj", "norm", "lm_head")


@pytest.mark.parametrize("name", CHANGED)
def test_weights_written_in_place_between_two_runs_are_read_anew(name: str) -> None:
    _, tokenizer = tiny.rag_parts()
    model = tiny.fresh("llama", vocab_size=len(tokenizer))
    plan = ProbePlan(
        (
            PlanRow(prompt(), contributions=True),
            PlanRow(prompt(), corruption(), (Restoration("mlp", (1,), (7,)),)),
        )
    )
    asked = RagModel(model, tokenizer, executor="incremental")
    before = asked.run(plan)
    weight = next(p for key, p in model.named_parameters() if f"{name}.weight" in key)
    with torch.no_grad():
        weight.mul_(1.5)
    after = asked.run(plan)
    expected = RagModel(model, tokenizer, executor="incremental").run(plan)
    assert values(after) == pytest.approx(values(expected), abs=1e-12)
    assert np.abs(values(after) - values(before)).max() > 1e-3
    assert after[0].contributions is not None
    assert expected[0].contributions is not None
    assert after[0].contributions.per_head == pytest.approx(
        expected[0].contributions.per_head, abs=1e-12
    )


def test_logits_and_their_logarithms_fit_the_memory_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vocabulary, memory = 20_000, 16 << 20
    model = tiny.fresh("llama", torch.float32, vocab_size=vocabulary)
    prompt = tiny.prompt(tiny.ids(40), (5,))
    cuts = [((s,), layer) for s in range(39) for layer in range(3)]
    cuts += [((s, s + 1), layer) for s in range(38) for layer in range(3)]
    rows = [PlanRow(prompt, knockouts=(Knockout(s, (39,), (layer,)),)) for s, layer in cuts]
    executor = executor_of(model, memory=memory)
    seen, logits = [], executor.frame.logits
    monkeypatch.setattr(
        executor.frame, "logits", lambda hidden: seen.append(len(hidden)) or logits(hidden)
    )
    executor.run(ProbePlan(tuple(rows)))
    assert sum(seen) >= 39 * 3
    assert max(seen) * vocabulary * 4 * 2 <= memory


def test_all_that_stored_runs_hold_fits_their_share() -> None:
    memory = 600_000
    executor = executor_of(tiny.model("llama"), memory=memory)
    for seed in range(4):
        prompt = tiny.prompt(tiny.ids(60, seed), (5,))
        noisy = Corruption((2,), noise=np.ones((1, 32)))
        rows = [
            PlanRow(prompt, noisy, (Restoration(component, (layer,), (p,)),))
            for component in COMPONENTS
            for layer in range(3)
            for p in range(2, 60)
        ]
        executor.run(ProbePlan(tuple(rows)))
        runs = list(executor.keeper.store._runs.values())
        kinds = [(*r.inputs, *r.keys, *r.values, *r.queries, *r.components.values()) for r in runs]
        held = sum(t.numel() * t.element_size() for tensors in kinds for t in tensors)
        assert held <= memory // 3 or len(runs) == 1


def test_a_sub_layer_restored_behind_the_last_reader_does_nothing() -> None:
    model = tiny.model("llama")
    prompt = tiny.prompt(tiny.ids(13), (5,), n_prompt=8)
    cut = Knockout((0,), (1,), (0,))
    behind = PlanRow(prompt, None, (Restoration("attention", (0,), (9,)),), (cut,))
    other = PlanRow(prompt, knockouts=(cut, Knockout((0,), (2,), (0,))))
    alone = PlanRow(prompt, knockouts=(cut,))
    read = [r.logprobs for r in executor_of(model).run(ProbePlan((behind, other, alone)))]
    assert read[0] == pytest.approx(read[2], abs=1e-12)
    assert read[0] != pytest.approx(read[1], abs=1e-6)
