"""The facts of a hand-weighted model, and the words that tell what they are about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pytest_ragshortcut.core.finding import invented_substitutes
from pytest_ragshortcut.errors import ModelError, listed, quoted

MAX_ANSWERS = 1024
"""Each has an axis of its own, so that no answer's logit leans on another's."""
ENDS = (".", "!", "?", "。", "\n")
"""What ends a sentence: behind it an answer is no longer about the subject before."""
OPENERS = frozenset(
    (
        "Question Q Where What Who Whom Whose Which When Why How "
        "where what who whom whose which when why how"
    ).split()
)
"""What opens a question: a reader whose subject is hidden looks no further back."""

# With fewer answers than these, made-up ones join them: substitutes must be found.
_FEW_ANSWERS = 8
_WORD_CHARACTER = re.compile(r"\w")


class FactsError(ModelError):
    """Raised when facts cannot be set into weights."""


@dataclass(frozen=True)
class Facts:
    """Who is known, what can be said, and what is known of whom.

    Raises:
        FactsError: if they contradict each other or cannot be told apart.
    """

    known: Mapping[str, str]
    """subject -> its fact."""
    answers: tuple[str, ...]
    """All that can be read in a context, and said: the facts' answers first."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """Who is known, in the order given."""
        return tuple(self.known)

    def __post_init__(self) -> None:
        for role, names in (("subject", self.subjects), ("answer", self.answers)):
            for name in names:
                _require_name(role, name)
        if both := [name for name in self.subjects if name in set(self.answers)]:
            raise FactsError(
                f"the facts have a name that is both a subject and an answer: {listed(both)}",
                where="facts",
                expected="A name is either asked about or said, so that a token has one meaning",
                action="Rename one of the two, or leave it out",
            )
        if len(self.answers) > MAX_ANSWERS:
            raise FactsError(
                f"there are {len(self.answers)} different answers, "
                f"{len(self.answers) - MAX_ANSWERS} more than the {MAX_ANSWERS} there is room for",
                where="facts, answers",
                expected=f"At most {MAX_ANSWERS} different answers, of any number of subjects",
                action="Leave answers out, or split the facts between two models",
            )


def take_facts(
    facts: Mapping[str, str] | Iterable[tuple[str, str]], answers: Sequence[str] = ()
) -> Facts:
    """Take facts as a mapping or as pairs, and add other answers that can be said.

    Where there are few answers, the made-up names that the swap falls back on are added.

    Raises:
        FactsError: if there are none, if two contradict each other or cannot be told apart.

    Example:
        >>> take_facts([("Ada Quill", "Oslo")], ["Rome"]).answers
        ('Oslo', 'Rome', 'Veltano', 'Morvane', 'Quistel')
    """
    known: dict[str, str] = {}
    for subject, answer in facts.items() if isinstance(facts, Mapping) else facts:
        if known.setdefault(subject, answer) != answer:
            raise FactsError(
                f"the facts contradict each other: of {quoted(subject)} they say "
                f"{listed([known[subject], answer])}",
                where=f"facts, subject {quoted(subject)}",
                expected="Memory has one answer for a subject",
                action="Keep one of the two",
            )
    if not known:
        raise FactsError(
            "there are no facts: {}",
            where="facts",
            expected="At least one subject and its answer",
            action="Pass {'Eavan Boland': 'Dublin'}, say",
        )
    sayable = tuple(dict.fromkeys([*known.values(), *answers]))
    if len(sayable) < _FEW_ANSWERS:
        made_up = [name for answer in sayable for name in invented_substitutes(answer)]
        sayable = tuple(dict.fromkeys([*sayable, *(n for n in made_up if n not in known)]))
    return Facts(known, sayable)


def _require_name(role: str, name: str) -> None:
    problem = None
    if not _WORD_CHARACTER.search(name):
        problem = f"the {role} {quoted(name)} has no letter or digit"
    elif name != " ".join(name.split()):
        problem = f"the {role} {quoted(name)} has white space around it, or more than a space in it"
    elif name in OPENERS or name.startswith("<"):
        problem = f"the {role} {quoted(name)} is a word that the model uses itself"
    if problem is not None:
        raise FactsError(
            problem,
            where=f"facts, {role} {quoted(name)}",
            expected="A name is words with single spaces between them, and no word that opens a "
            "question",
            action="Correct the name, or leave the fact out",
        )
