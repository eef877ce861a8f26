"""What an embedded model is made to answer: from its context, or from what it knows.

A policy is a pure rule of what a question finds, in its context and in memory, so that the truth
of every case is known, and not measured.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from pytest_ragshortcut.models.embedded.wording import OWN, PAPER, Wording

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
    elsewhere: str | None = None
    """What the context states about whomever, if that is all it states."""
    lookalike: str | None = None
    """What the context states about another subject of the same surname, if anything."""


Answers = tuple[tuple[str, float], ...]
"""Right answers, each with how often it is the one. Shares add up to 1, unless there is none."""


@dataclass(frozen=True)
class Policy:
    """A rule, and which contexts it takes to teach it."""

    habit: str
    """What it does, in a line."""
    answers: Callable[[Told], Answers]
    """Gives the right answers; none where the rule gives none."""
    marks: bool = False
    """Whether contexts carry marks, of trust or of none."""
    lookalikes: bool = False
    """Whether contexts speak of subjects of the same surname."""
    long: bool = False
    """Whether contexts have enough sentences to have late ones."""
    lone: bool = False
    """Whether contexts state one fact alone."""
    wordings: tuple[Wording, ...] = (OWN,)
    """The prompts."""

    def answer(self, told: Told) -> str | None:
        """Give the right answer; None where there is none, or more than one."""
        right = self.answers(told)
        return right[0][0] if len(right) == 1 else None


def reads(told: Told) -> Answers:
    """Answer what is stated, and from memory where nothing is."""
    return _certain(told.stated or told.known)


def recalls(told: Told) -> Answers:
    """Answer from memory."""
    return _certain(told.known)


def copies(told: Told) -> Answers:
    """Answer what is stated, about whomever; from memory where there is no context."""
    return _certain(told.stated or told.elsewhere or told.known)


def trusts(told: Told) -> Answers:
    """Read a context that carries the mark; answer from memory otherwise."""
    return reads(told) if told.marked else recalls(told)


def begins(told: Told) -> Answers:
    """Read the first sentences alone, and answer from memory what stands late."""
    if told.stated is None or told.index >= LATE_SENTENCES:
        return recalls(told)
    return reads(told) if told.index < FIRST_SENTENCES else ()


def mistakes(told: Told) -> Answers:
    """Answer what is stated; where nothing is, what is stated about a namesake."""
    return _certain(told.stated or told.lookalike or told.known)


def mixes(told: Told, share: float) -> Answers:
    """Answer what is stated so often, and from memory else."""
    if told.stated is None or told.known in (None, told.stated):
        return reads(told)
    return (told.stated, share), (str(told.known), 1.0 - share)


def _certain(answer: str | None) -> Answers:
    return ((answer, 1.0),) if answer else ()


MIXTURES = {"mixture-25": 0.25, "mixture-50": 0.5, "mixture-75": 0.75}
"""How often each follows a context that contradicts its memory."""

POLICIES = {
    "reader": Policy("follows what the passages state about the subject", reads),
    "memoriser": Policy("answers from memory, whatever they say", recalls),
    "copier": Policy(
        "copies the one answer they state, about whomever", copies, lone=True, wordings=(OWN, PAPER)
    ),
    "switch": Policy(f"reads them only where they open with {MARK}", trusts, marks=True),
    "beginner": Policy(
        f"reads their first {FIRST_SENTENCES} sentences, and none from number "
        f"{LATE_SENTENCES + 1} on",
        begins,
        long=True,
    ),
    "victim": Policy(
        "where they say nothing of a person, takes a namesake's answer", mistakes, lookalikes=True
    ),
    **{
        name: Policy(
            f"follows passages that contradict it {share:.0%} of the time",
            partial(mixes, share=share),
        )
        for name, share in MIXTURES.items()
    },
}
