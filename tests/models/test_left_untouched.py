"""Whatever a plan does, and however it ends, the model is left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import nn
from transformers import PreTrainedModel

from pytest_ragshortcut.core.plans import Corruption, Knockout, PlanRow, ProbePlan, Restoration
from pytest_ragshortcut.core.prompts import Prompt
from pytest_ragshortcut.models.architectures import map_architecture
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.models.reference import ReferenceExecutor

_DROPOUTS = ("attention_dropout", "hidden_dropout", "resid_pdrop", "dropout", "resid_dropout")


def in_training(name: str) -> PreTrainedModel:
    """Build a model mid-training: dropout on, one layer frozen, one module in evaluation mode."""
    config = tiny.model(name).config
    built = tiny.fresh(name, **{key: 0.5 for key in _DROPOUTS if hasattr(config, key)}).train()
    layer = map_architecture(built).layers[0].layer.requires_grad_(False)
    layer.eval()
    return built


def snapshot(model: PreTrainedModel) -> dict[str, Any]:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    return {
        "config": repr(model.config.to_dict()),
        "attention": model.config._attn_implementation,
        "inner attention": model.config.get_text_config()._attn_implementation,
        "hooks": [list(getattr(module, kind)) for module in model.modules() for kind in hooks],
        "training": [module.training for module in model.modules()],
        "modules": [id(module) for module in model.modules()],
        "forwards": [vars(module).get("forward") for module in model.modules()],
        "gradients": [(p.requires_grad, p.grad is None) for p in model.parameters()],
        "weights": {key: value.clone() for key, value in model.state_dict().items()},
    }


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    weights, weights_after = before.pop("weights"), after.pop("weights")
    assert before == after
    assert weights.keys() == weights_after.keys()
    assert all(torch.equal(weights[key], weights_after[key]) for key in weights)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


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
    before = snapshot(model)
    # With ALiBi, Falcon's contributions are refused; test_contributions.py says why.
    plan = everything(model, contributions=name != "falcon/alibi")
    first, second = executor.run(plan), executor.run(plan)
    assert_same(before, snapshot(model))
    for one, other in zip(first, second, strict=True):
        assert (one.logprobs == other.logprobs).all()
    untouched = tiny.by_hand(tiny.model(name), tiny.prompt(tiny.ids(12), (5, 6)))
    assert first[0].logprobs == pytest.approx(untouched, abs=tiny.closeness(name, model.dtype))


@contextmanager
def failing(module: nn.Module, error: BaseException, *, call: int) -> Iterator[None]:
    calls = 0

    def fail(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise error

    handle = module.register_forward_hook(fail)
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "falcon", "mpt", "bloom"])
@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("call", range(1, 7))
def test_an_exception_in_any_forward_of_a_plan_leaves_the_model_as_it_was(
    name: str, error: BaseException, call: int
) -> None:
    model = in_training(name)
    architecture = map_architecture(model)
    executor = ReferenceExecutor(model, architecture)
    before = snapshot(model)
    # Six forwards: a clean row, states to restore, the batch, and three for contributions.
    with failing(architecture.layers[1].layer, error, call=call), pytest.raises(type(error)):
        executor.run(everything(model, contributions=True))
    assert_same(before, snapshot(model))


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
    before = snapshot(model)
    executor = ReferenceExecutor(model, architecture)
    for call in (1, 3, 5):
        with failing(places[module], error, call=call), pytest.raises(type(error)):
            executor.run(everything(model, contributions=True))
    assert_same(before, snapshot(model))


def test_an_exception_in_the_middle_of_an_answer_leaves_the_model_as_it_was() -> None:
    built, tokenizer = tiny.rag_parts()
    asked = RagModel(built, tokenizer)
    prompt = asked.tokenize(Prompt("Question: Where?", {}))
    built.train()
    try:
        before = snapshot(built)
        layer = asked.architecture.layers[0].layer
        # The executor checks itself first, and takes an error there for a model it cannot run.
        for error in (RuntimeError("stop"), KeyboardInterrupt()):
            with failing(layer, error, call=6), pytest.raises(type(error)):
                asked.alternatives([prompt], range(2))
        assert_same(before, snapshot(built))
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
