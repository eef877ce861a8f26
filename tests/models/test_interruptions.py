"""Whatever fails, and whenever: the model is as it was, and the next answer is the same."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import nn
from transformers import PreTrainedModel
from untouched import in_training, state_of, untouched

from pytest_ragshortcut.core.plans import (
    COMPONENTS,
    Corruption,
    Knockout,
    PlanRow,
    ProbePlan,
    Restoration,
)
from pytest_ragshortcut.core.ports import Generated
from pytest_ragshortcut.core.prompts import Prompt
from pytest_ragshortcut.models.architectures import map_architecture
from pytest_ragshortcut.models.executors import Executor
from pytest_ragshortcut.models.incremental.executor import IncrementalExecutor
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.models.reference import ReferenceExecutor

EXECUTORS: dict[str, Callable[..., Executor]] = {
    "incremental": IncrementalExecutor,
    "reference": ReferenceExecutor,
}
PLACES = ("embedding", "layer", "output", "head")
ERRORS = (
    RuntimeError("a hook of the user's own"),
    KeyboardInterrupt(),
    torch.OutOfMemoryError("out of memory, whatever is tried"),
)

Numbers = list[np.ndarray]


@pytest.fixture(autouse=True, scope="module")
def few_objects_to_look_through() -> Iterator[None]:
    """Keep the modules out of the collections that follow when memory has run out."""
    gc.freeze()
    yield
    gc.unfreeze()


class Saboteur:
    """A hook of the user's own that stays on the model, and fails when it is told to."""

    def __init__(self, module: nn.Module) -> None:
        self.calls = 0
        self.fails_at = -1
        self.error: BaseException = RuntimeError()
        module.register_forward_hook(self)

    def __call__(self, *_: object) -> None:
        self.calls += 1
        # Memory that has run out stays so, however often it is asked for.
        lasts = isinstance(self.error, torch.OutOfMemoryError) and 0 < self.fails_at < self.calls
        if self.calls == self.fails_at or lasts:
            raise self.error

    def count(self, ask: Callable[[], object]) -> int:
        self.calls, self.fails_at = 0, -1
        ask()
        return self.calls

    def interrupt(self, ask: Callable[[], object], error: BaseException, call: int) -> None:
        self.calls, self.fails_at, self.error = 0, call, error
        try:
            with pytest.raises(type(error)) as raised:
                ask()
        finally:
            self.fails_at = -1
        assert raised.value is error


def module_at(model: PreTrainedModel, place: str) -> nn.Module:
    architecture = map_architecture(model)
    layer = architecture.layers[1]
    found = {
        "embedding": architecture.embedding,
        "layer": layer.layer,
        "output": layer.output,
        "head": model.get_output_embeddings(),
    }[place]
    assert isinstance(found, nn.Module)
    return found


def mechanism() -> ProbePlan:
    prompt, other = tiny.prompt(tiny.ids(12), (5, 6)), tiny.prompt(tiny.ids(9, seed=1), (7,))
    noise = np.random.default_rng(0).standard_normal((2, 32))
    corruption = Corruption((3, 4), noise=noise)
    rows = [PlanRow(prompt), PlanRow(prompt, corruption), PlanRow(other)]
    rows += [
        PlanRow(prompt, corruption, (Restoration(component, (0, 1), (4, 6)),))
        for component in COMPONENTS
    ]
    rows.append(PlanRow(prompt, knockouts=(Knockout((2, 3), prompt.readers, (0, 1, 2)),)))
    rows.append(PlanRow(other, Corruption((2,), token_ids=(8,))))
    return ProbePlan(tuple(rows))


def contributions() -> ProbePlan:
    prompts = tiny.prompt(tiny.ids(12), (5, 6)), tiny.prompt(tiny.ids(9, seed=1), (7,))
    return ProbePlan(tuple(PlanRow(prompt, contributions=True) for prompt in prompts))


def read(executor: Executor, plan: ProbePlan) -> Numbers:
    readings = executor.run(plan)
    found = [reading.logprobs for reading in readings]
    found += [r.contributions.per_head for r in readings if r.contributions is not None]
    return found + [r.contributions.summed for r in readings if r.contributions is not None]


def next_logits(executor: Executor) -> Numbers:
    base = tiny.ids(20)
    first = executor.next_logits([base[:12], tiny.ids(9, seed=1)])
    # The second call goes on where the first one ended.
    second = executor.next_logits([base[:13], base[:20]])
    return [first.numpy(), second.numpy()]


ENTRIES: dict[str, Callable[[Executor], Numbers]] = {
    "run": lambda executor: read(executor, mechanism()),
    "contributions": lambda executor: read(executor, contributions()),
    "next_logits": next_logits,
}


def assert_close(found: Numbers, expected: Numbers) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-10)


def assert_undisturbed(
    model: PreTrainedModel,
    saboteur: Saboteur,
    ask: Callable[[], Numbers],
    afresh: Callable[[], object],
    errors: tuple[BaseException, ...] = ERRORS,
) -> None:
    """Fail in every call there is, each with another error than the call before.

    Args:
        model: the model.
        saboteur: what fails.
        ask: what is interrupted, and then asked again.
        afresh: forgets what earlier questions left, so that each of them makes the same calls.
        errors: what is raised.
    """
    with untouched(model):
        before = state_of(model)
        expected = ask()
        afresh()
        n_calls = saboteur.count(ask)
        assert n_calls > 0
        for call in range(1, n_calls + 1):
            # Where there are fewer calls than errors, each of them fails with all.
            for error in errors if n_calls < len(errors) else errors[call % len(errors) :][:1]:
                afresh()
                saboteur.interrupt(ask, error, call)
                assert state_of(model) == before, (call, error)
                assert_close(ask(), expected)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("kind", EXECUTORS)
