"""Whatever a plan does, and however it ends, the model is left as it was."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from torch import nn
from transformers import PreTrainedModel
from untouched import failing, in_training, untouched

from pytest_ragshortcut.core.plans import Corruption, Knockout, PlanRow, ProbePlan, Restoration
from pytest_ragshortcut.core.prompts import Prompt
from pytest_ragshortcut.models.architectures import map_architecture
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.models.reference import ReferenceExecutor


def everything(model: PreTrainedModel, *, contributions: bool) -> ProbePlan:
    prompt = tiny.prompt(tiny.ids(12), (5, 6))
    width = model.config.get_text_config().hidden_size
    layers = tuple(range(len(map_architecture(model).layers)))
    corruption = Corruption((3, 4), noise=np.ones((2, width)))
    components = ("residual", "attention", "mlp")
    restored = tuple(Restoration(component, layers[1:], (3, 5)) for component in components)
    return ProbePlan(
        (
            PlanRow(prompt),
            PlanRow(prompt, corruption),
            PlanRow(prompt, corruption, restored),
            PlanRow(prompt, knockouts=(Knockout((2, 3), prompt.readers, layers),)),
            PlanRow(prompt, contributions=contributions),
        )
    )


@pytest.mark.parametrize("name", tiny.NAMES)
def test_a_model_in_training_is_read_without_dropout_and_left_in_training(name: str) -> None:
    model = in_training(name)
    executor = ReferenceExecutor(model, map_architecture(model))
    # With ALiBi, Falcon's contributions are refused; test_contributions.py says why.
    plan = everything(model, contributions=name != "falcon/alibi")
    with untouched(model):
        first, second = executor.run(plan), executor.run(plan)
    for one, other in zip(first, second, strict=True):
        assert (one.logprobs == other.logprobs).all()
    expected = tiny.by_hand(tiny.model(name), tiny.prompt(tiny.ids(12), (5, 6)))
    assert first[0].logprobs == pytest.approx(expected, abs=tiny.closeness(name, model.dtype))


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "falcon", "mpt", "bloom"])
@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("call", range(1, 7))
def test_an_exception_in_any_forward_of_a_plan_leaves_the_model_as_it_was(
    name: str, error: BaseException, call: int
) -> None:
    model = in_training(name)
    architecture = map_architecture(model)
    executor = ReferenceExecutor(model, architecture)
    layer = architecture.layers[1].layer
    # Six forwards: a clean row, states to restore, the batch, and three for contributions.
    with untouched(model), failing(layer, error, call=call), pytest.raises(type(error)):
        executor.run(everything(model, contributions=True))


@pytest.mark.parametrize("module", ["embedding", "mlp", "attention", "output"])
@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()], ids=repr)
def test_an_exception_inside_any_module_leaves_the_model_as_it_was(
    module: str, error: BaseException
) -> None:
    model = in_training("llama")
    architecture = map_architecture(model)
    places: dict[str, nn.Module] = {"embedding": architecture.embedding} | {
        name: getattr(architecture.layers[2], name) for name in ("mlp", "attention", "output")
    }
    executor = ReferenceExecutor(model, architecture)
    for call in (1, 3, 5):
        stop = failing(places[module], error, call=call)
        with untouched(model), stop, pytest.raises(type(error)):
            executor.run(everything(model, contributions=True))


def test_an_exception_in_the_middle_of_an_answer_leaves_the_model_as_it_was() -> None:
    built, tokenizer = tiny.rag_parts()
    asked = RagModel(built, tokenizer)
    prompt = asked.tokenize(Prompt("Question: Where?", {}))
    built.train()
    try:
        layer = asked.architecture.layers[0].layer
        # The executor checks itself first, and takes an error there for a model it cannot run.
        for error in (RuntimeError("stop"), KeyboardInterrupt()):
            with untouched(built), failing(layer, error, call=6), pytest.raises(type(error)):
                asked.alternatives([prompt], range(2))
    finally:
        built.eval()


def test_the_tokenizer_is_left_as_it_was() -> None:
    built, tokenizer = tiny.rag_parts()
    asked = RagModel(built, tokenizer)
    before = tokenizer.backend_tokenizer.to_str(), repr(tokenizer.init_kwargs), vars(tokenizer)
    before = (before[0], before[1], repr(before[2]))
    prompt = asked.tokenize(Prompt("Question: Where?", {"question": ((10, 16),)}))
    asked.generate([prompt])
    asked.reading(prompt, "Cork")
    asked.token_ids("Rome")
    after = tokenizer.backend_tokenizer.to_str(), repr(tokenizer.init_kwargs), repr(vars(tokenizer))
    assert after == before


def test_a_hook_of_the_users_own_stays_and_is_called() -> None:
    model = tiny.fresh("llama")
    calls = []
    model.model.layers[0].register_forward_hook(lambda *_: calls.append(1))
    executor = ReferenceExecutor(model, map_architecture(model))
    executor.run(everything(model, contributions=True))
    seen = len(calls)
    assert seen > 4
    model(input_ids=torch.tensor([[5, 6]]))
    assert len(calls) == seen + 1
