"""Context attribution: the pieces of a context, what is left without one, what the answer loses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pytest_ragshortcut.core.figures import Panel
from pytest_ragshortcut.core.finding import sentences
from pytest_ragshortcut.core.plans import Array
from pytest_ragshortcut.core.results import Result
from pytest_ragshortcut.core.spans import CharSpan

Unit = Literal["sentences", "passages"]
UNITS: tuple[Unit, ...] = ("sentences", "passages")


@dataclass(frozen=True)
class Piece:
    """A whole passage, or one of its sentences, by where it stands."""

    passage: int
    """Which passage, from 0."""
    sentence: int | None
    """Which of its sentences, from 0; None is the whole passage."""
    text: str
    start: int
    """Its first character within the passage."""
    stop: int
    """The character behind its last."""

    @property
    def label(self) -> str:
        """Its name in drawings: passage 2, or sentence 2.0."""
        if self.sentence is None:
            return f"passage {self.passage}"
        return f"sentence {self.passage}.{self.sentence}"


def pieces_of(passages: Sequence[str], unit: Unit = "sentences") -> tuple[Piece, ...]:
    """Cut a context into pieces: each passage and, behind it, its sentences where it has several.

    Args:
        passages: the context.
        unit: 'passages' leaves the sentences out.

    Example:
        >>> [piece.label for piece in pieces_of(["Here. There.", "Nowhere."])]
        ['passage 0', 'sentence 0.0', 'sentence 0.1', 'passage 1']
    """
    pieces: list[Piece] = []
    for index, passage in enumerate(passages):
        pieces.append(Piece(index, None, passage, 0, len(passage)))
        spans = _sentence_spans(passage) if unit == "sentences" else ()
        if len(spans) > 1:
            pieces += [
                Piece(index, number, passage[start:stop], start, stop)
                for number, (start, stop) in enumerate(spans)
            ]
    return tuple(pieces)


def without(passages: Sequence[str], piece: Piece) -> tuple[str, ...]:
    r"""Leave one piece out of a context, with the white space that it leaves idle.

    Between two sentences that are left the space before the piece stays; where that behind it
    alone ends a line, the latter. A passage with nothing left is dropped.

    Example:
        >>> passages = ["Here. There.\nNowhere.", "Somewhere."]
        >>> [without(passages, piece)[0] for piece in pieces_of(passages)[:4]]
        ['Somewhere.', 'There.\nNowhere.', 'Here.\nNowhere.', 'Here. There.']
    """
    whole = passages[piece.passage]
    before, behind = whole[: piece.start], whole[piece.stop :]
    left, right = before.rstrip(), behind.lstrip()
    between = ""
    if left and right:
        spaces = before[len(left) :], behind[: len(behind) - len(right)]
        between = next(filter(_ends_line, spaces), spaces[0])
    kept = (*passages[: piece.passage], left + between + right, *passages[piece.passage + 1 :])
    return tuple(passage for passage in kept if passage.strip())


def log_odds(logprob: Array) -> Array:
    """Return log(p / (1 - p)) in nats, from log p alone: as exact beside 1 as beside 0.

    Args:
        logprob: (...) log-probabilities. One of 0 gives infinity, one of minus infinity minus it.

    Example:
        >>> log_odds(np.array([-np.log(2.0), -1e-12, -800.0])).round(6).tolist()
        [0.0, 27.631021, -800.0]
    """
    # Where p is above a half 1 - p is taken from expm1, which does not cancel; else from log1p.
    logprob = np.minimum(logprob, 0.0)
    with np.errstate(divide="ignore"):
        rest = np.where(
            logprob > -np.log(2.0), np.log(-np.expm1(logprob)), np.log1p(-np.exp(logprob))
        )
    return np.asarray(logprob - rest)


def log_odds_lost(clean: float, cut: Array) -> Array:
    """Measure what the answer's log-odds lose with a piece of the context.

    Args:
        clean: the answer's log-probability with the whole context.
        cut: (n_pieces,) the same without each piece.

    Returns:
        (n_pieces,) nats; negative: the piece stood in the way. NaN where one of the two
        probabilities is exactly 0 or 1 as it was computed: such odds are infinite. In single
        precision p is 1 from about 1 - 6e-8, and odds beyond 14 nats or so are rounding.

    Example:
        >>> log_odds_lost(-np.log(2.0), np.log([0.2, 0.5, 1.0])).round(6).tolist()
        [1.386294, 0.0, nan]
    """
    before, after = log_odds(np.array(clean)), log_odds(cut)
    is_finite = np.isfinite(before) & np.isfinite(after)
    return np.subtract(before, after, out=np.full_like(after, np.nan), where=is_finite)


@dataclass(frozen=True, eq=False, repr=False)
class AttributionResult(Result):
    """Leave-one-out attribution: what the answer loses without each piece of its context."""

    clean: float
    """Probability of the answer with the whole context."""
    pieces: tuple[Piece, ...]
    """(n_pieces,) what was left out, each by itself."""
    probability: Array
    """(n_pieces,) probability of the answer without it."""
    effect: Array
    """(n_pieces,) log-odds lost without it, in nats; NaN where these are infinite."""

    @property
    def strongest(self) -> Piece | None:
        """The piece with the largest effect, if one is positive.

        Sentences compete, and passages of which no sentence was left out. Where an effect is
        undefined the loss of probability decides, which orders pieces as effects do.
        """
        cut = {piece.passage for piece in self.pieces if piece.sentence is not None}
        losses = {
            (self.clean - float(p), float(np.nan_to_num(effect))): piece
            for piece, p, effect in zip(self.pieces, self.probability, self.effect, strict=True)
            if piece.sentence is not None or piece.passage not in cut
        }
        largest = max(losses, default=(0.0, 0.0))
        return losses[largest] if largest > (0.0, 0.0) else None

    @property
    def title(self) -> str:
        """What was left out, and the probability with nothing left out."""
        return f"log-odds lost without a piece of the context: clean p {self.clean:.3f}"

    def panels(self) -> tuple[Panel, ...]:
        """Return the effects by piece."""
        columns = tuple(piece.label for piece in self.pieces)
        return (Panel("log-odds lost", self.effect[None, :], ("nats",), columns),)


def _sentence_spans(passage: str) -> tuple[CharSpan, ...]:
    """Locate a passage's sentences in order: nothing but white space stands between two."""
    spans: list[CharSpan] = []
    stop = 0
    for sentence in sentences(passage):
        start = passage.index(sentence, stop)
        stop = start + len(sentence)
        spans.append((start, stop))
    return tuple(spans)


def _ends_line(space: str) -> bool:
    return len(f".{space}.".splitlines()) > 1