def test_an_error_in_any_call_leaves_model_and_numbers_as_they_were(
    kind: str, entry: str, place: str
) -> None:
    model = in_training("llama")
    saboteur = Saboteur(module_at(model, place))
    executor = EXECUTORS[kind](model, map_architecture(model))
    assert_undisturbed(model, saboteur, lambda: ENTRIES[entry](executor), executor.forget)


@pytest.mark.parametrize("kind", EXECUTORS)
def test_an_answer_goes_on_after_a_step_that_failed(kind: str) -> None:
    model = in_training("llama")
    saboteur = Saboteur(module_at(model, "layer"))
    executor = EXECUTORS[kind](model, map_architecture(model))
    base, other = tiny.ids(20), tiny.ids(16, seed=1)
    before = [base[:12], other[:9]]
    steps = [base[:13], other[:10]], [base[:14], other[:11]]

    def begin() -> None:
        executor.forget()
        executor.next_logits(before)

    begin()
    expected = [executor.next_logits(step).numpy() for step in steps]
    begin()
    n_calls = saboteur.count(lambda: executor.next_logits(steps[0]))
    for error in ERRORS:
        for call in range(1, n_calls + 1):
            begin()
            saboteur.interrupt(lambda: executor.next_logits(steps[0]), error, call)
            assert_close([executor.next_logits(step).numpy() for step in steps], expected)


# What each does differently: positional arguments, eager attention, attention of its own.
@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in ("gpt2", "gemma2") for kind in EXECUTORS] + [("falcon", "reference")],
)
def test_an_error_in_any_layer_call_leaves_other_families_as_they_were(
    name: str, kind: str
) -> None:
    model = in_training(name)
    saboteur = Saboteur(module_at(model, "layer"))
    executor = EXECUTORS[kind](model, map_architecture(model))

    def everything() -> Numbers:
        return [number for entry in ENTRIES.values() for number in entry(executor)]

    assert_undisturbed(model, saboteur, everything, executor.forget)


def rag_model(place: str, **options: Any) -> tuple[RagModel, Saboteur]:
    _, tokenizer = tiny.rag_parts()
    model = in_training("llama", vocab_size=len(tokenizer), max_position_embeddings=512)
    return RagModel(model, tokenizer, **options), Saboteur(module_at(model, place))


def said(answers: Iterable[Generated]) -> Numbers:
    return [np.array(answer.token_ids) for answer in answers]


@pytest.fixture
def short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let answers end after three tokens, so that there are few steps to fail in."""
    monkeypatch.setattr("pytest_ragshortcut.models.generation.MAX_ANSWER_TOKENS", 3)


@pytest.mark.usefixtures("short_answers")
@pytest.mark.parametrize("kind", EXECUTORS)
def test_an_error_in_any_step_of_an_answer_leaves_the_model_as_it_was(kind: Any) -> None:
    asked, saboteur = rag_model("layer", executor=kind)
    prompts = [asked.tokenize(Prompt(text, {})) for text in ("Question: Where?", "Rome is")]

    def ask() -> Numbers:
        return said(asked.generate(prompts))

    assert max(len(answer) for answer in ask()) > 2
    assert_undisturbed(asked.model, saboteur, ask, asked.forget)


@pytest.mark.usefixtures("short_answers")
@pytest.mark.parametrize("kind", EXECUTORS)
def test_an_error_among_the_alternatives_leaves_the_model_as_it_was(kind: Any) -> None:
    asked, saboteur = rag_model("layer", executor=kind)
    prompt = asked.tokenize(Prompt("Question: Where?", {}))
    assert_undisturbed(
        asked.model,
        saboteur,
        lambda: said(asked.alternatives([prompt], range(3))[0]),
        asked.forget,
    )


@pytest.mark.parametrize(
    ("kind", "place"), [("auto", "layer"), ("auto", "head"), ("incremental", "embedding")]
)
def test_an_interrupted_self_check_leaves_the_model_as_it_was(kind: Any, place: str) -> None:
    asked, saboteur = rag_model(place, executor=kind)
    model, tokenizer = asked.model, asked.tokenizer

    def begin_again() -> None:
        nonlocal asked
        asked = RagModel(model, tokenizer, executor=kind)

    plan = ProbePlan(mechanism().rows[:1])

    def ask() -> Numbers:
        assert asked.note == ""
        return [reading.logprobs for reading in asked.run(plan)]

    # Other errors say that the layers cannot be packed: the next test's.
    assert_undisturbed(model, saboteur, ask, begin_again, ERRORS[1:])


def test_a_self_check_that_fails_leaves_the_model_as_it_was_and_says_so() -> None:
    asked, saboteur = rag_model("layer")
    n_calls = saboteur.count(lambda: asked.note)
    before = state_of(asked.model)
    for call in range(1, n_calls + 1):
        again = RagModel(asked.model, asked.tokenizer)
        saboteur.calls, saboteur.fails_at, saboteur.error = 0, call, ERRORS[0]
        # The forward that the executor's own is compared with is the model's: it has no excuse.
        assert "RuntimeError: a hook of the user's own" in again.note
        assert state_of(asked.model) == before
        found = [reading.logprobs for reading in again.run(mechanism())]
        assert_close(found, [reading.logprobs for reading in asked.run(mechanism())])


def test_a_model_that_fails_for_good_can_be_asked_when_it_is_mended() -> None:
    asked, saboteur = rag_model("layer", executor="incremental")
    expected = [reading.logprobs for reading in asked.run(mechanism())]
    before = state_of(asked.model)
    for _ in range(3):
        saboteur.interrupt(lambda: asked.run(mechanism()), ERRORS[2], 1)
    assert state_of(asked.model) == before
    assert_close([reading.logprobs for reading in asked.run(mechanism())], expected)
