"""Tiny random models of every supported architecture, and tokenizers trained in process.

The weights are drawn so that a test can fail: probabilities span a wide range, attention and
MLP matter as much as the embedding, and no norm, bias, sink or multiplier is at its neutral value.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from pytest_ragshortcut.core.plans import PlanRow, ProbePlan
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.models.architectures import map_architecture
from pytest_ragshortcut.models.incremental.executor import IncrementalExecutor
from pytest_ragshortcut.models.reference import ReferenceExecutor

VOCABULARY = 99
WINDOW = 5
"""The sliding window of the architectures that have one: shorter than the prompts."""

_BASE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GPT: dict[str, Any] = {
    "vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_MOE: dict[str, Any] = {
    "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24,
    "num_local_experts": 4,
}  # fmt: skip
_MLA: dict[str, Any] = {
    "num_key_value_heads": 4, "n_routed_experts": 4, "num_experts_per_tok": 2,
    "moe_intermediate_size": 16, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1,
    "kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
    "v_head_dim": 12,
}  # fmt: skip
_HEAD = {"head_dim": 8}
_SLIDING = {"sliding_window": WINDOW}
# Where embeddings are scaled, a tied head hears little but the token that it stands on.
_UNTIED = {"tie_word_embeddings": False}
_MIXED = _SLIDING | {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
_YARN = {
    "rope_type": "yarn", "rope_theta": 10000.0, "factor": 2.0, "beta_fast": 32.0,
    "beta_slow": 1.0, "truncate": False, "original_max_position_embeddings": 32,
}  # fmt: skip

_OPT: dict[str, Any] = {
    "ffn_dim": 48, "word_embed_proj_dim": 32, "vocab_size": VOCABULARY, "hidden_size": 32,
    "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 64,
}  # fmt: skip
_FALCON: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 3,
    "num_attention_heads": 4, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip

_PLAIN = (
    "llama ministral3 qwen2 qwen3 phi gemma gpt_neox olmo olmo2 glm glm4 stablelm nemotron "
    "smollm3 persimmon helium"
)

# name -> (model type, configuration). A name is the model type, or the type and its variant.
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, _BASE) for name in _PLAIN.split()},
    **{name: (name, _BASE | _HEAD) for name in ("qwen3", "gemma", "glm", "glm4", "helium")},
    **{name: (name, _BASE | _SLIDING) for name in ("mistral", "phi3", "starcoder2")},
    **{name: (name, _BASE | _MIXED) for name in ("olmo3", "exaone4")},
    "cohere": ("cohere", _BASE | {"logit_scale": 1.0}),
    "cohere2": ("cohere2", _BASE | _MIXED | {"logit_scale": 1.0}),
    **{name: (name, _BASE | _MIXED | _HEAD | _UNTIED) for name in ("gemma2", "gemma3_text")},
    "biogpt": ("biogpt", _BASE | _UNTIED),
    **{name: (name, _BASE | _MOE) for name in ("qwen2_moe", "olmoe", "phimoe")},
    "qwen3_moe": ("qwen3_moe", _BASE | _MOE | _HEAD),
    "mixtral": ("mixtral", _BASE | _MOE | _SLIDING),
    "gpt_oss": ("gpt_oss", _BASE | _MOE | _MIXED | _HEAD | {"rope_parameters": _YARN}),
    "deepseek_v2": ("deepseek_v2", _BASE | _MLA | {"topk_method": "greedy"}),
    "deepseek_v3": ("deepseek_v3", _BASE | _MLA),
    "granite": (
        "granite",
        _BASE
        | {"residual_multiplier": 0.4, "embedding_multiplier": 3.0}
        | {"attention_multiplier": 0.2, "logits_scaling": 0.5},
    ),
    "granitemoe": ("granitemoe", _BASE | _MOE | {"residual_multiplier": 0.4}),
    "gpt_neox/sequential": ("gpt_neox", _BASE | {"use_parallel_residual": False}),
    "stablelm/parallel": ("stablelm", _BASE | {"use_parallel_residual": True}),
    "gpt2": ("gpt2", _GPT),
    "gpt2/scaled": (
        "gpt2", _GPT | {"scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True},
    ),
    "gpt_bigcode": ("gpt_bigcode", _GPT),
    "gpt_neo": (
        "gpt_neo",
        {"vocab_size": VOCABULARY, "hidden_size": 32, "num_layers": 4, "num_heads": 4}
        | {"attention_types": [[["global", "local"], 2]], "window_size": WINDOW}
        | {"max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2},
    ),
    "gptj": ("gptj", _GPT | {"rotary_dim": 4}),
    "codegen": ("codegen", _GPT | {"n_ctx": 64, "rotary_dim": 4}),
    "opt": ("opt", _OPT),
    "opt/post-norm": ("opt", _OPT | {"do_layer_norm_before": False}),
    "falcon": ("falcon", _FALCON),
    "falcon/alibi": ("falcon", _FALCON | {"alibi": True, "parallel_attn": False}),
    "falcon/grouped": (
        "falcon", _FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2},
    ),
    "bloom": ("bloom", {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 3, "n_head": 4}),
    "mpt": (
        "mpt", {"vocab_size": VOCABULARY, "d_model": 32, "n_layers": 3, "n_heads": 4,
                "max_seq_len": 64},
    ),
    "xglm": (
        "xglm",
        {"vocab_size": VOCABULARY, "d_model": 32, "num_layers": 3, "attention_heads": 4}
        | {"ffn_dim": 48, "max_position_embeddings": 64},
    ),
}  # fmt: skip
NAMES = tuple(sorted(ARCHITECTURES))

_ATTENTION_OF_THEIR_OWN = "gpt_neo gptj codegen falcon bloom mpt xglm".split()
PACKABLE = tuple(name for name in NAMES if name.partition("/")[0] not in _ATTENTION_OF_THEIR_OWN)
"""Those that call transformers' attention interface, and so run on the incremental executor."""


