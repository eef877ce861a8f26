"""What a model says: greedy answers and their alternatives, asked for once and remembered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import torch

from pytest_ragshortcut.core.ports import Generated
from pytest_ragshortcut.errors import NonFiniteLogitsError
from pytest_ragshortcut.models.executors import Engine
from pytest_ragshortcut.models.generation import continue_greedily, end_tokens
from pytest_ragshortcut.models.tokenization import PromptTokenizer


class Answers:
    """Continues prompts of one model."""

    def __init__(self, engine: Engine, prompts: PromptTokenizer) -> None:
        self._engine, self._prompts = engine, prompts

    def greedy(
        self,
        prompts: Sequence[tuple[int, ...]],
        firsts: Sequence[tuple[int, ...]] | None = None,
    ) -> tuple[Generated, ...]:
        """Continue each prompt to the end of its answer, which may begin with given tokens."""
        begun = firsts or [()] * len(prompts)
        stop_ids = end_tokens(self._engine.model, self._engine.tokenizer)

        def compute(missing: Sequence[int]) -> Iterator[tuple[Generated]]:
            answers = continue_greedily(
                [prompts[i] for i in missing],
                firsts=[begun[i] for i in missing],
                next_logits=self._next_logits,
                decode=self._prompts.decode,
                stop_ids=stop_ids,
            )
            return ((Generated(self._prompts.decode(ids).strip(), ids),) for ids in answers)

        questions = [
            ("continuation", ids, first, sorted(stop_ids))
            for ids, first in zip(prompts, begun, strict=True)
        ]
        return tuple(answer for (answer,) in self._engine.answers(questions, compute))

    def alternatives(
        self, prompts: Sequence[tuple[int, ...]], ranks: range
    ) -> tuple[tuple[Generated, ...], ...]:
        """Continue each prompt from each of its likeliest first tokens of these ranks."""
        firsts = self._firsts(prompts, ranks)
        answers = iter(
            self.greedy(
                [ids for ids, some in zip(prompts, firsts, strict=True) for _ in some],
                [first for some in firsts for first in some],
            )
        )
        return tuple(tuple(islice(answers, len(some))) for some in firsts)

    def _firsts(
        self, prompts: Sequence[tuple[int, ...]], ranks: range
    ) -> list[list[tuple[int, ...]]]:
        """Find the likeliest first tokens of answers, each as an answer that goes no further."""

        def compute(missing: Sequence[int]) -> Iterator[tuple[Generated, ...]]:
            logits = self._next_logits([prompts[i] for i in missing])
            likeliest = logits.topk(min(ranks.stop, logits.shape[-1])).indices.tolist()
            for i, tokens in zip(missing, likeliest, strict=True):
                opens = [self._prompts.opens_word(prompts[i][-1], token) for token in tokens]
                yield tuple(
                    Generated(self._prompts.decode((tokens[rank],)), (tokens[rank],))
                    for rank in ranks
                    if rank < len(tokens) and opens[rank] == opens[0]
                )

        questions = [("firsts", ids, ranks.start, ranks.stop, ranks.step) for ids in prompts]
        found = self._engine.answers(questions, compute)
        return [[first.token_ids for first in some] for some in found]

    def _next_logits(self, sequences: Sequence[tuple[int, ...]]) -> torch.Tensor:
        logits = self._engine.executor.next_logits(sequences)
        if bool(logits.isnan().any()):
            raise NonFiniteLogitsError(
                model=type(self._engine.model).__name__, dtype=str(self._engine.model.dtype), row=0
            )
        return logits
