"""Every change to a model is a context manager that undoes itself, whatever happens inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from inspect import signature
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from pytest_ragshortcut.core.plans import Component, Corruption, PlanRow
from pytest_ragshortcut.models.architectures import (
    ArchitectureMap,
    LayerMap,
    first_tensor,
    with_first_tensor,
)

States = dict[tuple[Component, int], torch.Tensor]
Edit = Callable[[torch.Tensor], torch.Tensor]

# Attention functions that read an explicit mask. Under others, flash attention say, no edge can
# be cut, so the whole plan runs under the first of these, clean rows included.
_MASKABLE = ("eager", "sdpa")


@contextmanager
def quiet(model: PreTrainedModel) -> Iterator[None]:
    """Run in evaluation and inference mode; give every module its training flag back."""
    in_training = [module for module in model.modules() if module.training]
    try:
        for module in in_training:
            module.training = False
        with torch.inference_mode():
            yield
    finally:
        for module in in_training:
            module.training = True


@contextmanager
def attention_implementation(model: PreTrainedModel, *, weights: bool) -> Iterator[None]:
    """Run under an attention function that takes masks and, if asked, returns its weights."""
    config = model.config.get_text_config()
    current = str(config._attn_implementation)
    wanted = "eager" if weights or current not in _MASKABLE else current
    if wanted == current:
        yield
        return
    switch = _switch(model)
    switch(wanted)
    try:
        yield
    finally:
        switch(current)


def _switch(model: PreTrainedModel) -> Callable[[str], None]:
    if model._can_set_attn_implementation():
        return model.set_attn_implementation

    def switch(name: str) -> None:
        # Families with attention code of their own read the configuration at each call.
        model.config.get_text_config()._attn_implementation = name

    return switch


@contextmanager
def captured(architecture: ArchitectureMap, components: Sequence[Component]) -> Iterator[States]:
    """Keep what components compute, by component and layer, each (n_rows, n_tokens, d_model)."""
    states: States = {}
    with ExitStack() as stack:
        for index, layer in enumerate(architecture.layers):
            for component in components:
                module = component_module(layer, component)
                stack.enter_context(edited(module, _keep(states, (component, index))))
        yield states


@contextmanager
def observed_attention(architecture: ArchitectureMap) -> Iterator[list[Observed]]:
    """Keep, layer by layer, what enters the output projection, what leaves it, and the weights.

    Read off the modules rather than asked for with output_attentions, which would leave hooks of
    transformers' own on the model for good.
    """
    observed = [Observed() for _ in architecture.layers]
    with ExitStack() as stack:
        for layer, kept in zip(architecture.layers, observed, strict=True):
            assert layer.attention is not None
            assert layer.output is not None
            stack.callback(layer.output.register_forward_hook(kept.keep_projection).remove)
            stack.callback(layer.attention.register_forward_hook(kept.keep_weights).remove)
        yield observed


class Observed:
    """One layer's attention as it was computed: each tensor set by the forward pass."""

    heads: torch.Tensor
    """(n_tokens, n_heads * d_value) the heads' outputs, before the projection."""
    output: torch.Tensor
    """(n_tokens, d_model) after it."""
    weights: torch.Tensor | None = None
    """(n_heads, n_tokens, n_tokens); None where attention did not return them."""

    def keep_projection(self, _: nn.Module, args: Any, output: torch.Tensor) -> None:
        """Keep one call of the output projection; only ever of a single row."""
        self.heads = args[0].detach().flatten(0, -2)
        self.output = output.detach().flatten(0, -2)

    def keep_weights(self, _: nn.Module, __: Any, output: Any) -> None:
        """Keep the weights that the attention module returned beside its output."""
        weights = output[1] if isinstance(output, tuple) and len(output) > 1 else None
        if isinstance(weights, torch.Tensor) and weights.dim() >= 3:
            self.weights = weights.detach().view(-1, *weights.shape[-2:])


