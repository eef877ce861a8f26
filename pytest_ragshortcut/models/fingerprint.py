"""Which model answers: its content as a key that outlives the process, and a quick look at it."""

from __future__ import annotations

import json
from collections.abc import Hashable
from contextlib import suppress
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_CHUNK_BYTES = 64 * 2**20
_WHEREABOUTS = frozenset({"_name_or_path", "name_or_path", "transformers_version"})
"""What a configuration says of the folder that it came from, and of who wrote it last."""

_SWITCHES = frozenset(
    {
        "active_adapter",
        "active_adapters",
        "_active_adapter",
        "disable_adapters",
        "_disable_adapters",
        "merged",
        "merged_adapters",
        "scaling",
    }
)
"""Attributes by which adapters change what a module computes, and no weight."""

_WITHOUT_CONTENT = "without content"
_CAPTURING = "transformers.utils.output_capturing"
"""Its hooks stay on a model once a user has asked for hidden states, and change nothing."""


def content_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Return a SHA-256, in hex, of everything about a model that goes where it goes.

    That is the content of every weight and buffer, the adapters in force, the configuration and
    the tokenizer; not the folder that the model came from. None where something has no content to
    compare, a hook or a weight that is not in memory. All weights are read, at a gigabyte or two
    a second: `stamp` says when to.
    """
    described = json.dumps(_described(model, tokenizer), sort_keys=True, default=str)
    return None if _WITHOUT_CONTENT in described else sha256(described.encode()).hexdigest()


def fingerprint(model: PreTrainedModel, content: str) -> str:
    """Return a SHA-256, in hex, of everything that a model's answers depend on, to the last digit.

    Args:
        model: the model.
        content: its content; what runs it, the kind of device and the versions of the libraries,
            is added to that.
    """
    described = json.dumps([content, _circumstances(model)], sort_keys=True)
    return sha256(described.encode()).hexdigest()


def is_hooked(model: PreTrainedModel) -> bool:
    """Tell whether hooks see its forwards: what they do may change, and nothing here see it."""
    return any(_hooks(module) for module in model.modules())


def stamp(model: PreTrainedModel) -> Hashable:
    """Return a value that differs from the last one if the model was changed in between.

    It sees weights written in place or exchanged, hooks added or removed, adapters switched,
    another configuration and another attention function. It reads no weight, so it does not see a
    write through `.data`, or one to a tensor that was made in inference mode: torch counts neither.
    Training flags are left out. Only meaningful inside one process, compared with the value before.
    """
    seen: list[Hashable] = [torch.get_float32_matmul_precision(), *_implementations(model)]
    seen.append(_settings(model))
    computed: dict[type, tuple[str, ...]] = {}
    waiting: list[nn.Module] = [model]
    while waiting:
        module = waiting.pop()
        kind = type(module)
        if kind not in computed:
            computed[kind] = _computed_switches(kind)
        seen += (id(module), id(vars(module).get("forward")))
        if module._forward_pre_hooks or module._forward_hooks:
            # Torch numbers hooks and gives no number twice.
            seen += (tuple(module._forward_pre_hooks), tuple(module._forward_hooks))
        seen += _switches(module, computed[kind])
        for tensors in (module._parameters, module._buffers):
            for tensor in tensors.values():
                seen.append(None if tensor is None else _look(tensor))
        waiting += (child for child in module._modules.values() if child is not None)
    return tuple(seen)


def _switches(module: nn.Module, computed: tuple[str, ...]) -> list[tuple[str, str]]:
    own = vars(module)
    found = [(name, repr(own[name])) for name in _SWITCHES & own.keys()]
    return found + [(name, repr(getattr(module, name, None))) for name in computed]


def _computed_switches(kind: type) -> tuple[str, ...]:
    """List the switches that a class computes. Methods of these names only turn others."""
    found = ((name, getattr(kind, name, None)) for name in sorted(_SWITCHES))
    return tuple(name for name, value in found if value is not None and not callable(value))


def _look(tensor: torch.Tensor) -> Hashable:
    try:
        return id(tensor), tensor.data_ptr(), tensor._version
    except RuntimeError:
        # Made in inference mode, it counts no versions; a wrapper of others has no storage.
        pointer = version = None
        with suppress(RuntimeError):
            pointer = tensor.data_ptr()
        with suppress(RuntimeError):
            version = tensor._version
        return id(tensor), pointer, version


def _described(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, object]:
    return {
        "weights": _weights(model),
        "modules": _modules(model),
        **_reads_and_writes(model, tokenizer),
    }


def _settings(model: PreTrainedModel) -> str:
    """Write down the values of a configuration, which layers may read whenever they are called."""
    values = vars(model.config.get_text_config())
    return repr([(n, v) for n, v in values.items() if not isinstance(v, PreTrainedConfig)])


def _weights(model: PreTrainedModel) -> list[tuple[object, ...]]:
    """Describe all weights and buffers, and what quantized layers keep beside them."""
    named: list[tuple[str, Any]] = [
        *model.state_dict(keep_vars=True).items(),
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]
    # Tied weights are one tensor under several names.
    content: dict[int, str] = {}
    described: list[tuple[object, ...]] = []
    for name, tensor in sorted(dict(named).items()):
        if isinstance(tensor, torch.Tensor):
            if id(tensor) not in content:
                content[id(tensor)] = _content(tensor)
            described.append((name, str(tensor.dtype), list(tensor.shape), content[id(tensor)]))
    return described


def _content(tensor: torch.Tensor) -> str:
    """Hash a tensor's bytes, row-major, a chunk at a time: a GPU may hold more than the host."""
    digest = sha256()
    try:
        flat = tensor.detach().reshape(-1)
        size = _CHUNK_BYTES // flat.element_size()
        for start in range(0, flat.numel(), size):
            chunk = flat[start : start + size].cpu().contiguous()
            digest.update(chunk.view(torch.uint8).numpy().data)
    except (RuntimeError, TypeError):
        # It is offloaded, or wraps tensors in a layout of its own.
        return _WITHOUT_CONTENT
    return digest.hexdigest()


