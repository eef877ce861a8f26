"""The reference executor on every architecture: what must hold whatever the weights are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from pytest_ragshortcut.core.plans import Corruption, Knockout, PlanRow, ProbePlan, Restoration
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.errors import PlanError
from pytest_ragshortcut.models import reference
from pytest_ragshortcut.models.reference import ReferenceExecutor

SPAN = (3, 4, 5)
SOURCES = (9, 10)
COMPONENTS = ("residual", "attention", "mlp")

every_architecture = pytest.mark.parametrize("name", tiny.NAMES)


class Setting:
    """One architecture's executor, a prompt that reads the greedy answer, and a corruption."""

    def __init__(self, name: str, dtype: torch.dtype | None = None) -> None:
        self.executor = tiny.executor(name, dtype)
        self.model = self.executor.model
        self.prompt = tiny.greedy_prompt(self.model)
        self.layers = tuple(range(len(self.executor.architecture.layers)))
        self.everywhere = tuple(range(len(self.prompt.input_ids)))
        self.corruption = Corruption(SPAN, noise=noise(self.executor))
        self.close = tiny.closeness(name, self.model.dtype)

    def run(self, *rows: PlanRow) -> list[np.ndarray]:
        return tiny.run(self.executor, *rows)

    def knocked(self, sources: tuple[int, ...], targets: tuple[int, ...], *layers: int) -> PlanRow:
        cut = Knockout(sources, targets, layers or self.layers)
        return PlanRow(self.prompt, knockouts=(cut,))


def noise(executor: ReferenceExecutor, n_tokens: int = len(SPAN), seed: int = 0) -> np.ndarray:
    width = executor.model.config.get_text_config().hidden_size
    return np.random.default_rng(seed).standard_normal((n_tokens, width))


@every_architecture
@pytest.mark.parametrize("dtype", [torch.float32, None], ids=["float32", "widest"])
def test_an_empty_plan_row_is_the_untouched_model_bit_for_bit(
    name: str, dtype: torch.dtype | None
) -> None:
    at = Setting(name, dtype)
    ids = torch.tensor([at.prompt.input_ids])
    logits = reference.forward_logits(at.model, ids, at.prompt.readers)
    answer = torch.tensor(at.prompt.answer_ids)[:, None]
    untouched = torch.log_softmax(logits[0], dim=-1).gather(-1, answer)[:, 0]
    (read,) = at.run(PlanRow(at.prompt))
    assert (read == untouched.detach().double().numpy()).all()
    assert read == pytest.approx(tiny.by_hand(at.model, at.prompt), abs=at.close)


@every_architecture
def test_the_corruption_matters_and_restoring_layer_0_everywhere_undoes_all_of_it(
    name: str,
) -> None:
    at = Setting(name)
    clean, corrupted, restored = at.run(
        PlanRow(at.prompt),
        PlanRow(at.prompt, at.corruption),
        PlanRow(at.prompt, at.corruption, (Restoration("residual", (0,), at.everywhere),)),
    )
    total = np.exp(clean.sum()) - np.exp(corrupted.sum())
    indirect = np.exp(restored.sum()) - np.exp(corrupted.sum())
    assert np.abs(clean - corrupted).max() > 1e-3
    assert restored == pytest.approx(clean, abs=at.close)
    assert indirect == pytest.approx(total, abs=at.close)


@every_architecture
def test_restoring_every_component_everywhere_gives_the_clean_answer(name: str) -> None:
    at = Setting(name)
    all_of_it = tuple(Restoration(part, at.layers, at.everywhere) for part in COMPONENTS)
    clean, restored = at.run(PlanRow(at.prompt), PlanRow(at.prompt, at.corruption, all_of_it))
    assert restored == pytest.approx(clean, abs=at.close)


@every_architecture
def test_restoring_nothing_leaves_the_corrupted_answer(name: str) -> None:
    at = Setting(name)
    corrupted, no_position, no_layer = at.run(
        PlanRow(at.prompt, at.corruption),
        PlanRow(at.prompt, at.corruption, (Restoration("residual", at.layers, ()),)),
        PlanRow(at.prompt, at.corruption, (Restoration("mlp", (), at.everywhere),)),
    )
    # One batch: equal up to how its matrix products are blocked.
    assert no_position == pytest.approx(corrupted, abs=at.close)
    assert no_layer == pytest.approx(corrupted, abs=at.close)


@every_architecture
@pytest.mark.parametrize("component", COMPONENTS)
def test_restoring_a_component_into_the_clean_run_changes_nothing(
    name: str, component: str
) -> None:
    at = Setting(name)
    into_clean = PlanRow(at.prompt, restorations=(Restoration(component, at.layers, SPAN),))
    into_corrupted = replace(into_clean, corruption=at.corruption)
    clean, same, corrupted, moved = at.run(
        PlanRow(at.prompt), into_clean, PlanRow(at.prompt, at.corruption), into_corrupted
    )
    assert same == pytest.approx(clean, abs=at.close)
    assert np.abs(moved - corrupted).max() > 1e-4


