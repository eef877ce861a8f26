"""Random models that a benchmark can trust, and a tokenizer of made-up words to ask them with.

A fresh model attends almost evenly and says every word alike: whatever is done to it, p hardly
moves, and two computations agree because nothing happens. So the embedding, the queries, the keys
and the head are drawn wider, by the same rule at every width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import islice, product
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

_ROOM = 4096
_EMBEDDING_STD = 0.2
_QUERY_STD = 2.2
_LOGIT_STD = 5.4


@dataclass(frozen=True)
class Shape:
    """The sizes of a model, less its number of layers."""

    model_type: str
    options: dict[str, Any]

    def config(self, n_layers: int) -> Any:
        """Make a configuration; the head is untied, so that it can be sharpened alone."""
        depth = "n_layer" if self.model_type == "gpt2" else "num_hidden_layers"
        options = self.options | {depth: n_layers, "tie_word_embeddings": False}
        return AutoConfig.for_model(self.model_type, **options)


def _llama(width: int, heads: int, kv_heads: int, inner: int, vocabulary: int) -> Shape:
    return Shape(
        "llama",
        {"hidden_size": width, "num_attention_heads": heads, "num_key_value_heads": kv_heads}
        | {"intermediate_size": inner, "vocab_size": vocabulary}
        | {"max_position_embeddings": _ROOM},
    )


SHAPES = {
    "tiny": _llama(64, 4, 2, 128, 512),
    "llama": _llama(512, 8, 4, 1408, 8192),
    "gpt2": Shape("gpt2", {"n_embd": 768, "n_head": 12, "n_positions": _ROOM, "vocab_size": 50257}),
    "8b": _llama(4096, 32, 8, 14336, 128256),
}


@dataclass(frozen=True)
class Loaded:
    """A model, its tokenizer, and what it is."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    shape: str
    n_layers: int

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device


def build(shape: str, n_layers: int, *, device: str = "cpu", dtype: str = "float32") -> Loaded:
    """Build a seeded random model in evaluation mode, with a tokenizer for its vocabulary."""
    config = SHAPES[shape].config(n_layers)
    seeded = [device] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=seeded), torch.device(device), torch.no_grad():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).eval()
        _widen(model)
    # A random model never ends an answer. Here a third of its words ends one, so that answers
    # have a few tokens, as they have elsewhere.
    model.generation_config.eos_token_id = stop_ids(config.vocab_size)
    return Loaded(model, tokenizer(config.vocab_size), shape, n_layers)


def _widen(model: PreTrainedModel) -> None:
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    width = embedding.shape[1]
    embedding.normal_(0, _EMBEDDING_STD)
    head.normal_(0, _LOGIT_STD / width**0.5)
    for name, parameter in model.named_parameters():
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            parameter.normal_(0, _QUERY_STD / width**0.5)
        elif name.endswith("attn.c_attn.weight"):
            parameter[:, : 2 * width].normal_(0, _QUERY_STD / width**0.5)


_TEMPLATE_WORDS = "<unk> Context Question Answer : ? . where was born and raised lives in".split()


def words(count: int) -> tuple[str, ...]:
    """Make a vocabulary: the words of the prompts, then made-up ones, every other one a name.

    Example:
        >>> words(18)[-4:]
        ('bababa', 'Bababi', 'bababo', 'Bababu')
    """
    syllables = ["".join(pair) for pair in product("bcdfgjklmnprstvz", "aiou")]
    made_up = ("".join(parts) for parts in product(syllables, repeat=3))
    cased = (word.title() if index % 2 else word for index, word in enumerate(made_up))
    return (*_TEMPLATE_WORDS, *islice(cased, count - len(_TEMPLATE_WORDS)))


def made_up(count: int) -> range:
    """Return the ids of the made-up words."""
    return range(len(_TEMPLATE_WORDS), count)


def stop_ids(count: int) -> list[int]:
    """Return the ids of the words that end an answer."""
    return list(made_up(count))[::3]


@cache
def tokenizer(count: int) -> PreTrainedTokenizerFast:
    """Make a tokenizer in which every word is one token."""
    vocabulary = {word: index for index, word in enumerate(words(count))}
    built = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    built.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=built, unk_token="<unk>")
