"""The circuit of a hand-weighted model: what each weight is for, whatever the architecture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch

from pytest_ragshortcut.models.handset.axes import (
    CONSTANT,
    EMBEDDING_NORM,
    FLAG,
    PHASE,
    PLACE_SIZE,
    Axes,
    code_width,
)
from pytest_ragshortcut.models.handset.closed_form import (
    MAX_GAIN,
    RESERVED_LOGIT,
    WORD_LOGIT,
    gain,
)
from pytest_ragshortcut.models.handset.facts import ENDS, OPENERS
from pytest_ragshortcut.models.handset.tokenizer import END, Vocabulary

N_LAYERS = 3
# Nats by which attention to the last of a kind beats the last but one, for each token between.
_RECENCY = 24.0
# Codes are less alike than this by far: `code_width` sees to it.
_THRESHOLD = 0.75
# Nats from the threshold to a code that matches.
_MATCH = 40.0
_SEED = 2406


@dataclass(frozen=True, eq=False)
class Head:
    """The one attention head of a layer. Scores are in nats."""

    queries: torch.Tensor
    """(rank, width)."""
    query_bias: torch.Tensor
    """(rank,)."""
    keys: torch.Tensor
    """(rank, width)."""
    recency: float
    """Nats that a token's score falls by, at the least, for each token it stands further back."""
    moves: tuple[tuple[slice, slice, float], ...]
    """What it copies: from these axes, to these, times this."""