# XGLM's own mask arithmetic overflows in float64; GPT-2's upcast attention wants float32.
_SINGLE_PRECISION_ONLY = {"xglm", "gpt2/scaled"}


def precise(name: str) -> torch.dtype:
    """Return the widest dtype in which an architecture runs."""
    return torch.float32 if name in _SINGLE_PRECISION_ONLY else torch.float64


# These multiply queries with keys, or route to experts, in float32 whatever the weights are.
_COMPUTE_IN_FLOAT32 = {"codegen", "deepseek_v2", "deepseek_v3", "gpt_neo", "gptj"}


def closeness(name: str, dtype: torch.dtype) -> float:
    """Return how close two equal log-probabilities are in an architecture and dtype."""
    if dtype != torch.float64:
        return 2e-5
    return 2e-6 if name in _COMPUTE_IN_FLOAT32 else 1e-10


def leaves_softcap_out(name: str) -> bool:
    """Tell whether a model's own attention has no softcap where its eager attention has one.

    Transformers before 5.22 run Gemma 2 under sdpa, which takes a softcap and leaves it out.
    """
    config = model(name).config.get_text_config()
    capped = getattr(config, "attn_logit_softcapping", None) is not None
    return capped and config._attn_implementation == "sdpa"


@cache
def model(name: str, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """Return the shared model of an architecture. Tests that change it take `fresh` instead."""
    return fresh(name, dtype)


def fresh(name: str, dtype: torch.dtype | None = None, **overrides: Any) -> PreTrainedModel:
    """Build a model of an architecture, in evaluation mode, with weights that matter."""
    model_type, options = ARCHITECTURES[name]
    return build(model_type, dtype or precise(name), **(options | overrides))


def build(model_type: str, dtype: torch.dtype = torch.float64, **options: Any) -> PreTrainedModel:
    """Build a model of any type from configuration options."""
    with _quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        built = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **options))
        _sharpen(built, embedding=0.1 if model_type in _EMBEDDINGS_ARE_SCALED else 0.5)
        built = built.to(dtype).eval()
        if dtype == torch.float64 and hasattr(built.config, "_experts_implementation"):
            built.set_experts_implementation("eager")
    return built


# These multiply embeddings by the root of the width, which would drown every other part.
_EMBEDDINGS_ARE_SCALED = {"biogpt", "gemma2", "gemma3_text"}


