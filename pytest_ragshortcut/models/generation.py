"""Greedy answers: deterministic, stopped where the answer ends, the model's own settings unused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from transformers import PreTrainedModel

from pytest_ragshortcut.models.hooks import quiet

MAX_ANSWER_TOKENS = 16
_CLOSING = ".,;:!?\"'”’)»。，"


def continue_greedily(
    model: PreTrainedModel,
    ids: Sequence[int],
    *,
    decode: Callable[[Sequence[int]], str],
    stop_ids: frozenset[int],
) -> tuple[int, ...]:
    """Continue a prompt until a stop token, a line break, the end of a sentence or the limit."""
    generated: list[int] = []
    with quiet(model):
        inputs = torch.tensor([list(ids)], device=model.device)
        cache = None
        for _ in range(MAX_ANSWER_TOKENS):
            mask = torch.ones(1, len(ids) + len(generated), dtype=torch.long, device=model.device)
            output = model(
                input_ids=inputs, attention_mask=mask, past_key_values=cache, use_cache=True
            )
            cache = output.past_key_values
            inputs = output.logits[:, -1:].argmax(dim=-1)
            token = int(inputs)
            if token in stop_ids:
                break
            generated.append(token)
            text = decode(generated)
            if "\n" in text.lstrip() or text.rstrip().endswith((".", "。")):
                break
    return trimmed(generated, decode)


def trimmed(ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> tuple[int, ...]:
    """Drop closing punctuation and everything after a line break, by whole tokens."""
    kept = list(ids)
    while kept and not decode(kept).strip():
        return ()
    while kept:
        text = decode(kept)
        last = text[len(decode(kept[:-1])) :]
        if "\n" in text.strip("\n ") or not last.strip().strip(_CLOSING):
            kept.pop()
        else:
            break
    return tuple(kept)


def likeliest_first_tokens(
    model: PreTrainedModel, ids: Sequence[int], count: int
) -> tuple[int, ...]:
    """Return the tokens most likely to open the answer, likeliest first."""
    with quiet(model):
        inputs = torch.tensor([list(ids)], device=model.device)
        logits = model(
            input_ids=inputs, attention_mask=torch.ones_like(inputs), use_cache=False
        ).logits[0, -1]
        top = logits.topk(min(count, logits.shape[-1])).indices
    return tuple(int(token) for token in top)
