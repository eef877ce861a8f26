"""The reference executor against implementations that share no code with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import nn
from transformers import PreTrainedModel

from pytest_ragshortcut.core.plans import Corruption, Knockout, PlanRow, Restoration
from pytest_ragshortcut.models.architectures import map_architecture
from pytest_ragshortcut.models.reference import ReferenceExecutor

# Families whose every layer attends within the window, and those that mix two kinds of layer.
_ALL_SLIDING = {"mistral", "phi3", "mixtral", "starcoder2"}
_MIXED = {"cohere2", "exaone4", "gemma2", "gemma3_text", "gpt_oss", "olmo3"}
# These build ALiBi from a two-dimensional mask; GPT-2's upcast attention has no eager float64.
_TAKES_NO_4D_MASK = {"bloom", "falcon/alibi", "gpt2/scaled"}
_MASKABLE = [name for name in tiny.NAMES if name not in _TAKES_NO_4D_MASK]


def causal_mask(n_tokens: int, dtype: torch.dtype, *, window: int | None) -> torch.Tensor:
    query, key = torch.arange(n_tokens)[:, None], torch.arange(n_tokens)
    seen = (key <= query) & (query - key < (window or n_tokens))
    return torch.zeros(n_tokens, n_tokens, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)


def eager(name: str) -> PreTrainedModel:
    built = tiny.fresh(name)
    if built._can_set_attn_implementation():
        built.set_attn_implementation("eager")
    return built


@pytest.mark.parametrize("name", _MASKABLE)
@pytest.mark.parametrize("sources", [(9, 10), (0, 3), (8,)], ids=str)
def test_a_knockout_in_all_layers_equals_a_hand_made_4d_mask(
    name: str, sources: tuple[int, ...]
) -> None:
    built = eager(name)
    prompt = tiny.greedy_prompt(built, n_answer=3)
    n_tokens = len(prompt.input_ids)
    masks = {}
    for kind, window in {"full_attention": None, "sliding_attention": tiny.WINDOW}.items():
        mask = causal_mask(n_tokens, built.dtype, window=window)
        for reader in prompt.readers:
            for source in sources:
                mask[reader, source] = torch.finfo(built.dtype).min
        masks[kind] = mask[None, None]
    attended: Any = masks["sliding_attention" if name in _ALL_SLIDING else "full_attention"]
    inputs = {
        "input_ids": torch.tensor([prompt.input_ids]),
        "attention_mask": masks if name in _MIXED else attended,
    }
    if name.startswith("opt"):
        inputs["position_ids"] = torch.arange(n_tokens)[None]
    executor = ReferenceExecutor(built, map_architecture(built))
    every_layer = tuple(range(len(executor.architecture.layers)))
    clean, cut = tiny.run(
        executor,
        PlanRow(prompt),
        PlanRow(prompt, knockouts=(Knockout(sources, prompt.readers, every_layer),)),
    )
    close = tiny.closeness(name, built.dtype)
    assert cut == pytest.approx(tiny.by_hand(built, prompt, **inputs), abs=close)
    out_of_sight = name in _ALL_SLIDING and max(sources) < prompt.readers[0] - tiny.WINDOW
    assert (np.abs(cut - clean).max() < close) == out_of_sight


@pytest.mark.parametrize("name", tiny.NAMES)
def test_gaussian_noise_equals_a_forward_over_disturbed_embeddings(name: str) -> None:
    built, executor = tiny.model(name), tiny.executor(name)
    prompt = tiny.greedy_prompt(built)
    width = built.config.get_text_config().hidden_size
    noise = np.random.default_rng(1).standard_normal((3, width))
    with torch.no_grad():
        embedded = built.get_input_embeddings()(torch.tensor([prompt.input_ids])).clone()
    embedded[0, [2, 3, 7]] += torch.tensor(noise, dtype=embedded.dtype)
    disturbed = tiny.by_hand(built, prompt, inputs_embeds=embedded)
    clean, noisy = tiny.run(
        executor, PlanRow(prompt), PlanRow(prompt, Corruption((2, 3, 7), noise=noise))
    )
    assert noisy == pytest.approx(disturbed, abs=tiny.closeness(name, built.dtype))
    assert np.abs(noisy - clean).max() > 1e-3


@pytest.mark.parametrize("name", tiny.NAMES)
def test_replaced_tokens_equal_a_forward_over_other_ids(name: str) -> None:
    built = tiny.model(name)
    prompt = tiny.greedy_prompt(built)
    ids = list(prompt.input_ids)
    ids[4], ids[6] = 20, 21
    replaced = PlanRow(prompt, Corruption((4, 6), token_ids=(20, 21)))
    (read,) = tiny.run(tiny.executor(name), replaced)
    by_hand = tiny.by_hand(built, prompt, input_ids=torch.tensor([ids]))
    assert read == pytest.approx(by_hand, abs=tiny.closeness(name, built.dtype))
    assert np.abs(read - tiny.by_hand(built, prompt)).max() > 1e-4


def llama_modules(built: Any, layer: int) -> dict[str, nn.Module]:
    block = built.model.layers[layer]
    return {"residual": block, "attention": block.self_attn, "mlp": block.mlp}


def gpt2_modules(built: Any, layer: int) -> dict[str, nn.Module]:
    block = built.transformer.h[layer]
    return {"residual": block, "attention": block.attn, "mlp": block.mlp}


def gpt_neox_modules(built: Any, layer: int) -> dict[str, nn.Module]:
    block = built.gpt_neox.layers[layer]
    return {"residual": block, "attention": block.attention, "mlp": block.mlp}


MODULES = {"llama": llama_modules, "gpt2": gpt2_modules, "gpt_neox": gpt_neox_modules}


@contextmanager
def hooked(modules: list[nn.Module], hook: Callable[..., Any]) -> Iterator[None]:
    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_hook(hook).remove)
        yield


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("component", ["residual", "attention", "mlp"])
@pytest.mark.parametrize("layers", [(0,), (1, 2)], ids=str)
def test_a_restoration_equals_hand_written_hooks(
    name: str, component: str, layers: tuple[int, ...]
) -> None:
    built, positions = tiny.model(name), [3, 6]
    prompt = tiny.greedy_prompt(built)
    ids = torch.tensor([prompt.input_ids])
    noise = np.random.default_rng(2).standard_normal((2, 32))
    with torch.no_grad():
        embedded = built.get_input_embeddings()(ids).clone()
    embedded[0, [3, 4]] += torch.tensor(noise, dtype=embedded.dtype)
    modules = [MODULES[name](built, layer)[component] for layer in layers]
    kept: dict[nn.Module, torch.Tensor] = {}

    def keep(module: nn.Module, _: Any, output: Any) -> None:
        kept[module] = (output[0] if isinstance(output, tuple) else output).clone()

    def put_back(module: nn.Module, _: Any, output: Any) -> Any:
        changed = (output[0] if isinstance(output, tuple) else output).clone()
        changed[:, positions] = kept[module][:, positions]
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    with hooked(modules, keep):
        tiny.by_hand(built, prompt)
    with hooked(modules, put_back):
        expected = tiny.by_hand(built, prompt, inputs_embeds=embedded)
    restoration = Restoration(component, layers, tuple(positions))
    corruption = Corruption((3, 4), noise=noise)
    corrupted, read = tiny.run(
        tiny.executor(name),
        PlanRow(prompt, corruption),
        PlanRow(prompt, corruption, (restoration,)),
    )
    assert read == pytest.approx(expected, abs=1e-10)
    assert np.abs(read - corrupted).max() > 1e-3
