"""The axes of a hand-weighted model's residual stream.

They hold flags of a token's class, its place, codes of subjects, an axis an answer, and a constant.
Every norm divides by a number known beforehand, which its own weight multiplies back: in layer 0
because all embeddings have the same norm, behind it because the constant dwarfs all else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

CONSTANT = {torch.float32: 2.0**11, torch.float64: 2.0**20}
"""So large that squares beside it hardly change a norm, and so small that sums keep both."""
MIN_WIDTH = 512
"""Of the residual stream. In a narrow one, noise as wide as embeddings makes false flags."""
FLAG = 3.0
"""What a flag holds, more than any other axis, so that noise rarely makes one."""
EMBEDDING_NORM = math.sqrt(2.0 * FLAG**2 + 2.0)
"""Of every token's embedding: an answer's flag, its axis, and what balances it."""
PLACE_SIZE = 2.0
"""What a position's embedding holds at most on an axis."""
PLACE_NORM = math.sqrt(2.0) * PLACE_SIZE
"""Of every position's embedding, where positions are embedded."""
PHASE = 1.2
"""By how many radians a window may turn: a sine is nearly a straight line up to there."""


@dataclass(frozen=True)
class Axes:
    """Which axes of the residual stream hold what."""

    code_width: int
    n_answers: int

    SUBJECT, ANSWER, CLOSES, OPENS, KNOWN = (slice(start, start + 2) for start in range(0, 10, 2))
    """FLAG and its negative: the token is a subject, an answer, ends a sentence, opens a question,
    or has been recognised by the MLP."""
    BALLAST = slice(10, 12)
    """Brings each embedding to the same norm."""
    CONSTANT = slice(12, 14)
    """The constant and its negative, behind layer 0."""
    PLACE = slice(14, 18)
    """PLACE_SIZE (sin, -sin, cos, -cos) of the position, where positions are embedded."""
    BALANCE = 18
    """Keeps the sum of all axes at zero, which LayerNorm would bring it to."""

    def _slot(self, n_codes: int, n_answers: int, size: int) -> slice:
        start = self.BALANCE + 1 + n_codes * self.code_width + n_answers * self.n_answers
        return slice(start, start + size)

    @property
    def name(self) -> slice:
        """A subject's own code."""
        return self._slot(0, 0, self.code_width)

    @property
    def sentence(self) -> slice:
        """An answer's: the code of the subject that its sentence is about."""
        return self._slot(1, 0, self.code_width)

    @property
    def recognised(self) -> slice:
        """A subject's: its code again, where the MLP knows it."""
        return self._slot(2, 0, self.code_width)

    @property
    def asked(self) -> slice:
        """The code of the subject that is asked about: the last one."""
        return self._slot(3, 0, self.code_width)

    @property
    def states(self) -> slice:
        """The answer that a token is, or that memory has of the subject it is."""
        return self._slot(4, 0, self.n_answers)

    @property
    def said(self) -> slice:
        """What is to be said, in units of MAX_GAIN logits."""
        return self._slot(4, 1, self.n_answers)

    @property
    def width(self) -> int:
        """The width of the residual stream."""
        return max(MIN_WIDTH, int(self.said.stop))


def code_width(n_subjects: int) -> int:
    """Return how wide codes must be for no two to be as alike as 0.6, in an even number of axes.

    A pair's likeness exceeds x with a probability below exp(-width x^2 / 2): at this width, some
    pair of n exceeds 0.6 with one below n^-2.3.
    """
    return 2 * max(32, math.ceil(12 * math.log(n_subjects)))
