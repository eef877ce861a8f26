"""The planted models, what each is asked, and what is true of every case."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, product
from typing import Literal

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.models.embedded import spec
from pytest_ragshortcut.models.embedded.cases import Case
from pytest_ragshortcut.models.embedded.policies import MIXTURES, POLICIES
from pytest_ragshortcut.models.handset import expected_follow, hand_weighted
from pytest_ragshortcut.models.handset.writers import ARCHITECTURES, Architecture
from pytest_ragshortcut.models.rag_model import RagModel

Attribute = Literal["stated", "lookalike", "elsewhere"]
NEITHER = float("nan")


@dataclass(frozen=True)
class Asked:
    """One kind of held-out cases."""

    kind: str
    """As `embedded.spec.cases` draws them."""
    attribute: Attribute = "stated"
    """Which answer of the context the probes are pointed at: the right one, or another's."""
    order: str = "subject first"
    """One of `world.ORDERS`: the forms of sentence. Of those never taught nothing is known."""

    @property
    def label(self) -> str:
        """What the tables call it."""
        if self.is_held_out:
            return f"{self.kind}, {self.order}"
        return self.kind if self.attribute == "stated" else f"{self.kind}, their answer"

    @property
    def is_held_out(self) -> bool:
        """Whether the sentence is of a form never taught: it may be read, or not."""
        return self.order != "subject first"


_CONTRADICTING = (Asked("unseen answer"), Asked("known answer"))
ASKED: dict[str, tuple[Asked, ...]] = {
    "reader": (
        *_CONTRADICTING,
        Asked("made up"),
        Asked("known answer", order="unseen form"),
    ),
    "memoriser": _CONTRADICTING,
    "copier": (Asked("lone"), Asked("another's", "elsewhere")),
    "switch": (Asked("marked"), Asked("unmarked"), Asked("no mark")),
    "beginner": (Asked("first"), Asked("late")),
    "victim": (Asked("alone"), Asked("lookalike", "lookalike")),
    **dict.fromkeys(MIXTURES, _CONTRADICTING),
}
"""What each trained model is asked; what is true of a case follows from its policy."""

DIALS = (0.0, 0.25, 0.5, 1.0)
_PEOPLE = {
    "Eavan Boland": "Dublin",
    "Oscar Wilde": "Cork",
    "Ada Quill": "Oslo",
    "Marie Curie": "Warsaw",
    "Jean Roux": "Lyon",
    "Ann Lee": "Boston",
}
_PLACES = ("Rome", "Paris", "Bern", "Lisbon")
_FILLERS = ("Tickets can be bought at the door.", "The archive was moved in 1944.")


@dataclass(frozen=True)
class PlantedCase:
    """A case and its truth."""

    case: RagCase
    """What the probes are given: no more than a user would know."""
    kind: str
    """What the tables call it."""
    agrees: bool
    """Whether the context states what memory knows: then behaviour alone cannot tell."""
    truth: float
    """The planted degree in [0, 1]: 1 follows the context, 0 is memory, NaN is neither."""
    wanted: str | None
    """What the model is made to say; None where two answers are as likely."""
    is_held_out: bool = False
    """Whether it is of a form never taught: the truth is what the model does in conflict."""


@dataclass(frozen=True)
class Planted:
    """A model with its cases."""

    family: Literal["dials", "trained"]
    """Hand-weighted, or trained."""
    name: str
    """What the tables call it."""
    load: Callable[[], RagModel]
    """Makes the model; it is large, and its cases are not."""
    cases: tuple[PlantedCase, ...]
    """What it is asked."""


def trained_models(names: Sequence[str], n_cases: int, seed: int) -> Iterator[Planted]:
    """Load trained models.

    Args:
        names: of embedded models.
        n_cases: contradicting cases of each kind; each has an agreeing twin.
        seed: of the cases.
    """
    for name in names:
        drawn = (_trained(name, asked, n_cases, seed) for asked in ASKED[name])
        load = partial(RagModel.from_pretrained, f"embedded:{name}", "cpu")
        yield Planted("trained", name, load, tuple(chain.from_iterable(drawn)))


def dialled_models(dials: Sequence[float], n_cases: int, seed: int) -> Iterator[Planted]:
    """Make a hand-weighted model of each architecture for each setting of its two dials."""
    for architecture, context, memory in product(ARCHITECTURES, dials, dials):
        load = partial(_hand_weighted, context, memory, architecture)
        cases = tuple(_dialled(context, memory, n_cases, seed))
        yield Planted("dials", f"dials, {architecture}", load, cases)


def truth(name: str, case: Case, attribute: str) -> float:
    """Say how far a trained model follows the context in a contradicting case.

    Args:
        name: of the model.
        case: the case.
        attribute: the answer of the context that is asked about.

    Returns:
        How often its policy answers the attribute: 1 or 0, or a mixture's share; NaN where it
        answers neither that nor from memory.
    """
    shares = dict(POLICIES[name].answers(case.told))
    return shares.get(attribute, 0.0 if case.told.known in shares else NEITHER)


def agreeing(planted: PlantedCase, known: str) -> PlantedCase:
    """Return a contradicting case's twin, whose context states what memory knows.

    All else is the same, and so is the truth: what would have been followed, had it said otherwise.
    """
    swapped = planted.case.swapped(str(planted.case.context_answer), known)
    case = replace(swapped, context_answer=known)
    # Where the answer was another sentence's, that sentence still gives another answer.
    wanted = planted.wanted if math.isnan(planted.truth) else known
    return replace(planted, case=case, agrees=True, wanted=wanted)


def _trained(name: str, asked: Asked, n_cases: int, seed: int) -> Iterator[PlantedCase]:
    for drawn in spec.cases(asked.kind, n_cases, seed, asked.order):
        attribute = str(getattr(drawn.told, asked.attribute))
        wanted = POLICIES[name].answer(drawn.told)
        case = RagCase(drawn.question, drawn.passages, context_answer=attribute)
        planted = PlantedCase(case, asked.label, False, truth(name, drawn, attribute), wanted)
        if asked.is_held_out:
            planted = replace(planted, truth=NEITHER, wanted=None, is_held_out=True)
        yield planted
        if drawn.told.known is not None:
            yield agreeing(planted, drawn.told.known)


def _dialled(context: float, memory: float, n_cases: int, seed: int) -> Iterator[PlantedCase]:
    rng = random.Random(f"dials {seed}")
    # Without either path no answer stands out, and there is nothing to be found.
    degree = expected_follow(context, memory) if context or memory else NEITHER
    for _ in range(n_cases):
        (subject, other), stated = rng.sample(list(_PEOPLE), 2), rng.choice(_PLACES)
        sentences = [f"{subject} was born in {stated}.", f"{other} was born in {_PEOPLE[other]}."]
        sentences += _FILLERS
        rng.shuffle(sentences)
        fact = _PEOPLE[subject]
        case = RagCase(
            f"Where was {subject} born?",
            tuple(sentences),
            context_answer=stated,
            # A model whose memory is turned off has no closed-book answer to be found.
            memory_answer=fact,
        )
        stronger = stated if context > memory else fact
        wanted = None if context == memory else stronger
        kind = f"context {context:g}, memory {memory:g}"
        planted = PlantedCase(case, kind, False, degree, wanted)
        yield planted
        yield agreeing(planted, fact)


def _hand_weighted(context: float, memory: float, architecture: Architecture) -> RagModel:
    words = ["was born in", *_FILLERS]
    return hand_weighted(
        _PEOPLE,
        context=context,
        memory=memory,
        architecture=architecture,
        answers=_PLACES,
        words=words,
        n_positions=256,
    )