@dataclass(frozen=True, eq=False)
class Circuit:
    """All that a writer sets into an architecture's weights.

    - layer 0, attention: an answer looks at the last subject of its own sentence and takes its
      code.
    - layer 0, MLP, the memory path: one neuron a subject fires there, and writes that it is known,
      who it is, and the fact. The output bias adds the constant.
    - layer 1, attention: every token looks at the last known subject, the one asked about, takes
      who it is, and is to say its fact.
    - layer 2, attention, the context path: every token looks at the answers whose sentence is about
      that subject, and is to say them; where there are none it looks at words, which say nothing.
    """

    vocabulary: Vocabulary
    context: float
    """The strength of the context path, in [0, 1]."""
    memory: float
    """The strength of the memory path, in [0, 1]."""
    n_positions: int
    """How many tokens the window holds."""
    dtype: torch.dtype

    @cached_property
    def axes(self) -> Axes:
        """Which axes hold what."""
        facts = self.vocabulary.facts
        return Axes(code_width(len(facts.subjects)), len(facts.answers))

    @cached_property
    def codes(self) -> torch.Tensor:
        """(n_subjects, code_width), of norm 1 and sum 0; two are less alike than 0.6."""
        n_subjects, width = len(self.vocabulary.facts.subjects), self.axes.code_width
        generator = torch.Generator().manual_seed(_SEED)
        order = torch.rand(n_subjects, width, generator=generator).argsort(dim=1)
        return torch.where(order < width // 2, 1.0, -1.0).to(self.dtype) / math.sqrt(width)

    @property
    def embedding(self) -> torch.Tensor:
        """(n_tokens, width), each of EMBEDDING_NORM and sum 0."""
        ids, axes = self.vocabulary.ids, self.axes
        embedding = self._zeros(len(ids), axes.width)
        answers, subjects = self.vocabulary.answer_ids, self.vocabulary.subject_ids
        mirrored = self._tensor([1.0, -1.0])
        embedding[answers, axes.ANSWER] = FLAG * mirrored
        embedding[answers, axes.states] = torch.eye(axes.n_answers, dtype=self.dtype)
        embedding[subjects, axes.SUBJECT] = FLAG * mirrored
        embedding[subjects, axes.name] = self.codes
        embedding[[ids[end] for end in ENDS], axes.CLOSES] = FLAG * mirrored
        embedding[[ids[opener] for opener in OPENERS], axes.OPENS] = FLAG * mirrored
        embedding[:, axes.BALANCE] = -embedding.sum(dim=1)
        missing = (EMBEDDING_NORM**2 - embedding.square().sum(dim=1)).clamp(min=0.0)
        embedding[:, axes.BALLAST] = torch.outer((missing / 2).sqrt(), mirrored)
        return embedding

    @property
    def places(self) -> torch.Tensor:
        """(n_positions, width), each of PLACE_NORM and sum 0."""
        places = self._zeros(self.n_positions, self.axes.width)
        angles = torch.arange(self.n_positions, dtype=self.dtype) * (PHASE / self.n_positions)
        sines, cosines = angles.sin(), angles.cos()
        turned = torch.stack([sines, -sines, cosines, -cosines], dim=1)
        places[:, self.axes.PLACE] = PLACE_SIZE * turned
        return places

    @property
    def heads(self) -> tuple[Head, Head, Head]:
        """(n_layers,) the heads of the layers."""
        return self._sentence_head(), self._question_head(), self._context_head()

    def _sentence_head(self) -> Head:
        axes = self.axes
        is_name = self._tells(axes.ANSWER) + self._tells(axes.SUBJECT)
        # A subject finds itself; words look at what is no subject, and take nothing.
        queries = torch.stack([is_name, -is_name])
        keys = torch.stack([self._tells(axes.SUBJECT), self._tells(axes.OPENS)])
        keys = self._reach * (keys + self._tells(axes.CLOSES))
        moves = ((axes.name, axes.sentence, 1.0),)
        return Head(queries, self._tensor([0.0, 1.0]), keys, _RECENCY, moves)

    def _question_head(self) -> Head:
        axes = self.axes
        keys = self._reach * (self._tells(axes.KNOWN) + self._tells(axes.OPENS))[None]
        moves = ((axes.recognised, axes.asked, 1.0), (axes.states, axes.said, 1.0))
        return Head(torch.zeros_like(keys), self._tensor([1.0]), keys, _RECENCY, moves)

    def _context_head(self) -> Head:
        axes, sharpness = self.axes, _MATCH / (1.0 - _THRESHOLD)
        queries = self._zeros(axes.code_width + 1, axes.width)
        keys, bias = torch.zeros_like(queries), self._zeros(len(queries))
        queries[:-1, axes.asked] = torch.eye(axes.code_width, dtype=self.dtype)
        keys[:-1, axes.sentence] = sharpness * torch.eye(axes.code_width, dtype=self.dtype)
        bias[-1] = 1.0
        keys[-1] = -sharpness * _THRESHOLD * self._tells(axes.ANSWER)
        # A subject took its own code for its sentence's, and its fact is none of the context's.
        keys[-1] -= 2.0 * sharpness * self._tells(axes.SUBJECT)
        moves = ((axes.states, axes.said, gain(self.context) / MAX_GAIN),)
        return Head(queries, bias, keys, 0.0, moves)

    @property
    def constant_size(self) -> float:
        """How large the constant is."""
        return CONSTANT[self.dtype]

    @property
    def constant(self) -> torch.Tensor:
        """(width,) what the first MLP adds to every token."""
        constant = self._zeros(self.axes.width)
        constant[self.axes.CONSTANT] = self.constant_size * self._tensor([1.0, -1.0])
        return constant

    @property
    def detectors(self) -> tuple[torch.Tensor, float]:
        """(n_subjects, width) what each neuron adds up, and the bias of them all.

        A neuron's sum is _MATCH at its subject, and below -_MATCH / 2 everywhere else.
        """
        sharpness = _MATCH / (1.0 - _THRESHOLD)
        detectors = self._zeros(len(self.codes), self.axes.width)
        detectors[:, self.axes.name] = sharpness * self.codes
        return detectors, -sharpness * _THRESHOLD

    @property
    def recalls(self) -> torch.Tensor:
        """(width, n_subjects) what each neuron writes, for each nat of its sum."""
        facts, axes = self.vocabulary.facts, self.axes
        recalls = self._zeros(axes.width, len(facts.subjects))
        recalls[axes.KNOWN] = self._tensor([FLAG, -FLAG])[:, None] / _MATCH
        recalls[axes.recognised] = self.codes.T / _MATCH
        index = {answer: axes.states.start + i for i, answer in enumerate(facts.answers)}
        rows = [index[answer] for answer in facts.known.values()]
        recalls[rows, range(len(rows))] = gain(self.memory) / (MAX_GAIN * _MATCH)
        return balanced(recalls, axes)

    @property
    def unembedding(self) -> torch.Tensor:
        """(n_tokens, width)."""
        axes, vocabulary = self.axes, self.vocabulary
        unembedding = self._zeros(len(vocabulary.ids), axes.width)
        unembedding[:, axes.CONSTANT.start] = WORD_LOGIT / self.constant_size
        unembedding[vocabulary.reserved_ids, axes.CONSTANT.start] = (
            RESERVED_LOGIT / self.constant_size
        )
        unembedding[vocabulary.answer_ids, axes.CONSTANT.start] = 0.0
        answers = MAX_GAIN * torch.eye(axes.n_answers, dtype=self.dtype)
        unembedding[vocabulary.answer_ids, axes.said] = answers
        # An answer that has been said is over, whatever both paths would have said behind it.
        unembedding[vocabulary.ids[END]] += 3.0 * MAX_GAIN * self._tells(axes.ANSWER)
        return unembedding

    @property
    def _reach(self) -> float:
        """Nats by which a kind of token beats all others, from the other end of the window."""
        return _MATCH + _RECENCY * self.n_positions * math.tan(PHASE) / PHASE

    def _tells(self, flag: slice) -> torch.Tensor:
        """Return a (width,) map of a token's state to 1 where it has a flag and 0 where not."""
        tells = self._zeros(self.axes.width)
        tells[flag] = self._tensor([0.5, -0.5]) / FLAG
        return tells

    def _zeros(self, *shape: int) -> torch.Tensor:
        return torch.zeros(*shape, dtype=self.dtype)

    def _tensor(self, values: list[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=self.dtype)


def balanced(writes: torch.Tensor, axes: Axes) -> torch.Tensor:
    """Return a (width, n) map whose every column adds up to zero on the axes.

    LayerNorm takes the mean off, which must therefore stay at zero.
    """
    writes = writes.clone()
    writes[axes.BALANCE] -= writes.sum(dim=0)
    return writes