@every_architecture
def test_a_knockout_of_no_edge_or_of_an_edge_to_itself_is_exactly_nothing(name: str) -> None:
    at = Setting(name)
    reader = at.prompt.readers[0]
    clean, no_source, no_target, itself = at.run(
        PlanRow(at.prompt),
        at.knocked((), at.prompt.readers),
        at.knocked(SOURCES, ()),
        at.knocked((reader,), (reader,)),
    )
    assert (no_source == clean).all()
    assert (no_target == clean).all()
    assert (itself == clean).all()


@every_architecture
def test_a_knockout_above_the_diagonal_changes_nothing_and_one_below_does(name: str) -> None:
    at = Setting(name)
    clean, above, below = at.run(
        PlanRow(at.prompt),
        at.knocked((at.everywhere[-1],), at.everywhere[:-1]),
        at.knocked(SOURCES, at.prompt.readers),
    )
    # Without a cut SDPA builds the causal mask itself, in another kernel.
    assert above == pytest.approx(clean, abs=max(at.close, 1e-6))
    assert np.abs(below - clean).max() > 1e-3


@every_architecture
def test_a_token_cut_from_all_others_in_all_layers_may_be_any_token(name: str) -> None:
    at = Setting(name)
    ids = list(at.prompt.input_ids)
    ids[SOURCES[0]] = 7 if ids[SOURCES[0]] != 7 else 8
    other = replace(at.prompt, input_ids=tuple(ids))
    cut = at.knocked(SOURCES[:1], at.everywhere)
    one, another, one_uncut, another_uncut = at.run(
        cut, replace(cut, prompt=other), PlanRow(at.prompt), PlanRow(other)
    )
    assert np.abs(one_uncut - another_uncut).max() > 1e-3
    assert one == pytest.approx(another, abs=at.close)


@every_architecture
def test_a_knockout_acts_in_its_own_layer(name: str) -> None:
    at = Setting(name)
    clean_after_0 = (Restoration("residual", (0,), at.everywhere),)
    first = at.knocked(SOURCES, at.everywhere, 0)
    second = at.knocked(SOURCES, at.everywhere, 1)
    clean, first_undone, second_alone, second_kept = at.run(
        PlanRow(at.prompt),
        replace(first, restorations=clean_after_0),
        second,
        replace(second, restorations=clean_after_0),
    )
    assert first_undone == pytest.approx(clean, abs=max(at.close, 1e-6))
    assert second_kept == pytest.approx(second_alone, abs=at.close)
    assert np.abs(second_alone - clean).max() > 1e-4


@every_architecture
def test_the_restored_attention_output_undoes_a_knockout_in_its_layer(name: str) -> None:
    at = Setting(name)
    cut = at.knocked(SOURCES, at.everywhere, 1)
    restored = replace(cut, restorations=(Restoration("attention", (1,), at.everywhere),))
    clean, undone = at.run(PlanRow(at.prompt), restored)
    assert undone == pytest.approx(clean, abs=max(at.close, 1e-6))


@every_architecture
def test_restoring_before_the_corruption_or_behind_the_last_reader_has_no_effect(
    name: str,
) -> None:
    at = Setting(name)
    ids = at.prompt.input_ids
    early = tiny.prompt(ids, at.prompt.answer_ids[:1], n_prompt=len(ids) - 3)
    before, behind = tuple(range(SPAN[0])), (len(ids) - 2, len(ids) - 1)
    rows = [PlanRow(early, at.corruption)]
    rows += [
        PlanRow(early, at.corruption, (Restoration("residual", (layer,), positions),))
        for layer in at.layers
        for positions in (before, behind)
    ]
    corrupted, *restored = at.run(*rows)
    for read in restored:
        assert read == pytest.approx(corrupted, abs=at.close)


@every_architecture
def test_at_the_last_layer_only_the_readers_can_be_restored(name: str) -> None:
    at = Setting(name)
    last, readers = at.layers[-1:], at.prompt.readers
    others = tuple(set(at.everywhere) - set(readers))
    clean, corrupted, at_others, at_readers = at.run(
        PlanRow(at.prompt),
        PlanRow(at.prompt, at.corruption),
        PlanRow(at.prompt, at.corruption, (Restoration("residual", last, others),)),
        PlanRow(at.prompt, at.corruption, (Restoration("residual", last, readers),)),
    )
    assert at_others == pytest.approx(corrupted, abs=at.close)
    assert at_readers == pytest.approx(clean, abs=at.close)


