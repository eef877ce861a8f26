"""Greedy answers: deterministic, stopped where the answer ends, the model's own settings unused."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import torch
from transformers import PreTrainedModel

from pytest_ragshortcut.errors import NonFiniteLogitsError
from pytest_ragshortcut.models.hooks import quiet
from pytest_ragshortcut.models.reference import forward_logits

MAX_ANSWER_TOKENS = 16
_CLOSING = " \n.,;:!?\"'”’»)。，"

# A line break, or a full stop that ends a sentence: not the one in "3.5", in "St. Louis" or in
# "J. R. Hartley". After a digit only what follows can tell, so there a space must.
_END = re.compile(
    r"\n|。|(?<!\d)(?<!\b[A-Z])(?<!\b(?:St|Mt|Ft|Mr|Ms|Dr))(?<!\bMrs)\.(?=\s|$)|(?<=\d)\.(?=\s)"
)


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
            inputs = _likeliest(model, output.logits[0, -1], 1)[None]
            token = int(inputs)
            if token in stop_ids:
                break
            generated.append(token)
            if _END.search(decode(generated).lstrip()):
                break
    return trimmed(generated, decode)


def trimmed(ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> tuple[int, ...]:
    """Drop closing punctuation and everything after the end of the answer, by whole tokens."""
    kept = list(ids)
    while kept:
        text = decode(kept)
        last = text[len(decode(kept[:-1])) :]
        if not _END.search(text.lstrip()) and last.strip(_CLOSING):
            break
        kept.pop()
    return tuple(kept)


def likeliest_first_tokens(
    model: PreTrainedModel, ids: Sequence[int], count: int
) -> tuple[int, ...]:
    """Return the tokens most likely to open the answer, likeliest first."""
    with quiet(model):
        inputs = torch.tensor([list(ids)], device=model.device)
        logits = forward_logits(model, inputs, [len(ids) - 1])[0, -1]
        top = _likeliest(model, logits, min(count, logits.shape[-1]))
    return tuple(int(token) for token in top)


def _likeliest(model: PreTrainedModel, logits: torch.Tensor, count: int) -> torch.Tensor:
    if bool(logits.isnan().any()):
        raise NonFiniteLogitsError(model=type(model).__name__, dtype=str(model.dtype), row=0)
    return logits.topk(count).indices