@contextmanager
def intervened(
    architecture: ArchitectureMap, rows: Sequence[PlanRow], clean: Sequence[States]
) -> Iterator[None]:
    """Carry out the rows' corruptions, restorations and knockouts on a batch of these rows."""
    with ExitStack() as stack:
        if any(row.corruption and row.corruption.noise is not None for row in rows):
            drawn = [row.corruption for row in rows]
            stack.enter_context(edited(architecture.embedding, lambda x: add_noise(x, drawn)))
        touched = {(r.component, i) for row in rows for r in row.restorations for i in r.layers}
        for component, index in sorted(touched):
            module = component_module(architecture.layers[index], component)
            edit = _restore(rows, clean, component, index)
            stack.enter_context(edited(module, edit))
        for index in sorted({i for row in rows for k in row.knockouts for i in k.layers}):
            stack.enter_context(_masked(architecture, index, rows))
        yield


def component_module(layer: LayerMap, component: Component) -> nn.Module:
    """Return the module whose output is the component, token by token.

    A norm or multiplier between it and the residual stream acts on each token alone, so that
    restoring before it is restoring after it.
    """
    found = {"residual": layer.layer, "attention": layer.output, "mlp": layer.mlp}[component]
    if found is None:
        raise TypeError(f"{type(layer.layer).__name__} has no {component}")
    return found


@contextmanager
def edited(module: nn.Module, edit: Edit) -> Iterator[None]:
    """Pass a module's output through a function."""

    def hook(_: nn.Module, __: Any, output: object) -> object:
        # A clone: some blocks add to their sub-layers' outputs in place.
        return with_first_tensor(output, edit(first_tensor(output).clone()))

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _keep(states: States, key: tuple[Component, int]) -> Edit:
    def keep(tensor: torch.Tensor) -> torch.Tensor:
        states[key] = tensor.detach().clone()
        return tensor

    return keep


def add_noise(tensor: torch.Tensor, corruptions: Sequence[Corruption | None]) -> torch.Tensor:
    """Add each row's noise to the embeddings (n_rows, n_tokens, d_model), in place."""
    for index, corruption in enumerate(corruptions):
        if corruption is not None and corruption.noise is not None:
            noise = torch.as_tensor(corruption.noise, dtype=tensor.dtype, device=tensor.device)
            tensor[index, list(corruption.positions)] += noise
    return tensor


def _restore(
    rows: Sequence[PlanRow], clean: Sequence[States], component: Component, layer: int
) -> Edit:
    def restore(tensor: torch.Tensor) -> torch.Tensor:
        # Some layers flatten rows and tokens before their MLP (OPT): view them as rows again.
        view = tensor.view(len(rows), -1, tensor.shape[-1])
        for index, row in enumerate(rows):
            for restoration in row.restorations:
                if restoration.component == component and layer in restoration.layers:
                    at = list(restoration.positions)
                    state = clean[index][component, layer]
                    view[index, at] = state.view(-1, state.shape[-1])[at].to(view.device)
        return tensor

    return restore


@contextmanager
def _masked(architecture: ArchitectureMap, index: int, rows: Sequence[PlanRow]) -> Iterator[None]:
    attention = architecture.layers[index].attention
    assert attention is not None, "a plan with knockouts passes require_attention first"
    parameters = signature(attention.forward)

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        bound = parameters.bind_partial(*args, **kwargs)
        mask = bound.arguments.get("attention_mask")
        bound.arguments["attention_mask"] = _cut(mask, architecture, index, rows)
        return bound.args, bound.kwargs

    handle = attention.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _cut(
    mask: torch.Tensor | None, architecture: ArchitectureMap, layer: int, rows: Sequence[PlanRow]
) -> torch.Tensor:
    n_tokens = len(rows[0].prompt.input_ids)
    if mask is None:
        device = next(architecture.layers[layer].layer.parameters()).device
        mask = torch.ones(n_tokens, n_tokens, dtype=torch.bool, device=device).tril()[None, None]
        blocked: float | bool = False
    elif mask.dtype == torch.bool:
        blocked = architecture.true_means_cut
    else:
        blocked = torch.finfo(mask.dtype).min
    edited = mask.expand(len(rows), *mask.shape[1:]).clone()
    for index, row in enumerate(rows):
        for knockout in row.knockouts:
            if layer in knockout.layers:
                cut = torch.zeros(n_tokens, n_tokens, dtype=torch.bool, device=mask.device)
                cut[torch.tensor(knockout.targets)[:, None], torch.tensor(knockout.sources)] = True
                edited[index].masked_fill_(cut.fill_diagonal_(False), blocked)
    return edited
