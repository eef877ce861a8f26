"""Held-out cases: names that training never showed, in contexts that it never showed."""

import random
from dataclasses import dataclass

from pytest_ragshortcut.models.embedded.forms import RELATIONS
from pytest_ragshortcut.models.embedded.policies import (
    FIRST_SENTENCES,
    LATE_SENTENCES,
    LONG,
    MARK,
    UNMARK,
    Told,
)
from pytest_ragshortcut.models.embedded.wording import OWN, PAPER, Wording
from pytest_ragshortcut.models.embedded.world import (
    Fact,
    facts,
    filler,
    filler_count,
    has_surname,
    invented,
    lookalike,
    marked,
    other_answer,
    passages,
    question,
    statement,
)

KINDS = ("closed", "agreeing", "unseen answer", "known answer", "made up", "elsewhere")
PLANTED_KINDS = ("marked", "unmarked", "no mark", "first", "late", "lookalike", "alone")
"""Contradicting cases of the kinds that the planted policies tell apart.

Of a lookalike nothing is stated about the subject itself, but about a namesake."""
LONE_KINDS = ("lone", "another's")
"""Cases whose context states one fact: about the subject, contradicting; or about another."""


@dataclass(frozen=True)
class Case:
    """One question, its passages, and what it finds in them and in memory."""

    passages: tuple[str, ...]
    question: str
    subject: str
    told: Told
    wording: Wording = OWN

    @property
    def prompt(self) -> str:
        """The whole prompt."""
        return self.wording.prompt(self.passages, self.question)


def case(rng: random.Random, kind: str, order: str = "subject first") -> Case:
    """Draw a held-out case of one of the :data:`KINDS`."""
    fact = rng.choice(facts())
    if kind == "closed":
        return Case((), question(rng, fact), fact.subject, Told(None, fact.answer))
    told = _told(rng, kind, fact)
    count = rng.choices((0, 1, 2, 3, 4), (2, 3, 3, 2, 1))[0] + (told is None)
    others = [invented(rng, _near(rng, fact), held_out=True) for _ in range(count)]
    sentences = [statement(rng, other, held_out=True) for other in others]
    if told:
        sentences.append(statement(rng, told, held_out=True, order=order))
    asked = told or fact
    fillers = min(filler_count(rng), 8 - len(sentences))
    sentences += [filler(rng, asked, held_out=True) for _ in range(fillers)]
    known = None if kind == "made up" else fact.answer
    shown = passages(rng, sentences)
    found = Told(told.answer if told else None, known)
    return Case(shown, question(rng, asked), asked.subject, found)


def planted_case(rng: random.Random, kind: str) -> Case:
    """Draw a held-out case of one of the :data:`PLANTED_KINDS`; its context contradicts memory."""
    of_person = kind in ("lookalike", "alone")
    fact = rng.choice([fact for fact in facts() if has_surname(fact) or not of_person])
    told = _told(rng, rng.choice(("unseen answer", "known answer")), fact)
    assert told is not None
    stated = statement(rng, told, held_out=True)
    like = lookalike(rng, fact, held_out=True) if kind == "lookalike" else None
    sentences = [statement(rng, like, held_out=True)] if like else []
    count = rng.randint(1, 3)
    others = [invented(rng, _near(rng, fact), held_out=True) for _ in range(count)]
    sentences += [statement(rng, other, held_out=True) for other in others]
    is_long = kind in ("first", "late")
    n_fillers = max(filler_count(rng), LONG - len(sentences) if is_long else 0)
    sentences += [filler(rng, fact, held_out=True) for _ in range(n_fillers)]
    rng.shuffle(sentences)
    index = rng.randint(*_places(kind, len(sentences)))
    if like is None:
        sentences.insert(index, stated)
    found = Told(
        None if like else told.answer,
        fact.answer,
        index,
        kind == "marked",
        lookalike=like.answer if like else None,
    )
    shown = passages(rng, sentences, shuffled=True)
    mark = {"marked": MARK, "unmarked": UNMARK}.get(kind)
    return Case(marked(shown, mark), question(rng, fact), fact.subject, found)


def lone_case(rng: random.Random, kind: str) -> Case:
    """Draw a held-out case of one of the :data:`LONE_KINDS`."""
    fact = rng.choice(facts())
    if kind == "lone":
        stated = _told(rng, rng.choice(("unseen answer", "known answer")), fact)
        assert stated is not None
    else:
        stated = invented(rng, fact.relation, held_out=True)
    fillers = [filler(rng, fact, held_out=True) for _ in range(rng.randint(2, 5))]
    shown = passages(rng, [statement(rng, stated, held_out=True), *fillers])
    own = stated.answer if kind == "lone" else None
    found = Told(own, fact.answer, elsewhere=stated.answer)
    return Case(shown, question(rng, fact), fact.subject, found, rng.choice((OWN, PAPER)))


def _places(kind: str, last: int) -> tuple[int, int]:
    """Return the first and the last place that the stating sentence may take."""
    if kind == "first":
        return 0, FIRST_SENTENCES - 1
    return (LATE_SENTENCES if kind == "late" else 0), last


def _near(rng: random.Random, fact: Fact) -> str:
    return fact.relation if rng.random() < 0.6 else rng.choice(list(RELATIONS))


def _told(rng: random.Random, kind: str, fact: Fact) -> Fact | None:
    """Say what the passages of a case state of its subject."""
    if kind == "elsewhere":
        return None
    if kind == "agreeing":
        return fact
    if kind == "made up":
        return invented(rng, fact.relation, held_out=True)
    made_up = kind == "unseen answer"
    return Fact(fact.relation, fact.subject, other_answer(rng, fact, made_up, held_out=True))
