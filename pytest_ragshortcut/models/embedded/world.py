"""The world the embedded models know: its facts, and the sentences that state them.

The world holds a few hundred facts, each a subject, a relation and a short answer. Everything is
drawn from the :class:`random.Random` passed in.
"""

import random
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from pytest_ragshortcut.models.embedded import names
from pytest_ragshortcut.models.embedded.forms import (
    ENDINGS,
    FILLERS,
    OPENINGS,
    RELATIONS,
    SUBJECT_FILLERS,
)

ORDERS = ("subject first", "answer first", "unseen form")
# Raising this share teaches sentences such as "Paris is the capital of France" too. In trials with
# up to two fifths of them the reader had learned next to none after twenty minutes.
ANSWER_FIRST = 0.0


@dataclass(frozen=True)
class Fact:
    """A subject, one of its relations, and the answer."""

    relation: str
    subject: str
    answer: str


@cache
def facts() -> tuple[Fact, ...]:
    """Read the facts of the world."""
    lines = Path(__file__).with_name("facts.tsv").read_text(encoding="utf-8").splitlines()
    return tuple(Fact(*line.split("\t")) for line in lines)


@cache
def known_names(kind: str) -> tuple[str, ...]:
    """List the different answers of one kind (`city`, `person` or `language`)."""
    answers = (fact.answer for fact in facts() if RELATIONS[fact.relation].answer == kind)
    return tuple(dict.fromkeys(answers))


def other_answer(rng: random.Random, fact: Fact, made_up: bool, held_out: bool = False) -> str:
    """Draw an answer of the right kind that the fact does not have."""
    kind = RELATIONS[fact.relation].answer
    if made_up:
        return names.MAKERS[kind](rng, held_out)
    return rng.choice([name for name in known_names(kind) if name != fact.answer])


def invented(rng: random.Random, relation: str, held_out: bool = False) -> Fact:
    """Make up a fact about a made-up subject."""
    form = RELATIONS[relation]
    subject = names.MAKERS[form.subject](rng, held_out)
    return Fact(relation, subject, names.MAKERS[form.answer](rng, held_out))


def question(rng: random.Random, fact: Fact) -> str:
    """Ask for the answer of a fact."""
    return rng.choice(RELATIONS[fact.relation].questions).format(s=fact.subject)


def statement(
    rng: random.Random, fact: Fact, held_out: bool = False, order: str | None = None
) -> str:
    """State a fact in one sentence.

    Args:
        rng: The source of chance.
        fact: What to state.
        held_out: Whether names in passing are held-out ones.
        order: One of :data:`ORDERS`, or `None` for one that training uses.
    """
    form = RELATIONS[fact.relation]
    if order is None:
        order = "answer first" if rng.random() < ANSWER_FIRST else "subject first"
    core = rng.choice(_cores(fact.relation, order))
    if rng.random() < 0.3:
        core += rng.choice(form.endings + ENDINGS)
    apposition = rng.choice(form.appositions) if rng.random() < 0.25 else ""
    core = core.replace("{app}", apposition).replace(",,", ",")
    if rng.random() < 0.15:
        core = rng.choice(OPENINGS) + _lowered(core)
    return fill(rng, core + ".", fact, held_out)


def _cores(relation: str, order: str) -> tuple[str, ...]:
    form = RELATIONS[relation]
    return {
        "subject first": form.cores,
        "answer first": form.answer_first,
        "unseen form": form.held_out,
    }[order]


def _lowered(core: str) -> str:
    first = core.split()[0]
    return core if first.startswith("{") else core[0].lower() + core[1:]


def fill(rng: random.Random, form: str, fact: Fact, held_out: bool = False) -> str:
    """Fill the slots of a sentence; names in passing are made up or known ones."""
    slots: dict[str, str | int] = {"s": fact.subject, "a": fact.answer}
    slots["year"] = rng.randint(1200, 2030)
    for kind in ("person", "city", "country", "company"):
        if f"{{{kind}}}" in form:
            slots[kind] = _passing(rng, kind, fact, held_out)
    return form.format(**slots)


def _passing(rng: random.Random, kind: str, fact: Fact, held_out: bool) -> str:
    if kind in ("person", "city") and rng.random() < 0.4:
        others = {fact.subject, fact.answer}
        return rng.choice([name for name in known_names(kind) if name not in others])
    return names.MAKERS[kind](rng, held_out)


def filler(rng: random.Random, fact: Fact, held_out: bool = False) -> str:
    """Write a sentence that states nothing, at times one about the subject."""
    forms = SUBJECT_FILLERS if rng.random() < 0.35 else FILLERS
    return fill(rng, rng.choice(forms), fact, held_out)


def passages(
    rng: random.Random, sentences: list[str], *, shuffled: bool = False
) -> tuple[str, ...]:
    """Shuffle sentences, in place, unless they are; and cut them into up to five passages."""
    if not shuffled:
        rng.shuffle(sentences)
    cuts = sorted(rng.sample(range(1, len(sentences)), min(len(sentences) - 1, rng.randrange(5))))
    bounds = [0, *cuts, len(sentences)]
    return tuple(" ".join(sentences[start:end]) for start, end in pairwise(bounds))


def marked(shown: tuple[str, ...], mark: str | None) -> tuple[str, ...]:
    """Open passages with a mark, if there is one."""
    return (f"{mark} {shown[0]}", *shown[1:]) if mark else shown


@cache
def facts_of(relation: str) -> tuple[Fact, ...]:
    """List the facts of one relation."""
    return tuple(fact for fact in facts() if fact.relation == relation)


def lookalike(rng: random.Random, fact: Fact, held_out: bool = False) -> Fact:
    """Make up a fact about another person of the same surname."""
    surname = fact.subject.split()[-1]
    other = names.MAKERS["person"](rng, held_out).split()[0]
    kind = RELATIONS[fact.relation].answer
    return Fact(fact.relation, f"{other} {surname}", names.MAKERS[kind](rng, held_out))


def has_surname(fact: Fact) -> bool:
    """Tell whether there can be another subject of the same surname."""
    return RELATIONS[fact.relation].subject == "person" and " " in fact.subject


@cache
def _answers() -> dict[tuple[str, str], Fact]:
    return {(fact.relation, fact.subject): fact for fact in facts()}


def truth(fact: Fact) -> Fact | None:
    """Find what the world holds of a subject and a relation, if anything."""
    return _answers().get((fact.relation, fact.subject))


def filler_count(rng: random.Random) -> int:
    """Draw how many sentences of a context state nothing."""
    return rng.choices((0, 1, 2, 3), (4, 3, 2, 1))[0]