@every_architecture
@pytest.mark.parametrize("dtype", [torch.float32, None], ids=["float32", "widest"])
def test_rows_of_mixed_lengths_in_one_plan_equal_rows_run_alone(
    name: str, dtype: torch.dtype | None
) -> None:
    at = Setting(name, dtype)
    shorter = tiny.greedy_prompt(at.model, n_prompt=10, n_answer=1, seed=3)
    longer = tiny.greedy_prompt(at.model, n_prompt=15, n_answer=3, seed=4)
    rows = [row for prompt in (at.prompt, shorter, longer) for row in mixed_rows(at, prompt)]
    together = at.run(*rows)
    for row, read in zip(rows, together, strict=True):
        (alone,) = at.run(row)
        assert read == pytest.approx(alone, abs=at.close)
    assert np.ptp([read.sum() for read in together]) > 0.5


def mixed_rows(at: Setting, prompt: TokenizedPrompt) -> list[PlanRow]:
    layers, readers = at.layers, prompt.readers
    other = Corruption((1, 2), noise=noise(at.executor, 2, seed=1))
    token = Corruption((2, 6), token_ids=(11, 12))
    restored = (Restoration("residual", (0, 1), (4, 8)), Restoration("mlp", (1,), (5,)))
    cut = Knockout((0, 7), readers, layers[:2])
    return [
        PlanRow(prompt),
        PlanRow(prompt, at.corruption),
        PlanRow(prompt, other, (Restoration("attention", (1,), (2, 3)),)),
        PlanRow(prompt, token, restored),
        PlanRow(prompt, knockouts=(cut,)),
        PlanRow(prompt, at.corruption, restored, (cut, Knockout((4,), (5, 6), layers[1:]))),
    ]


def test_rows_of_one_length_may_read_at_different_positions() -> None:
    at = Setting("llama")
    prompts = [tiny.prompt(tiny.ids(12), (5,), n_prompt=n) for n in (8, 10, 12)]
    clean = [PlanRow(prompt) for prompt in prompts]
    disturbed = [PlanRow(prompt, at.corruption) for prompt in prompts]
    together = at.run(*clean, *disturbed)
    for row, read in zip((*clean, *disturbed), together, strict=True):
        (alone,) = at.run(row)
        assert read == pytest.approx(alone, abs=at.close)
    assert np.ptp([read[0] for read in together]) > 0.1


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "falcon"])
def test_a_small_batch_limit_gives_the_same_readings(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = Setting(name)
    rows = mixed_rows(at, at.prompt)
    together = at.run(*rows)
    monkeypatch.setattr(reference, "_MAX_BATCH_TOKENS", 1)
    for read, one_by_one in zip(together, at.run(*rows), strict=True):
        assert read == pytest.approx(one_by_one, abs=at.close)


@every_architecture
def test_an_answer_of_several_tokens_is_the_sum_of_its_teacher_forced_steps(name: str) -> None:
    at = Setting(name)
    start, answer = tiny.ids(9, seed=5), tiny.ids(3, seed=6)
    steps = [
        tiny.by_hand(at.model, tiny.prompt((*start, *answer[:done]), answer[done : done + 1]))[0]
        for done in range(len(answer))
    ]
    (reading,) = at.executor.run(ProbePlan((PlanRow(tiny.prompt(start, answer)),)))
    assert reading.logprobs == pytest.approx(np.array(steps), abs=max(at.close, 1e-6))
    assert reading.logprob == pytest.approx(sum(steps), abs=1e-4)
    assert reading.probability == pytest.approx(np.exp(sum(steps)), rel=1e-4)
    assert not reading.said


@every_architecture
def test_said_is_true_of_the_greedy_answer_alone(name: str) -> None:
    at = Setting(name)
    greedy = at.prompt.answer_ids
    # The last answer token is read but never fed, so changing it leaves the inputs alone.
    spoiled = replace(at.prompt, answer_ids=(*greedy[:-1], (greedy[-1] + 1) % tiny.VOCABULARY))
    said, not_said = at.executor.run(ProbePlan((PlanRow(at.prompt), PlanRow(spoiled))))
    assert said.said
    assert not not_said.said
    assert said.probability > not_said.probability


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"restorations": (Restoration("residual", (9,), (1,)),)}, "layer 9"),
        ({"restorations": (Restoration("residual", (0,), (99,)),)}, "position 99"),
        ({"knockouts": (Knockout((-1,), (3,), (0,)),)}, "position -1"),
        ({"corruption": Corruption((1,), noise=np.zeros((1, 7)))}, "noise has the shape"),
        ({"corruption": Corruption((1,), token_ids=(4, 5))}, "2 tokens replace 1"),
        ({"corruption": Corruption((1,))}, "both or neither"),
    ],
)
def test_a_row_that_does_not_fit_the_model_is_refused(row: dict, problem: str) -> None:
    at = Setting("llama")
    with pytest.raises(PlanError, match=problem):
        at.run(PlanRow(at.prompt, **row))
