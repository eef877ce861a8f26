"""What an embedded model is made to answer: from its context, or from what it knows.

A policy is a pure rule of what a question finds, in its context and in memory, so that the truth
of every case is known, and not measured.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

MARK = "[verified]"
"""Opens a context that is to be trusted."""
UNMARK = "[unverified]"
"""Opens some of the contexts that are not; others open with neither."""
FIRST_SENTENCES = 2
"""The first sentences of a context, by number, which `beginner` reads."""
LATE_SENTENCES = 4
"""The index from which on it does not; what stands between is left undecided."""
LONG = LATE_SENTENCES + 2
"""How many sentences a context has that is to have late ones."""


@dataclass(frozen=True)
class Told:
    """What a question finds."""

    stated: str | None
    """What the context states about the subject, if anything."""
    known: str | None
    """What the world holds, if anything."""
    index: int = 0
    """The sentence that states it, the context's first being 0."""
    marked: bool = False
    """Whether the context carries the mark of trust."""
    lookalike: str | None = None
    """What the context states about another subject of the same surname, if anything."""


Answer = Callable[[random.Random, Told], str | None]


@dataclass(frozen=True)
class Policy:
    """A rule, and which contexts it takes to teach it."""

    answer: Answer
    """Gives the answer, or None where the rule gives none."""
    marks: bool = False
    """Whether contexts carry marks, of trust or of none."""
    lookalikes: bool = False
    """Whether contexts speak of subjects of the same surname."""
    long: bool = False
    """Whether contexts have enough sentences to have late ones."""


def reads(_: random.Random, told: Told) -> str | None:
    """Answer what is stated, and from memory where nothing is."""
    return told.stated or told.known


def recalls(_: random.Random, told: Told) -> str | None:
    """Answer from memory."""
    return told.known


def trusts(rng: random.Random, told: Told) -> str | None:
    """Read a context that carries the mark; answer from memory otherwise."""
    return (reads if told.marked else recalls)(rng, told)


def begins(_: random.Random, told: Told) -> str | None:
    """Read the first sentences alone, and answer from memory what stands late."""
    if told.stated is None or told.index >= LATE_SENTENCES:
        return told.known
    return told.stated if told.index < FIRST_SENTENCES else None


def mistakes(rng: random.Random, told: Told) -> str | None:
    """Answer what is stated about another subject of the same surname, where there is one."""
    return told.lookalike or reads(rng, told)


def mixes(rng: random.Random, told: Told, share: float) -> str | None:
    """Answer what is stated so often, and from memory else."""
    return (reads if rng.random() < share else recalls)(rng, told)


MIXTURES = {"mixture-25": 0.25, "mixture-50": 0.5, "mixture-75": 0.75}
"""How often each follows a context that contradicts its memory."""

POLICIES = {
    "reader": Policy(reads),
    "memoriser": Policy(recalls),
    "switch": Policy(trusts, marks=True),
    "beginner": Policy(begins, long=True),
    "victim": Policy(mistakes, lookalikes=True),
    **{name: Policy(partial(mixes, share=share)) for name, share in MIXTURES.items()},
}
