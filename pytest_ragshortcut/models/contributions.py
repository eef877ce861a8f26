"""Attention contributions by linearity: weights times values, head by head, through the model.

Values are observed, not computed: when every token may attend to itself alone, the heads' outputs
are the values, whatever the family does to make them (grouped, latent, fused, biased). One
forward, in which each layer reads its clean input, shows all of them. The output projection is
the model's own module, so that quantised and biased ones need no special case.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from pytest_ragshortcut.core.plans import Contributions, Knockout, PlanRow, Restoration
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.errors import AdapterSelfCheckError, UnsupportedArchitectureError
from pytest_ragshortcut.models.architectures import ArchitectureMap, LayerMap
from pytest_ragshortcut.models.hooks import (
    Observed,
    attention_implementation,
    captured,
    intervened,
    observed_attention,
    quiet,
)

# Weights and values are rounded to the model's dtype before they meet here, and some norms and
# softmaxes compute in single precision even in a double-precision model.
_MAX_ERROR = {torch.float64: 1e-4, torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 8e-2}


def read_contributions(
    model: PreTrainedModel, architecture: ArchitectureMap, prompt: TokenizedPrompt
) -> Contributions:
    """Read every layer's contributions to a prompt's readers.

    Raises:
        UnsupportedArchitectureError: if attention returns no weights or keeps no values.
        AdapterSelfCheckError: if the parts do not add up to the attention output.
    """
    readers = list(prompt.readers)
    per_head, summed = [], []
    with quiet(model):
        own, weighted, alone = _observe(model, architecture, prompt)
        for index, layer in enumerate(architecture.layers):
            weights, values = _weights_and_values(architecture, weighted[index], alone[index])
            parts, bias = _project(layer, weights[:, readers], values)
            total = own[index].output[readers]
            _check(architecture.name, index, parts, total - bias)
            scaled = parts * _scale(layer, total)
            per_head.append(scaled.norm(dim=-1).mean(dim=1))
            summed.append(scaled.sum(dim=0).norm(dim=-1).mean(dim=0))
    return Contributions(_numpy(torch.stack(per_head)), _numpy(torch.stack(summed)))


def _observe(
    model: PreTrainedModel, architecture: ArchitectureMap, prompt: TokenizedPrompt
) -> tuple[list[Observed], list[Observed], list[Observed]]:
    """Observe the model's own forward, one with weights, and one of tokens each by itself.

    Each layer of the latter two reads what it read in the first, so that attention code which
    computes something else when it returns weights (Falcon's, with ALiBi) fails the check.
    """
    tokens = tuple(range(len(prompt.input_ids)))
    layers = tuple(range(len(architecture.layers)))
    same = PlanRow(prompt, restorations=(Restoration("residual", layers, tokens),))
    by_itself = replace(same, knockouts=(Knockout(tokens, tokens, layers),))
    with (
        attention_implementation(model, weights=False),
        observed_attention(architecture) as own,
        captured(architecture, ["residual"]) as states,
    ):
        _forward(model, prompt, ask=False)
    with attention_implementation(model, weights=True):
        with observed_attention(architecture) as seen, intervened(architecture, [same], [states]):
            _forward(model, prompt, ask=False)
            asked = any(layer.weights is None for layer in seen)
            if asked:
                _forward(model, prompt, ask=True)
        with (
            observed_attention(architecture) as alone,
            intervened(architecture, [by_itself], [states]),
        ):
            _forward(model, prompt, ask=asked)
    return own, seen, alone


def _forward(model: PreTrainedModel, prompt: TokenizedPrompt, *, ask: bool) -> None:
    """Run a prompt; ask for weights only in families that return none unasked (Falcon)."""
    ids = torch.tensor([prompt.input_ids], device=model.device)
    asked = {"output_attentions": True} if ask else {}
    model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **asked)


def _weights_and_values(
    architecture: ArchitectureMap, weighted: Observed, alone: Observed
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (n_heads, n_tokens, n_tokens) weights and (n_heads, n_tokens, d_value) values."""
    if weighted.weights is None or alone.weights is None:
        missing = "contributions need attention weights, and its attention returns none"
        raise UnsupportedArchitectureError(model=architecture.name, missing=missing)
    n_heads, n_tokens = weighted.weights.shape[:2]
    heads = alone.heads.view(n_tokens, n_heads, -1).transpose(0, 1)
    # Where an attention sink takes a share, the weight of a token on itself is below one.
    own = alone.weights.diagonal(dim1=-2, dim2=-1)[..., None]
    return weighted.weights, heads / own


def _project(
    layer: LayerMap, weights: torch.Tensor, values: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (n_heads, n_readers, n_tokens, d_model) parts of the attention output, and its bias.

    Args:
        layer: the layer's modules.
        weights: (n_heads, n_readers, n_tokens).
        values: (n_heads, n_tokens, d_value).
    """
    assert layer.output is not None, "a plan with contributions passes require_attention first"
    n_heads, n_tokens, width = values.shape
    bias = layer.output(values.new_zeros(1, n_heads * width))
    parts = []
    for head in range(n_heads):
        placed = values.new_zeros(n_tokens, n_heads * width)
        placed[:, head * width : (head + 1) * width] = values[head]
        parts.append((layer.output(placed) - bias) * weights[head][..., None])
    return torch.stack(parts), bias


def _check(name: str, index: int, parts: torch.Tensor, total: torch.Tensor) -> None:
    """Compare the sum of the parts with the attention output less its bias."""
    scale = float(parts.norm(dim=-1).sum(dim=(0, 2)).max()) or 1.0
    error = float((parts.sum(dim=(0, 2)) - total).norm(dim=-1).max()) / scale
    max_error = _MAX_ERROR.get(total.dtype, _MAX_ERROR[torch.float32])
    if not error <= max_error:
        raise AdapterSelfCheckError(model=name, layer=index, error=error, max_error=max_error)


def _scale(layer: LayerMap, total: torch.Tensor) -> torch.Tensor:
    """Return (n_readers, 1, d_model), what norm and multiplier do to each part of the output.

    An RMS norm divides by the size of the whole output, so that it scales its parts alike. A
    vector of that size without zeros, passed through the norm, shows the factors.
    """
    factors = torch.ones_like(total)
    if layer.post_norm is not None:
        size = total.pow(2).mean(dim=-1, keepdim=True).sqrt().expand_as(total)
        factors = layer.post_norm(size) / size
    return (factors * layer.multiplier)[:, None, :]


def _numpy(tensor: torch.Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    return tensor.double().cpu().numpy()
