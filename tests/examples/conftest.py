"""Checkpoint directories of other architectures: tiny, random, saved as users save theirs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "tie_word_embeddings": False,
    "max_position_embeddings": 512,
}
_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}


@pytest.fixture
def checkpoint() -> Callable[[str, Path], Path]:
    """Save a tiny random checkpoint of a family, with the embedded models' tokenizer."""

    def save(family: str, folder: Path) -> Path:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

        from pytest_ragshortcut.models import embedded

        tokenizer = AutoTokenizer.from_pretrained(embedded.path("reader"))
        shape = _GPT2 if family == "gpt2" else _SHAPE
        ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
        config = AutoConfig.for_model(family, vocab_size=len(tokenizer), **ends, **shape)
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return save
