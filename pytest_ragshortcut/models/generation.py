"""Greedy answers: deterministic, stopped where the answer ends, the model's own settings unused."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_ANSWER_TOKENS = 16
_CLOSING = " \n.,;:!?\"'”’»)。，"

# A line break, or a full stop that ends a sentence: not the one in "3.5", in "St. Louis" or in
# "J. R. Hartley". After a digit only what follows can tell, so there a space must.
_END = re.compile(
    r"\n|。|(?<!\d)(?<!\b[A-Z])(?<!\b(?:St|Mt|Ft|Mr|Ms|Dr))(?<!\bMrs)\.(?=\s|$)|(?<=\d)\.(?=\s)"
)

Decode = Callable[[Sequence[int]], str]
NextLogits = Callable[[Sequence[tuple[int, ...]]], torch.Tensor]
"""(n_sequences, n_vocabulary) logits of the token after each sequence."""


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """List the tokens that end an answer, as the model and its tokenizer name them."""
    generation: Any = getattr(model, "generation_config", None)
    ends = (getattr(generation, "eos_token_id", None), tokenizer.eos_token_id)
    ids = (i for end in ends for i in (end if isinstance(end, list) else [end]))
    return frozenset(int(i) for i in ids if i is not None)


def continue_greedily(
    prompts: Sequence[tuple[int, ...]],
    *,
    firsts: Sequence[tuple[int, ...]] | None = None,
    next_logits: NextLogits,
    decode: Decode,
    stop_ids: frozenset[int],
) -> list[tuple[int, ...]]:
    """Continue prompts until a stop token, a line break, the end of a sentence or the limit.

    Args:
        prompts: the token ids of each prompt.
        firsts: the tokens that open each answer; none where not given.
        next_logits: asks the model, for all prompts still open at once.
        decode: turns an answer's tokens to text.
        stop_ids: tokens that end an answer.

    Returns:
        Each answer's tokens, trimmed to the answer itself.
    """
    said = [list(first) for first in (firsts or [()] * len(prompts))]
    limits = [MAX_ANSWER_TOKENS + len(first) for first in said]
    going = [i for i, answer in enumerate(said) if not stop_ids.intersection(answer)]
    for i in set(range(len(said))) - set(going):
        said[i] = []
    while going:
        likeliest = next_logits([(*prompts[i], *said[i]) for i in going]).argmax(dim=-1).tolist()
        still = []
        for i, token in zip(going, likeliest, strict=True):
            if token in stop_ids:
                continue
            said[i].append(token)
            ended = _END.search(decode(said[i]).lstrip())
            if not ended and len(said[i]) < limits[i]:
                still.append(i)
        going = still
    return [trimmed(answer, decode) for answer in said]


def trimmed(ids: Sequence[int], decode: Decode) -> tuple[int, ...]:
    """Drop closing punctuation and everything after the end of the answer, by whole tokens."""
    kept = list(ids)
    while kept:
        text = decode(kept)
        last = text[len(decode(kept[:-1])) :]
        if not _END.search(text.lstrip()) and last.strip(_CLOSING):
            break
        kept.pop()
    return tuple(kept)
