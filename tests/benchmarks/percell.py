"""What the probes are compared with: one plain forward a cell, hooks by hand, nothing shared.

No executor of the package takes part; of the package, only the prompt's tokens are known here. A
cell of a causal map is ROME's: the clean run is row 0 of the batch, the corrupted ones are the rows
below it, and logits are computed at every position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from pytest_ragshortcut.core.plans import Array
from pytest_ragshortcut.core.prompts import TokenizedPrompt


@dataclass(frozen=True, eq=False)
class Disturbance:
    """What a corruption does: noise on the embeddings of a span, or other tokens in its place."""

    positions: tuple[int, ...]
    noise: Array | None = None
    """(n_samples, n_positions, d_model)."""
    token_ids: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Cell:
    """Where clean states are put back: what the layers' blocks, or their MLPs, compute."""

    layers: tuple[int, ...]
    positions: tuple[int, ...]
    component: str = "residual"


def embedded(model: PreTrainedModel, ids: Sequence[int]) -> Array:
    """Return (n, d_model), the output of the token embedding."""
    with torch.no_grad():
        states = model.get_input_embeddings()(torch.tensor([list(ids)], device=model.device))[0]
    return np.asarray(states.double().cpu().numpy())


def forward(model: PreTrainedModel, ids: torch.Tensor, **options: Any) -> torch.Tensor:
    """Run the model as its users do, without a cache, and return its logits."""
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=ids, use_cache=False, **options).logits
    return logits


def likeliest(model: PreTrainedModel, ids: Sequence[int]) -> int:
    """Return the greedy next token."""
    return int(forward(model, torch.tensor([list(ids)], device=model.device))[0, -1].argmax())


def plain(model: PreTrainedModel, prompt: TokenizedPrompt) -> float:
    """Return p of the answer, nothing done to the model."""
    return float(_read(forward(model, _batch(model, prompt, 1)), prompt)[0])


def disturbed(
    model: PreTrainedModel,
    prompt: TokenizedPrompt,
    disturbance: Disturbance,
    cell: Cell | None = None,
) -> Array:
    """Return (n_samples,) p of the answer in corrupted runs, with one cell put back or none."""
    n_samples = 1 if disturbance.noise is None else len(disturbance.noise)
    ids = _batch(model, prompt, 1 + n_samples)
    with ExitStack() as stack:
        if disturbance.noise is not None:
            edit = _noise_edit(model, disturbance)
            stack.enter_context(_edited(model.get_input_embeddings(), edit))
        else:
            ids[1:, list(disturbance.positions)] = torch.tensor(
                disturbance.token_ids, device=ids.device
            )
        if cell is not None:
            for module in _modules(model, cell):
                stack.enter_context(_edited(module, _put_back(cell.positions)))
        logits = forward(model, ids)
    return _read(logits, prompt)[1:]


def estimated(model: PreTrainedModel, prompt: TokenizedPrompt, disturbance: Disturbance) -> Array:
    """Return (n_layers, n_tokens), mean over samples of (clean - corrupted) . d p / d state.

    Whole forwards and a backward through all of them, states the layers' outputs.
    """
    assert disturbance.noise is not None, "written for noise alone"
    states: list[torch.Tensor] = []

    def keep(_: nn.Module, __: Any, output: torch.Tensor) -> torch.Tensor:
        states.append(output)
        return output.clone()

    ids = _batch(model, prompt, 1 + len(disturbance.noise))
    with ExitStack() as stack:
        noisy = _edited(model.get_input_embeddings(), _noise_edit(model, disturbance))
        stack.enter_context(noisy)
        for block in blocks(model):
            stack.callback(block.register_forward_hook(keep).remove)
        logits = model(input_ids=ids, use_cache=False).logits
    chosen = torch.log_softmax(logits[:, list(prompt.readers)].float(), dim=-1)
    answer = torch.tensor(prompt.answer_ids, device=logits.device).expand(len(ids), -1)
    p = chosen.gather(-1, answer[..., None])[..., 0].sum(dim=-1).exp()
    slopes = torch.autograd.grad(p[1:].mean(), states)
    products = [
        ((state[:1] - state) * slope).float().sum(dim=(0, 2))
        for state, slope in zip(states, slopes, strict=True)
    ]
    return np.asarray(torch.stack(products).detach().double().cpu().numpy())


def knocked_out(
    model: PreTrainedModel, prompt: TokenizedPrompt, sources: Sequence[int], layers: Sequence[int]
) -> float:
    """Return p of the answer when its readers cannot see some positions in some layers."""
    n_tokens = len(prompt.input_ids)
    unseen = torch.ones(n_tokens, n_tokens, dtype=torch.bool, device=model.device).triu(1)
    for reader in prompt.readers:
        unseen[reader, [source for source in sources if source != reader]] = True
    mask = torch.zeros(unseen.shape, dtype=model.dtype, device=model.device)
    mask = mask.masked_fill(unseen, torch.finfo(model.dtype).min)[None, None]

    def cut(_: nn.Module, args: Any, options: dict[str, Any]) -> Any:
        return args, options | {"attention_mask": mask}

    with ExitStack() as stack:
        for layer in layers:
            attention = _attention(blocks(model)[layer])
            handle = attention.register_forward_pre_hook(cut, with_kwargs=True)
            stack.callback(handle.remove)
        return float(_read(forward(model, _batch(model, prompt, 1)), prompt)[0])


