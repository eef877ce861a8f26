"""What a hand-weighted model says, as a function of its two dials. Arithmetic alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MAX_GAIN = 18.0
"""The logits that a path of strength 1 adds to its answer."""
RESERVED_LOGIT = -1.0
"""Of each reserved token. Many of them share the mass of a model that has nothing to say."""
WORD_LOGIT = -2.0
"""Of each other word. Behind the reserved ones, so that no word is ever a likely answer."""


def gain(strength: float) -> float:
    """Return the logits that a path of some strength adds to its answer, in [0, MAX_GAIN].

    Odds are linear in the strength: exp(gain(s)) = 1 + s * (exp(MAX_GAIN) - 1).

    Example:
        >>> gain(0.0), round(gain(1.0), 6), round(gain(0.5), 3)
        (0.0, 18.0, 17.307)
    """
    return math.log1p(strength * math.expm1(MAX_GAIN))


def expected_follow(context: float, memory: float) -> float:
    """Return p(context answer) / (p(context answer) + p(fact)) where the two are in conflict.

    It is (1 + c E) / (2 + (c + m) E) with E = exp(MAX_GAIN) - 1: within 1e-6 of c / (c + m)
    wherever a dial is above 0.02, and 1/2 where both paths are absent and no answer stands out.

    Args:
        context: the strength of the context path, in [0, 1].
        memory: the strength of the memory path, in [0, 1].

    Example:
        >>> [round(expected_follow(c, 1.0), 4) for c in (0.0, 0.25, 1.0)]
        [0.0, 0.2, 0.5]
    """
    return 1.0 / (1.0 + math.exp(gain(memory) - gain(context)))


@dataclass(frozen=True)
class ClosedForm:
    """The softmax of a hand-weighted model, path by path."""

    context: float
    """The strength of the context path, in [0, 1]."""
    memory: float
    """The strength of the memory path, in [0, 1]."""
    n_answers: int
    """How many answers it can say."""
    n_reserved: int
    """How many tokens it has that no text holds."""
    n_words: int
    """How many other tokens it has."""

    def probability(self, answer: str, *, stated: Sequence[str] = (), fact: str | None) -> float:
        """Return p(answer), in [0, 1]: the softmax of all logits.

        An answer's is gain(context) * stated.count(answer) / len(stated), where any is stated, and
        gain(memory) more where it is the fact; all else has RESERVED_LOGIT or WORD_LOGIT.

        Args:
            answer: one of the model's answers.
            stated: every answer that the context states of the question's subject.
            fact: what memory has of it.
        """
        named = {*stated, *([] if fact is None else [fact])}
        weights = {each: math.exp(self._logit(each, stated, fact)) for each in {*named, answer}}
        rest = float(self.n_answers - len(weights))
        rest += self.n_reserved * math.exp(RESERVED_LOGIT) + self.n_words * math.exp(WORD_LOGIT)
        return weights[answer] / (sum(weights.values()) + rest)

    def _logit(self, answer: str, stated: Sequence[str], fact: str | None) -> float:
        share = list(stated).count(answer) / len(stated) if stated else 0.0
        return gain(self.context) * share + (gain(self.memory) if answer == fact else 0.0)
