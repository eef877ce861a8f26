"""Which model answers: its content as a key that outlives the process, and a quick look at it."""

from __future__ import annotations

import json
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Content:
    """SHA-256 digests, in hex, of everything about a model that goes where it goes, and of parts.

    A part is empty where there is nothing of it, or something of it has no content to compare.
    """

    whole: str | None
    """Of all parts, buffers that no checkpoint holds, the dtype and the functions that attend and
    route. None where something has no content to compare."""
    weights: str
    """Of weights, buffers that are saved with them, and the adapters in force. Hooks and a
    `forward` of a module's own have no content, and neither has a weight that is not in memory."""
    tokenizer: str
    """Of what a text becomes once it is written: the chat template is left out."""
    chat_template: str
    config: str
    """Of the model's class, its configuration and the tokens that end an answer; not of the folder
    that it came from."""


def content_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Content:
    """Hash a model and its tokenizer, reading every weight once, or none where hooks are on it.

    That is a gigabyte or two a second: `stamp` says when to.
    """
    saved = _saved(model)
    buffers = dict(model.named_buffers(remove_duplicate=False))
    parts = {
        "weights": _weights(model, saved),
        "tokenizer": _tokenizer(tokenizer),
        "chat_template": _chat_template(tokenizer),
        "config": _config(model),
    }
    others = _digest_all(_tensors({n: t for n, t in buffers.items() if n not in saved}))
    whole = None
    if all((parts["weights"], parts["tokenizer"], others)):
        whole = _digest([parts, others, str(model.dtype), _implementations(model)])
    return Content(whole, **parts)


def fingerprint(model: PreTrainedModel, content: str) -> str:
    """Return a SHA-256, in hex, of everything that a model's answers depend on, to the last digit.

    Args:
        model: the model.
        content: its content; what runs it, the kind of device and the versions of the libraries,
            is added to that.
    """
    described = json.dumps([content, _circumstances(model)], sort_keys=True)
    return sha256(described.encode()).hexdigest()


def libraries() -> dict[str, str]:
    """Return the version of each library that has a part in a model's answers."""
    return {
        # Torch's own is a subclass, which other processes cannot be sent.
        "torch": str(torch.__version__),
        "transformers": str(transformers.__version__),
        "pytest-ragshortcut": version("pytest-ragshortcut"),
    }


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


def _settings(model: PreTrainedModel) -> str:
    """Write down the values of a configuration, which layers may read whenever they are called."""
    values = vars(model.config.get_text_config())
    return repr([(n, v) for n, v in values.items() if not isinstance(v, PreTrainedConfig)])


def _digest(described: object) -> str:
    return sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()


def _digest_all(described: list[tuple[object, ...]]) -> str:
    return "" if any(_WITHOUT_CONTENT in each for each in described) else _digest(described)


def _saved(model: PreTrainedModel) -> dict[str, Any]:
    """Return what a checkpoint holds, what quantized layers keep beside weights included.

    Other buffers are made from the configuration, some of them again as the model runs.
    """
    state: dict[str, Any] = model.state_dict(keep_vars=True)
    return {**state, **dict(model.named_parameters(remove_duplicate=False))}


def _weights(model: PreTrainedModel, saved: dict[str, Any]) -> str:
    modules = _modules(model)
    # Where hooks have the last word, reading the weights would be for nothing.
    return _digest_all(modules) and _digest_all([*modules, *_tensors(saved)])


def _tensors(named: dict[str, Any]) -> list[tuple[object, ...]]:
    # Tied weights are one tensor under several names.
    content: dict[int, str] = {}
    described: list[tuple[object, ...]] = []
    for name, tensor in sorted(named.items()):
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
        "libraries": libraries(),
        "own code": _own_code(),
    }


def _own_code() -> str:
    """Hash this package's modules: between two releases they change, and their version does not."""
    modules = sorted(Path(__file__).parents[1].rglob("*.py"))
    return sha256(b"".join(path.read_bytes() for path in modules)).hexdigest()


def _tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return ""
    rules = json.loads(backend.to_str())
    # Whoever called last has set these, and every prompt is read without them.
    del rules["truncation"], rules["padding"]
    return _digest([rules, tokenizer.special_tokens_map])


def _chat_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hash the template, or the templates by name."""
    template = getattr(tokenizer, "chat_template", None)
    return _digest(template) if template else ""


def _config(model: PreTrainedModel) -> str:
    """Hash what code the ids go through, with which settings, and where an answer ends."""
    generation: Any = getattr(model, "generation_config", None)
    return _digest(
        {
            "architecture": f"{type(model).__module__}.{type(model).__qualname__}",
            "config": _anywhere(json.loads(model.config.to_json_string(use_diff=False))),
            "ends": getattr(generation, "eos_token_id", None),
        }
    )


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
