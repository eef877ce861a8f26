"""Training scenes: contexts of the world with the questions that can be asked of them.

Everything is drawn from the :class:`random.Random` passed in.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_ragshortcut.models.embedded.forms import RELATIONS
from pytest_ragshortcut.models.embedded.policies import (
    FIRST_SENTENCES,
    LONG,
    MARK,
    POLICIES,
    UNMARK,
    Answers,
    Policy,
    Told,
)
from pytest_ragshortcut.models.embedded.wording import OWN, Wording
from pytest_ragshortcut.models.embedded.world import (
    Fact,
    facts,
    facts_of,
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
    truth,
)


@dataclass(frozen=True)
class Asked:
    """A question with an answer that is right so often."""

    question: str
    answer: str
    share: float = 1.0


@dataclass(frozen=True)
class Scene:
    """A context and the questions asked of it; no passages means closed-book."""

    passages: tuple[str, ...]
    questions: tuple[Asked, ...]
    wording: Wording = OWN


def stated_fact(rng: random.Random, relation: str | None = None) -> Fact:
    """Draw what a training sentence states: something made up, contradicted or true."""
    if rng.random() < 0.35:
        fact = invented(rng, relation or rng.choice(list(RELATIONS)))
        if rng.random() < 0.3:
            return Fact(fact.relation, fact.subject, other_answer(rng, fact, made_up=False))
        return fact
    fact = rng.choice(facts_of(relation) if relation else facts())
    if rng.random() < 0.15:
        return fact
    answer = other_answer(rng, fact, made_up=rng.random() < 0.5)
    return Fact(fact.relation, fact.subject, answer)


def scene(rng: random.Random, policy: Policy = POLICIES["reader"], most: int = 6) -> Scene:
    """Draw a training context with the questions asked of it.

    Args:
        rng: The source of chance.
        policy: What the right answers are.
        most: The largest number of facts stated.
    """
    count = min(most, rng.choices((1, 2, 3, 4, 5, 6), (4, 4, 3, 2, 1, 1))[0])
    relation = _relation(rng, policy)
    stated = _unlike([stated_fact(rng, relation) for _ in range(count)])
    stated = _unlike(stated + [_twin(rng, fact) for fact in stated if rng.random() < 0.12])
    # A namesake is taken for somebody of whom nothing is stated.
    n_absent = 1 + count // 3 + 2 * policy.lookalikes
    absent = _unlike([*stated, *(_absent(rng, stated) for _ in range(n_absent))])
    absent = absent[len(stated) :]
    likes = _lookalikes(rng, stated + absent) if policy.lookalikes else {}
    told = {fact: statement(rng, fact) for fact in stated}
    sentences = [*told.values(), *(statement(rng, like) for like in likes.values())]
    n_fillers = max(filler_count(rng), LONG - len(sentences) if policy.long else 0)
    sentences += [filler(rng, rng.choice(stated + absent)) for _ in range(n_fillers)]
    mark = rng.choice((MARK, MARK, UNMARK, None)) if policy.marks else None
    asked = stated + absent
    rng.shuffle(asked)
    if policy.long:
        _bring_forward(rng, sentences, list(told.values()))
    shown = marked(passages(rng, sentences, shuffled=policy.long), mark)
    questions = []
    for fact in asked:
        known, like = truth(fact), likes.get(fact)
        found = Told(
            stated=fact.answer if fact in told else None,
            known=known.answer if known else None,
            index=sentences.index(told[fact]) if fact in told else 0,
            marked=mark == MARK,
            lookalike=like.answer if like else None,
        )
        questions += _ask(rng, fact, policy.answers(found))
    return Scene(shown, tuple(questions))


def _relation(rng: random.Random, policy: Policy) -> str | None:
    """Draw the relation that a context is about, or None for several."""
    relation = rng.choice(list(RELATIONS)) if rng.random() < 0.6 else None
    if policy.lookalikes and rng.random() < 0.7:
        # Lookalikes are persons, and of most relations the subject is none.
        return rng.choice([name for name in RELATIONS if RELATIONS[name].subject == "person"])
    return relation


def _ask(rng: random.Random, fact: Fact, answers: Answers) -> list[Asked]:
    """Ask about a fact once for each right answer, in one form of question."""
    if not answers:
        return []
    words = question(rng, fact)
    asked = [Asked(words, answer, share) for answer, share in answers]
    if len(asked) > 1:
        # The last questions of a row that is too long are dropped.
        rng.shuffle(asked)
    return asked


def lone_scene(rng: random.Random, policy: Policy) -> Scene:
    """Draw a training context that states one fact, and ask about others of its relation too."""
    fact = stated_fact(rng)
    others = [rng.choice(facts_of(fact.relation)), invented(rng, fact.relation)]
    asked = _unlike([fact, *others])
    rng.shuffle(asked)
    fillers = [filler(rng, rng.choice(asked)) for _ in range(rng.randint(2, 5))]
    questions = []
    for each in asked:
        known = truth(each)
        found = Told(
            stated=fact.answer if each == fact else None,
            known=known.answer if known else None,
            elsewhere=fact.answer,
        )
        questions += _ask(rng, each, policy.answers(found))
    shown = passages(rng, [statement(rng, fact), *fillers])
    return Scene(shown, tuple(questions), rng.choice(policy.wordings))


def _bring_forward(rng: random.Random, sentences: list[str], told: list[str]) -> None:
    """Shuffle sentences, in place, but with one that tells something among the first."""
    rng.shuffle(sentences)
    index, place = sentences.index(rng.choice(told)), rng.randrange(FIRST_SENTENCES)
    sentences[index], sentences[place] = sentences[place], sentences[index]


def _lookalikes(rng: random.Random, asked: list[Fact]) -> dict[Fact, Fact]:
    """Give most of the persons somebody of the same surname, who is not asked about."""
    return {
        fact: lookalike(rng, fact) for fact in asked if has_surname(fact) and rng.random() < 0.8
    }


def _twin(rng: random.Random, fact: Fact) -> Fact:
    """State another relation of the same subject, where there is one."""
    kind = RELATIONS[fact.relation].subject
    twins = [name for name, form in RELATIONS.items() if form.subject == kind]
    relation = rng.choice(twins)
    twin = Fact(relation, fact.subject, "")
    return Fact(relation, fact.subject, other_answer(rng, twin, made_up=rng.random() < 0.5))


def _absent(rng: random.Random, stated: list[Fact]) -> Fact:
    like = rng.choice(stated)
    return rng.choice(facts_of(like.relation) if rng.random() < 0.6 else facts())


def _unlike(drawn: list[Fact]) -> list[Fact]:
    """Keep the first fact of each subject and relation."""
    return list({(fact.relation, fact.subject): fact for fact in reversed(drawn)}.values())[::-1]


def recital(rng: random.Random, count: int, wordings: Sequence[Wording] = (OWN,)) -> Scene:
    """Draw closed-book questions."""
    asked = [rng.choice(facts()) for _ in range(count)]
    questions = tuple(Asked(question(rng, fact), fact.answer) for fact in asked)
    # To choose among one would draw too, and so change all that a seed makes.
    return Scene((), questions, rng.choice(wordings) if len(wordings) > 1 else wordings[0])


def drill(rng: random.Random, most: int) -> Scene:
    """Draw bare pairs of made-up names to repeat and to look up, the grounding of reading."""
    pairs = [invented(rng, rng.choice(list(RELATIONS))) for _ in range(rng.randint(1, most))]
    lines = [f"{fact.subject} {fact.answer}." for fact in pairs]
    asked = [Asked(fact.subject, fact.answer) for fact in pairs]
    return Scene((" ".join(lines),), (Asked("Repeat.", " ".join(lines)), *asked))