def _sharpen(built: PreTrainedModel, *, embedding: float) -> None:
    embeddings = {built.get_output_embeddings().weight: 0.5}
    embeddings |= {built.get_input_embeddings().weight: embedding}
    for parameter in built.parameters():
        noise = torch.randn_like(parameter)
        if parameter in embeddings:
            parameter.data = embeddings[parameter] * noise
        elif parameter.dim() > 1:
            parameter.data = 1.5 * noise / parameter.shape[-1] ** 0.5
        else:
            parameter.data += 0.3 * noise


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    # Odd toy shapes make some configurations warn of rope factors and token ids.
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def ids(n_tokens: int, seed: int = 0) -> tuple[int, ...]:
    """Draw token ids that are no special tokens."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(3, VOCABULARY, (n_tokens,), generator=generator).tolist())


def prompt(
    input_ids: Sequence[int], answer_ids: Sequence[int], *, n_prompt: int | None = None
) -> TokenizedPrompt:
    """Make a prompt of token ids that reads an answer; no tokenizer and no roles."""
    whole = tuple(input_ids) if n_prompt is not None else (*input_ids, *answer_ids[:-1])
    return TokenizedPrompt(
        text="tokens alone",
        input_ids=whole,
        tokens=tuple(f"t{token}" for token in whole),
        spans={},
        n_prompt=len(input_ids) if n_prompt is None else n_prompt,
        answer_ids=tuple(answer_ids),
    )


def greedy_prompt(
    built: PreTrainedModel, n_prompt: int = 12, n_answer: int = 2, seed: int = 0
) -> TokenizedPrompt:
    """Make a prompt that reads what the model itself would say, so that p is far from zero."""
    start, said = ids(n_prompt, seed), list[int]()
    for _ in range(n_answer):
        with torch.no_grad():
            logits = built(input_ids=torch.tensor([[*start, *said]]), use_cache=False).logits
        said.append(int(logits[0, -1].argmax()))
    return prompt(start, said)


@cache
def executor(name: str, dtype: torch.dtype | None = None) -> ReferenceExecutor:
    """Return the reference executor of a shared model."""
    built = model(name, dtype)
    return ReferenceExecutor(built, map_architecture(built))


def incremental(name: str, dtype: torch.dtype | None = None, **options: Any) -> IncrementalExecutor:
    """Return a new incremental executor of a shared model, with nothing kept in it yet."""
    built = model(name, dtype)
    return IncrementalExecutor(built, map_architecture(built), **options)


def run(executor: ReferenceExecutor, *rows: PlanRow) -> list[np.ndarray]:
    """Run rows and return each one's (n_answer,) log-probabilities."""
    return [reading.logprobs for reading in executor.run(ProbePlan(rows))]


def by_hand(built: PreTrainedModel, prompt: TokenizedPrompt, **inputs: Any) -> np.ndarray:
    """Read a prompt's answer from one plain forward pass: nothing of the package takes part."""
    inputs = inputs or {"input_ids": torch.tensor([prompt.input_ids])}
    with torch.no_grad():
        logits = built(**inputs, use_cache=False).logits[0, list(prompt.readers)]
    logprobs = torch.log_softmax(logits, dim=-1)
    answer = torch.tensor(prompt.answer_ids)[:, None]
    return logprobs.gather(-1, answer)[:, 0].double().numpy()


TEXTS = (
    "Where was Eavan Boland born? Eavan Boland, the poet, was born in Dublin in 1944.",
    "Context: Question: Answer: Cork Rome Oslo Paris capital France city river of the and is",
    "Ada Quill lives in Galway. What is the capital of France? The tower stands in Paris.",
)


@cache
def byte_level_tokenizer() -> PreTrainedTokenizerFast:
    """Train a byte-level BPE (GPT-2, Llama 3): offsets include the space before a word."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trained.train_from_iterator(
        TEXTS * 3,
        trainers.BpeTrainer(
            vocab_size=420, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet,
            show_progress=False,
        ),
    )  # fmt: skip
    return PreTrainedTokenizerFast(tokenizer_object=trained, eos_token="<|endoftext|>")


@cache
def metaspace_tokenizer() -> PreTrainedTokenizerFast:
    """Train a BPE over Metaspace with byte fallback (Llama 2, Mistral), which opens with <s>."""
    byte_tokens = [f"<0x{value:02X}>" for value in range(256)]
    trained = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
         decoders.Strip(" ", 1, 0)]
    )  # fmt: skip
    trained.train_from_iterator(
        TEXTS * 3,
        trainers.BpeTrainer(
            vocab_size=520, special_tokens=["<unk>", "<s>", "</s>", *byte_tokens],
            show_progress=False,
        ),
    )  # fmt: skip
    return _with_start(trained)


@cache
def unigram_tokenizer() -> PreTrainedTokenizerFast:
    """Train a Unigram over the Metaspace pre-tokenizer (T5, XGLM): no character is beyond it."""
    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.decoder = decoders.Metaspace()
    trained.train_from_iterator(
        TEXTS * 3,
        trainers.UnigramTrainer(
            vocab_size=150, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>",
            show_progress=False,
        ),
    )  # fmt: skip
    return _with_start(trained)


def _with_start(trained: Tokenizer) -> PreTrainedTokenizerFast:
    from tokenizers.processors import TemplateProcessing

    trained.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", trained.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=trained, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


TOKENIZERS = {
    "byte level": byte_level_tokenizer,
    "metaspace": metaspace_tokenizer,
    "unigram": unigram_tokenizer,
}


@cache
def rag_parts(model_type: str = "llama") -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Return a float64 model over the byte-level vocabulary, with its tokenizer."""
    tokenizer = byte_level_tokenizer()
    return fresh(model_type, vocab_size=len(tokenizer), **_room(model_type)), tokenizer


def _room(model_type: str) -> dict[str, int]:
    return {"n_positions": 512} if model_type == "gpt2" else {"max_position_embeddings": 512}
