"""Models in the middle of their training, and a look at whether anything touched them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tiny
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from pytest_ragshortcut.models.architectures import map_architecture
from pytest_ragshortcut.models.fingerprint import stamp

_DROPOUTS = ("attention_dropout", "hidden_dropout", "resid_pdrop", "dropout", "resid_dropout")
_HOOKS = tuple(name for name in vars(nn.Module()) if "hook" in name)


def in_training(name: str, **options: Any) -> PreTrainedModel:
    """Build a model mid-training: dropout on, one layer frozen and quiet, a gradient there."""
    config = tiny.model(name).config
    dropouts = {key: 0.5 for key in _DROPOUTS if hasattr(config, key)}
    built = tiny.fresh(name, **dropouts, **options).train()
    layers = map_architecture(built).layers
    layers[0].layer.requires_grad_(False).eval()
    for parameter in layers[1].layer.parameters():
        parameter.grad = torch.ones_like(parameter)
    return built


def state_of(model: PreTrainedModel) -> dict[str, Any]:
    """Return everything about a model but its numbers, and torch's own state."""
    configs = {id(c): c for m in model.modules() if (c := getattr(m, "config", None)) is not None}
    return {
        "stamp": stamp(model),
        "modules": [(name, id(module)) for name, module in model.named_modules()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "forwards": [vars(module).get("forward") for module in model.modules()],
        "hooks": [list(getattr(m, kind) or ()) for m in model.modules() for kind in _HOOKS],
        "training": [module.training for module in model.modules()],
        "parameters": [(id(p), p.requires_grad, p._version) for p in model.parameters()],
        "gradients": [None if p.grad is None else p.grad.sum().item() for p in model.parameters()],
        "buffers": [(b.requires_grad, b.grad is None) for b in model.buffers()],
        "config": repr(model.config.to_dict()),
        "attention": [config._attn_implementation for config in configs.values()],
        "registry": sorted(ALL_ATTENTION_FUNCTIONS),
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    }


@contextmanager
def untouched(model: PreTrainedModel) -> Iterator[None]:
    """Fail if the model is not as it was when the block is left."""
    before, numbers = state_of(model), _numbers(model)
    yield
    assert state_of(model) == before
    after = _numbers(model)
    assert after.keys() == numbers.keys()
    assert all(torch.equal(after[name], numbers[name]) for name in numbers)


@contextmanager
def failing(module: nn.Module, error: BaseException, *, call: int) -> Iterator[None]:
    """Raise an error after one of a module's calls, the first being 1."""
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


def _numbers(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in named}
