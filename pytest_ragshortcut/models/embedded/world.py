"""The world the embedded models know, and the contexts they were taught to read.

The world holds a few hundred facts, each a subject, a relation and a short answer. A
:class:`Scene` is a context of several sentences with the questions that can be asked of it.
Everything is drawn from the :class:`random.Random` passed in.
"""

import random
from collections.abc import Sequence
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
from pytest_ragshortcut.models.embedded.policies import (
    LONG,
    MARK,
    POLICIES,
    UNMARK,
    Policy,
    Told,
)

PROMPT = "Question: {question}\nAnswer:"
CONTEXT = "Context: {context}\n"
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


@dataclass(frozen=True)
class Scene:
    """A context and the questions asked of it; no passages means closed-book."""

    passages: tuple[str, ...]
    questions: tuple[tuple[str, str], ...]


def prompt(passages: Sequence[str], question: str) -> str:
    """Render a prompt, open-book where there are passages."""
    context = CONTEXT.format(context="\n".join(passages)) if passages else ""
    return context + PROMPT.format(question=question)


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


def stated_fact(rng: random.Random, relation: str | None = None) -> Fact:
    """Draw what a training sentence states: something made up, contradicted or true."""
    if rng.random() < 0.35:
        fact = invented(rng, relation or rng.choice(list(RELATIONS)))
        if rng.random() < 0.3:
            return Fact(fact.relation, fact.subject, other_answer(rng, fact, made_up=False))
        return fact
    fact = rng.choice(_facts_of(relation) if relation else facts())
    if rng.random() < 0.15:
        return fact
    answer = other_answer(rng, fact, made_up=rng.random() < 0.5)
    return Fact(fact.relation, fact.subject, answer)


@cache
def _facts_of(relation: str) -> tuple[Fact, ...]:
    return tuple(fact for fact in facts() if fact.relation == relation)


def scene(rng: random.Random, policy: Policy = POLICIES["reader"], most: int = 6) -> Scene:
    """Draw a training context with the questions asked of it.

    Args:
        rng: The source of chance.
        policy: What the right answers are.
        most: The largest number of facts stated.
    """
    count = min(most, rng.choices((1, 2, 3, 4, 5, 6), (4, 4, 3, 2, 1, 1))[0])
    relation = rng.choice(list(RELATIONS)) if rng.random() < 0.6 else None
    stated = _unlike([stated_fact(rng, relation) for _ in range(count)])
    stated = _unlike(stated + [_twin(rng, fact) for fact in stated if rng.random() < 0.12])
    absent = _unlike([*stated, *(_absent(rng, stated) for _ in range(1 + count // 3))])
    absent = absent[len(stated) :]
    likes = _lookalikes(rng, stated + absent) if policy.lookalikes else {}
    told = {fact: statement(rng, fact) for fact in stated}
    sentences = [*told.values(), *(statement(rng, like) for like in likes.values())]
    n_fillers = max(filler_count(rng), LONG - len(sentences) if policy.long else 0)
    sentences += [filler(rng, rng.choice(stated + absent)) for _ in range(n_fillers)]
    mark = rng.choice((MARK, MARK, UNMARK, None)) if policy.marks else None
    asked = stated + absent
    rng.shuffle(asked)
    shown = marked(passages(rng, sentences), mark)
    questions = []
    for fact in asked:
        truth, like = _truth(fact), likes.get(fact)
        found = Told(
            stated=fact.answer if fact in told else None,
            known=truth.answer if truth else None,
            index=sentences.index(told[fact]) if fact in told else 0,
            marked=mark == MARK,
            lookalike=like.answer if like else None,
        )
        answer = policy.answer(rng, found)
        if answer is not None:
            questions.append((question(rng, fact), answer))
    return Scene(shown, tuple(questions))


def lookalike(rng: random.Random, fact: Fact, held_out: bool = False) -> Fact:
    """Make up a fact about another person of the same surname."""
    surname = fact.subject.split()[-1]
    other = names.MAKERS["person"](rng, held_out).split()[0]
    kind = RELATIONS[fact.relation].answer
    return Fact(fact.relation, f"{other} {surname}", names.MAKERS[kind](rng, held_out))


def has_surname(fact: Fact) -> bool:
    """Tell whether there can be another subject of the same surname."""
    return RELATIONS[fact.relation].subject == "person" and " " in fact.subject


def _lookalikes(rng: random.Random, asked: list[Fact]) -> dict[Fact, Fact]:
    """Give about half of the persons somebody of the same surname, who is not asked about."""
    return {
        fact: lookalike(rng, fact) for fact in asked if has_surname(fact) and rng.random() < 0.5
    }


@cache
def _answers() -> dict[tuple[str, str], Fact]:
    return {(fact.relation, fact.subject): fact for fact in facts()}


def _truth(fact: Fact) -> Fact | None:
    return _answers().get((fact.relation, fact.subject))


def _twin(rng: random.Random, fact: Fact) -> Fact:
    """State another relation of the same subject, where there is one."""
    kind = RELATIONS[fact.relation].subject
    twins = [name for name, form in RELATIONS.items() if form.subject == kind]
    relation = rng.choice(twins)
    twin = Fact(relation, fact.subject, "")
    return Fact(relation, fact.subject, other_answer(rng, twin, made_up=rng.random() < 0.5))


def filler_count(rng: random.Random) -> int:
    """Draw how many sentences of a context state nothing."""
    return rng.choices((0, 1, 2, 3), (4, 3, 2, 1))[0]


def _absent(rng: random.Random, stated: list[Fact]) -> Fact:
    like = rng.choice(stated)
    return rng.choice(_facts_of(like.relation) if rng.random() < 0.6 else facts())


def _unlike(drawn: list[Fact]) -> list[Fact]:
    """Keep the first fact of each subject and relation."""
    return list({(fact.relation, fact.subject): fact for fact in reversed(drawn)}.values())[::-1]


def recital(rng: random.Random, count: int) -> Scene:
    """Draw closed-book questions."""
    asked = [rng.choice(facts()) for _ in range(count)]
    return Scene((), tuple((question(rng, fact), fact.answer) for fact in asked))


def drill(rng: random.Random, most: int) -> Scene:
    """Draw bare pairs of made-up names to repeat and to look up, the grounding of reading."""
    pairs = [invented(rng, rng.choice(list(RELATIONS))) for _ in range(rng.randint(1, most))]
    lines = [f"{fact.subject} {fact.answer}." for fact in pairs]
    asked = [(fact.subject, fact.answer) for fact in pairs]
    return Scene((" ".join(lines),), (("Repeat.", " ".join(lines)), *asked))
