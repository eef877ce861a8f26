"""Where an architecture keeps its layers, its attention and its MLP. A new family is one row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from pytest_ragshortcut.errors import UnsupportedArchitectureError

_ATTENTION_NAMES = ("self_attn", "self_attention", "attn", "attention")
_OUTPUT_NAMES = ("o_proj", "out_proj", "dense", "c_proj")
_MLP_NAMES = ("mlp", "feed_forward", "block_sparse_moe", "ffn", "fc2")

# Families whose attention output passes a norm before it joins the residual stream. Llama's
# module of the first name is the norm before the MLP, so the name alone does not tell.
_POST_NORMS = {
    "gemma2": "post_attention_layernorm",
    "gemma3_text": "post_attention_layernorm",
    "gemma4_text": "post_attention_layernorm",
    "olmo2": "post_attention_layernorm",
    "olmo3": "post_attention_layernorm",
    "exaone4": "post_attention_layernorm",
    "glm4": "post_self_attn_layernorm",
}

# Families whose boolean attention masks are True where an edge is cut; elsewhere, where it is kept.
_TRUE_MEANS_CUT = {"mpt"}

_WINDOW_NAMES = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")


@dataclass(frozen=True)
class LayerMap:
    """The modules of one decoder layer that a probe touches."""

    layer: nn.Module
    """Its output is the residual stream after the layer."""
    attention: nn.Module | None
    """None where the layer mixes tokens in another way."""
    output: nn.Module | None
    """The attention's output projection, from all heads to the residual stream."""
    mlp: nn.Module | None
    """The MLP, or its last projection where the layer has no such module."""
    post_norm: nn.Module | None
    """The norm between the output projection and the residual stream, if there is one."""
    multiplier: float
    """What the architecture multiplies the attention output with (Granite)."""


@dataclass(frozen=True)
class ArchitectureMap:
    """A model's layers, and the quirks of its family."""

    name: str
    layers: tuple[LayerMap, ...]
    embedding: nn.Module
    true_means_cut: bool

    def require_attention(self, purpose: str) -> None:
        """Refuse a probe of attention where some layer carries context past it.

        Raises:
            UnsupportedArchitectureError: naming the first such layer.
        """
        for index, layer in enumerate(self.layers):
            if layer.attention is None or layer.output is None:
                missing = (
                    f"{purpose} need attention in every layer, and layer {index} is "
                    f"{type(layer.layer).__name__} without one: context would leak past the probe"
                )
                raise UnsupportedArchitectureError(model=self.name, missing=missing)


def map_architecture(model: PreTrainedModel) -> ArchitectureMap:
    """Find what the probes need inside a causal language model.

    Raises:
        UnsupportedArchitectureError: if it has no decoder layers or no token embedding.
    """
    family = str(getattr(model.config.get_text_config(), "model_type", ""))
    name = type(model).__name__
    embedding = model.get_input_embeddings()
    layers = tuple(_map_layer(layer, family) for layer in _decoder_layers(model))
    if not layers:
        raise UnsupportedArchitectureError(model=name, missing="it has no hidden layers")
    if not isinstance(embedding, nn.Module):
        raise UnsupportedArchitectureError(model=name, missing="it has no token embedding")
    return ArchitectureMap(
        name=name,
        layers=layers,
        embedding=embedding,
        true_means_cut=family in _TRUE_MEANS_CUT,
    )


def max_tokens(model: PreTrainedModel) -> int | None:
    """Return how many tokens fit a model's window; None where the configuration does not say."""
    config = model.config.get_text_config()
    found = (getattr(config, name, None) for name in _WINDOW_NAMES)
    return next((int(value) for value in found if isinstance(value, int)), None)


def _decoder_layers(model: PreTrainedModel) -> list[nn.Module]:
    n_layers = getattr(model.config.get_text_config(), "num_hidden_layers", 0)
    stacks = [
        list(module)
        for module in model.modules()
        if isinstance(module, nn.ModuleList) and n_layers and len(module) == n_layers
    ]
    # Experts and head lists may have the same length; the decoder is the outermost stack.
    return stacks[0] if stacks else []


def _map_layer(layer: nn.Module, family: str) -> LayerMap:
    attention = _child(layer, _ATTENTION_NAMES)
    if attention is not None and _child(attention, _OUTPUT_NAMES) is None:
        attention = _child(attention, _ATTENTION_NAMES)
    post_norm = getattr(layer, _POST_NORMS[family], None) if family in _POST_NORMS else None
    return LayerMap(
        layer=layer,
        attention=attention,
        output=None if attention is None else _child(attention, _OUTPUT_NAMES),
        mlp=_child(layer, _MLP_NAMES),
        post_norm=post_norm,
        multiplier=float(getattr(layer, "residual_multiplier", 1.0)),
    )


def _child(module: nn.Module, names: tuple[str, ...]) -> nn.Module | None:
    children: Iterator[nn.Module | None] = (getattr(module, name, None) for name in names)
    return next((child for child in children if isinstance(child, nn.Module)), None)


def first_tensor(output: object) -> torch.Tensor:
    """Take the hidden states from a module's output, a tensor or a tuple that starts with one."""
    tensor = output[0] if isinstance(output, tuple) else output
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"a module returned {type(tensor).__name__}, not hidden states")
    return tensor


def with_first_tensor(output: object, tensor: torch.Tensor) -> object:
    """Put hidden states back where first_tensor took them from."""
    return (tensor, *output[1:]) if isinstance(output, tuple) else tensor