def _modules(model: PreTrainedModel) -> list[tuple[object, ...]]:
    """Describe what modules compute beyond their weights and the code of their class."""
    described: list[tuple[object, ...]] = []
    for name, module in model.named_modules():
        if switches := _switches(module, _computed_switches(type(module))):
            described.append((name, sorted(switches)))
        if _hooks(module) or "forward" in vars(module):
            described.append((name, _WITHOUT_CONTENT))
    return described


def _hooks(module: nn.Module) -> list[Any]:
    hooks = (*module._forward_pre_hooks.values(), *module._forward_hooks.values())
    return [hook for hook in hooks if getattr(hook, "__module__", None) != _CAPTURING]


def _circumstances(model: PreTrainedModel) -> dict[str, object]:
    """List what changes an answer, or its last digits, beside the model."""
    return {
        "device": model.device.type,
        "matmul": torch.get_float32_matmul_precision(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "pytest_ragshortcut": [version("pytest-ragshortcut"), _own_code()],
    }


def _own_code() -> str:
    """Hash this package's modules: between two releases they change, and their version does not."""
    modules = sorted(Path(__file__).parents[1].rglob("*.py"))
    return sha256(b"".join(path.read_bytes() for path in modules)).hexdigest()


def _reads_and_writes(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> dict[str, object]:
    """List what a text becomes, what code the ids go through, and where an answer ends."""
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    generation: Any = getattr(model, "generation_config", None)
    return {
        "architecture": f"{type(model).__module__}.{type(model).__qualname__}",
        "dtype": str(model.dtype),
        "implementations": _implementations(model),
        "config": _anywhere(json.loads(model.config.to_json_string(use_diff=False))),
        "ends": getattr(generation, "eos_token_id", None),
        "tokenizer": backend.to_str() if backend is not None else None,
        "special_tokens": tokenizer.special_tokens_map,
    }


def _implementations(model: PreTrainedModel) -> tuple[str, ...]:
    """Name the functions that attend and route, which a configuration does not write down."""
    config = model.config.get_text_config()
    names = ("_attn_implementation", "_experts_implementation")
    return tuple(str(getattr(config, name, None)) for name in names)


def _anywhere(value: Any) -> Any:
    """Drop from a configuration, and those inside it, where it was loaded from."""
    if isinstance(value, dict):
        return {key: _anywhere(part) for key, part in value.items() if key not in _WHEREABOUTS}
    return [_anywhere(part) for part in value] if isinstance(value, list) else value