@torch.no_grad()
def contributions(model: PreTrainedModel, prompt: TokenizedPrompt) -> Array:
    """Return (n_layers, n_heads, n_tokens) norms of A (x W_V) W_O at the one reader."""
    (reader,) = prompt.readers
    weights, values = _attended(model, prompt)
    norms = []
    for block, seen, value in zip(blocks(model), weights, values, strict=True):
        n_heads, n_tokens = seen.shape[1:3]
        out = _output_matrix(block).reshape(n_heads, -1, model.config.hidden_size)
        heads = value.reshape(n_tokens, -1, out.shape[1])
        heads = heads.repeat_interleave(n_heads // heads.shape[1], dim=1)
        moved = torch.einsum("thx,hxd->htd", heads, out)
        norms.append(seen[0, :, reader] * moved.norm(dim=-1))
    return np.asarray(torch.stack(norms).double().cpu().numpy())


def blocks(model: Any) -> Sequence[Any]:
    """Return the layers of a Llama or a GPT-2."""
    layers: Sequence[Any] = (
        model.transformer.h if hasattr(model, "transformer") else model.model.layers
    )
    return layers


def _attention(block: Any) -> nn.Module:
    module: nn.Module = block.attn if hasattr(block, "attn") else block.self_attn
    return module


def _modules(model: PreTrainedModel, cell: Cell) -> list[nn.Module]:
    chosen = [blocks(model)[layer] for layer in cell.layers]
    return chosen if cell.component == "residual" else [block.mlp for block in chosen]


def _output_matrix(block: Any) -> torch.Tensor:
    """Return (n_heads * d_head, d_model); GPT-2 keeps its matrices the other way round."""
    matrix: torch.Tensor = (
        block.attn.c_proj.weight if hasattr(block, "attn") else block.self_attn.o_proj.weight.T
    )
    return matrix


def _attended(
    model: PreTrainedModel, prompt: TokenizedPrompt
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Run with attention that returns its weights; return every layer's weights and values."""
    weights: list[torch.Tensor] = []
    values: list[torch.Tensor] = []
    width = model.config.hidden_size
    current = str(model.config._attn_implementation)
    with ExitStack() as stack:
        model.set_attn_implementation("eager")
        stack.callback(model.set_attn_implementation, current)
        for block in blocks(model):
            attention: Any = _attention(block)
            fused = hasattr(attention, "c_attn")
            source = attention.c_attn if fused else attention.v_proj
            keep = _keep(values, slice(2 * width, None) if fused else slice(None))
            stack.callback(source.register_forward_hook(keep).remove)
            keep = _keep(weights, None)
            stack.callback(attention.register_forward_hook(keep).remove)
        forward(model, _batch(model, prompt, 1))
    return weights, values


def _keep(kept: list[torch.Tensor], part: slice | None) -> Callable[..., None]:
    def hook(_: nn.Module, __: Any, output: Any) -> None:
        kept.append(output[1] if part is None else output[..., part])

    return hook


def _batch(model: PreTrainedModel, prompt: TokenizedPrompt, n_rows: int) -> torch.Tensor:
    return torch.tensor([prompt.input_ids], device=model.device).repeat(n_rows, 1)


def _read(logits: torch.Tensor, prompt: TokenizedPrompt) -> Array:
    """Return (n_rows,) p of the whole answer."""
    chosen = torch.log_softmax(logits[:, list(prompt.readers)].float(), dim=-1)
    answer = torch.tensor(prompt.answer_ids, device=logits.device).expand(len(logits), -1)
    logprobs = chosen.gather(-1, answer[..., None])[..., 0].double().sum(dim=-1)
    return np.asarray(logprobs.exp().cpu().numpy())


def _noise_edit(model: PreTrainedModel, disturbance: Disturbance) -> Callable[..., None]:
    noise = torch.tensor(disturbance.noise, dtype=model.dtype, device=model.device)

    def edit(states: torch.Tensor) -> None:
        states[1:, list(disturbance.positions)] += noise

    return edit


def _put_back(positions: tuple[int, ...]) -> Callable[[torch.Tensor], None]:
    def edit(states: torch.Tensor) -> None:
        states[1:, list(positions)] = states[:1, list(positions)]

    return edit


@contextmanager
def _edited(module: nn.Module, edit: Callable[[torch.Tensor], None]) -> Iterator[None]:
    def hook(_: nn.Module, __: Any, output: torch.Tensor) -> torch.Tensor:
        changed = output.clone()
        edit(changed)
        return changed

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
