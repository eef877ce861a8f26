"""Setting a circuit into the weights of Llama and of GPT-2."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaRMSNorm, LlamaRotaryEmbedding

from pytest_ragshortcut.models.handset.axes import EMBEDDING_NORM, PHASE, PLACE_NORM, PLACE_SIZE
from pytest_ragshortcut.models.handset.circuit import N_LAYERS, Circuit, Head, balanced
from pytest_ragshortcut.models.handset.tokenizer import END

Architecture = Literal["llama", "gpt2"]
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)

# So large that most pairs of a head's axes turn by nothing over any window: those hold content.
_ROPE_THETA = 1e36
_STILL = 1e-7
_NORM_EPS = 1e-12


@torch.no_grad()
def write(circuit: Circuit, architecture: Architecture) -> PreTrainedModel:
    """Make a model of an architecture and set a circuit into its weights."""
    model = _WRITERS[architecture](circuit)
    model.get_output_embeddings().weight.copy_(circuit.unembedding)
    model.get_input_embeddings().weight.copy_(circuit.embedding)
    written: PreTrainedModel = model.eval()
    return written


def _write_llama(circuit: Circuit) -> Any:
    head_dim = _llama_head_dim(circuit)
    end = circuit.vocabulary.ids[END]
    config = LlamaConfig(
        vocab_size=len(circuit.vocabulary.ids),
        hidden_size=circuit.axes.width,
        intermediate_size=len(circuit.codes),
        num_hidden_layers=N_LAYERS,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=head_dim,
        attention_bias=True,
        mlp_bias=True,
        max_position_embeddings=circuit.n_positions,
        rope_parameters={"rope_type": "default", "rope_theta": _ROPE_THETA},
        rms_norm_eps=_NORM_EPS,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=end,
    )
    model = _blank(LlamaForCausalLM, config, circuit.dtype)
    model.model.rotary_emb = LlamaRotaryEmbedding(config)
    inner = model.model
    for layer, head in zip(inner.layers, circuit.heads, strict=True):
        _write_llama_head(layer.self_attn, head, circuit)
    first = inner.layers[0]
    norms = (first.input_layernorm, first.post_attention_layernorm)
    _undo_norms(inner, circuit, EMBEDDING_NORM, first=norms)
    detectors, bias = circuit.detectors
    first.mlp.gate_proj.weight.copy_(detectors)
    first.mlp.gate_proj.bias.fill_(bias)
    first.mlp.up_proj.bias.fill_(1.0)
    first.mlp.down_proj.weight.copy_(circuit.recalls)
    first.mlp.down_proj.bias.copy_(circuit.constant)
    return model


def _llama_head_dim(circuit: Circuit) -> int:
    """Return how wide a head must be: for what it moves, and for content on axes that stay put."""
    heads = circuit.heads
    moved = max(sum(source.stop - source.start for source, *_ in head.moves) for head in heads)
    pairs = max(math.ceil(len(head.queries) / 2) for head in heads)
    turning = math.log(circuit.n_positions / _STILL) / math.log(_ROPE_THETA)
    return 2 * int(max(math.ceil(moved / 2), math.ceil(pairs / (1.0 - turning))))


def _write_llama_head(attention: Any, head: Head, circuit: Circuit) -> None:
    half, root = attention.head_dim // 2, math.sqrt(attention.head_dim)
    # The last pairs turn slowest. A pair is an axis and the one half a head behind it.
    pairs = math.ceil(len(head.queries) / 2)
    still = [*range(half - pairs, half), *range(2 * half - pairs, 2 * half)][: len(head.queries)]
    attention.q_proj.weight[still] = root * head.queries
    attention.q_proj.bias[still] = root * head.query_bias
    attention.k_proj.weight[still] = head.keys
    _move(attention.v_proj.weight, attention.o_proj.weight, head, circuit)
    if head.recency:
        # A quarter of a turn apart, query and key make minus the sine of the distance's angle.
        pair = math.ceil(half * math.log(circuit.n_positions / PHASE) / math.log(_ROPE_THETA))
        speed = _ROPE_THETA ** (-pair / half)
        slope = speed * math.cos(speed * circuit.n_positions)
        attention.q_proj.bias[pair + half] = root * head.recency / slope
        attention.k_proj.bias[pair] = 1.0


def _write_gpt2(circuit: Circuit) -> Any:
    end = circuit.vocabulary.ids[END]
    config = GPT2Config(
        vocab_size=len(circuit.vocabulary.ids),
        n_positions=circuit.n_positions,
        n_embd=circuit.axes.width,
        n_inner=len(circuit.codes),
        n_layer=N_LAYERS,
        n_head=1,
        layer_norm_epsilon=_NORM_EPS,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        tie_word_embeddings=False,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    model = _blank(GPT2LMHeadModel, config, circuit.dtype)
    inner = model.transformer
    inner.wpe.weight.copy_(circuit.places)
    for layer, head in zip(inner.h, circuit.heads, strict=True):
        _write_gpt2_head(layer.attn, head, circuit)
    first = inner.h[0]
    embedded = math.hypot(EMBEDDING_NORM, PLACE_NORM)
    _undo_norms(inner, circuit, embedded, first=(first.ln_1, first.ln_2))
    detectors, bias = circuit.detectors
    first.mlp.c_fc.weight.copy_(detectors.T)
    first.mlp.c_fc.bias.fill_(bias)
    first.mlp.c_proj.weight.copy_(circuit.recalls.T)
    first.mlp.c_proj.bias.copy_(circuit.constant)
    return model


def _write_gpt2_head(attention: Any, head: Head, circuit: Circuit) -> None:
    width, rank = circuit.axes.width, len(head.queries)
    # Conv1D keeps its weight transposed: queries, keys and values side by side in its columns.
    query, key, value = attention.c_attn.weight.T.split(width)
    root = math.sqrt(width)
    query[:rank] = root * head.queries
    attention.c_attn.bias[:rank] = root * head.query_bias
    key[:rank] = head.keys
    _move(value, attention.c_proj.weight.T, head, circuit)
    if head.recency:
        speed = PHASE / circuit.n_positions
        attention.c_attn.bias[rank] = root
        slope = PLACE_SIZE * speed * math.cos(PHASE)
        sines = slice(circuit.axes.PLACE.start, circuit.axes.PLACE.start + 2)
        key[rank, sines] = head.recency / slope * torch.tensor([0.5, -0.5], dtype=circuit.dtype)


_WRITERS: Mapping[Architecture, Callable[[Circuit], Any]] = {
    "llama": _write_llama,
    "gpt2": _write_gpt2,
}


def _move(values: torch.Tensor, outputs: torch.Tensor, head: Head, circuit: Circuit) -> None:
    """Set (head_dim, width) values and (width, head_dim) outputs to copy what a head moves."""
    start = 0
    for source, target, factor in head.moves:
        size = source.stop - source.start
        axes = torch.arange(size)
        values[start + axes, source.start + axes] = 1.0
        outputs[target.start + axes, start + axes] = factor
        start += size
    outputs.copy_(balanced(outputs, circuit.axes))


def _undo_norms(
    model: Any, circuit: Circuit, embedded: float, *, first: tuple[nn.Module, nn.Module]
) -> None:
    """Make every norm return what it is given.

    Args:
        model: the model without its head.
        circuit: the circuit.
        embedded: the norm of what is embedded.
        first: the two norms of layer 0, which see no constant.
    """
    # Behind the first attention a subject, which is all that the MLP looks for, has its code twice.
    lengths = dict(zip(first, (embedded, math.hypot(embedded, 1.0)), strict=True))
    behind = math.hypot(embedded, math.sqrt(2.0) * circuit.constant_size)
    for norm in model.modules():
        if isinstance(norm, (nn.LayerNorm, LlamaRMSNorm)):
            norm.weight.fill_(lengths.get(norm, behind) / math.sqrt(circuit.axes.width))


def _blank(kind: Any, config: Any, dtype: torch.dtype) -> Any:
    """Make a model whose weights are all zero, and draw no random number for them."""
    with torch.device("meta"):
        model: nn.Module = kind(config)
    model = model.to(dtype).to_empty(device="cpu")
    for parameter in model.parameters():
        parameter.zero_()
    return model
