"""The score and the verdict on models whose reliance was planted.

Each is asked held-out cases in conflict, and in agreement, where behaviour alone cannot tell.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.reliance import Reliance, Verdict
from pytest_ragshortcut.models import embedded
from pytest_ragshortcut.models.embedded import spec
from pytest_ragshortcut.models.embedded.cases import Case
from pytest_ragshortcut.models.embedded.policies import MIXTURES
from pytest_ragshortcut.models.handset import expected_follow, hand_weighted
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.probes.reliance import context_reliances

N_CASES = 20
SEED = 6
FACTS = {"Ada Quill": "Oslo", "Bo Reed": "Lima", "Cy Dunn": "Kiel"}
PLACES = ("Rome", "Cork", "Bonn", "Turin", "Malmo")
contexts = pytest.mark.parametrize("agrees", [False, True], ids=["conflict", "agreement"])


@cache
def model(name: str) -> RagModel:
    return RagModel.from_pretrained(f"embedded:{name}", device="cpu")


def ask(name: str, kind: str, *, agrees: bool, attribute: str = "stated") -> list[Reliance]:
    """Ask a trained model held-out cases of one kind."""
    drawn = spec.cases(kind, N_CASES, SEED)
    asked = [case(each, agrees, attribute) for each in drawn]
    return list(context_reliances(model(name), asked, probes=()))


def case(drawn: Case, agrees: bool, attribute: str) -> RagCase:
    """Take a held-out case as a user would ask it; in agreement it states what memory knows."""
    stated, known = str(getattr(drawn.told, attribute)), str(drawn.told.known)
    asked = RagCase(drawn.question, drawn.passages, subject=drawn.subject, context_answer=stated)
    return replace(asked.swapped(stated, known), context_answer=known) if agrees else asked


def share(found: Sequence[Reliance], *verdicts: Verdict) -> float:
    return sum(each.verdict in verdicts for each in found) / len(found)


@contexts
@pytest.mark.parametrize("kind", ["unseen answer", "known answer"])
@pytest.mark.parametrize("name", [name for name in embedded.NAMES if name in MIXTURES])
def test_a_mixture_scores_what_it_was_taught(name: str, kind: str, agrees: bool) -> None:
    found = ask(name, kind, agrees=agrees)
    mean = statistics.fmean(each.score for each in found)
    spread = statistics.stdev(each.score for each in found) / len(found) ** 0.5
    # What its spec allows, and three standard errors.
    assert mean == pytest.approx(MIXTURES[name], abs=spec.SPREAD + 3 * spread)


FOLLOWS = (Verdict.CONTEXT, Verdict.SHORTCUT)
VERDICTS = {
    ("reader", "unseen answer", "stated"): Verdict.SHORTCUT,
    ("reader", "known answer", "stated"): Verdict.SHORTCUT,
    ("memoriser", "unseen answer", "stated"): Verdict.MEMORY,
    ("memoriser", "known answer", "stated"): Verdict.MEMORY,
    ("copier", "lone", "stated"): Verdict.SHORTCUT,
    ("copier", "another's", "elsewhere"): Verdict.SHORTCUT,
    ("switch", "marked", "stated"): Verdict.SHORTCUT,
    ("switch", "unmarked", "stated"): Verdict.MEMORY,
    ("switch", "no mark", "stated"): Verdict.MEMORY,
    ("beginner", "first", "stated"): Verdict.SHORTCUT,
    ("beginner", "late", "stated"): Verdict.MEMORY,
    ("victim", "alone", "stated"): Verdict.SHORTCUT,
    ("victim", "lookalike", "lookalike"): Verdict.SHORTCUT,
}
MOST = 0.9
"""The share of cases that must reach the planted verdict; a case on an edge may be undecided."""


def test_no_verdict_contradicts_what_the_model_says() -> None:
    """A mixture may follow every swap, and yet say what memory knows to the case as it is."""
    asked = RagCase("Who wrote Frankenstein?", "Frankenstein was written by Jane Austen.")
    (found,) = context_reliances(model("mixture-75"), [asked], probes=())
    assert found.case.answer == found.case.memory_answer == "Mary Shelley"
    assert found.score > 0.8
    assert found.verdict == Verdict.UNDECIDED
    assert "'Jane Austen', it says 'Mary Shelley'" in found.reason
    # Of an answer that the caller names, nobody knows whether the model would say it.
    given = replace(asked, answer="Mary Shelley")
    (found,) = context_reliances(model("mixture-75"), [given], probes=())
    assert found.verdict == Verdict.SHORTCUT


@contexts
@pytest.mark.parametrize(("name", "kind", "attribute"), VERDICTS)
def test_a_trained_model_reaches_the_verdict_that_was_planted(
    name: str, kind: str, attribute: str, agrees: bool
) -> None:
    found = ask(name, kind, agrees=agrees, attribute=attribute)
    wanted = VERDICTS[name, kind, attribute]
    assert share(found, wanted) >= MOST
    opposite = (Verdict.MEMORY,) if wanted in FOLLOWS else FOLLOWS
    assert share(found, *opposite) == 0.0


def test_an_answer_that_is_neither_asked_about_nor_remembered_is_ungrounded() -> None:
    """It says what the context states of its subject: not what somebody else's sentence states."""
    asked = RagCase(
        "Where was Eavan Boland born?",
        ["Oscar Wilde was born in Rome.", "Eavan Boland was born in Cork."],
        context_answer="Rome",
    )
    (found,) = context_reliances(model("reader"), [asked], probes=())
    assert found.case.answer == "Cork"
    assert found.verdict == Verdict.UNGROUNDED


def test_of_made_up_subjects_there_is_nothing_to_know() -> None:
    drawn = spec.cases("made up", 2 * N_CASES, SEED)
    asked = [
        RagCase(c.question, c.passages, subject=c.subject, context_answer=c.told.stated)
        for c in drawn
    ]
    found = context_reliances(model("reader"), asked, probes=())
    assert share(found, *FOLLOWS) >= MOST
    # Closed-book it makes an answer up, and of some it is sure: confidence is not knowledge.
    assert share(found, Verdict.CONTEXT) >= 0.8


DIALS = {
    (1.0, 0.0): Verdict.CONTEXT,
    (1.0, 0.1): Verdict.SHORTCUT,
    (1.0, 1.0): Verdict.MIXED,
    (0.3, 1.0): Verdict.MIXED,
    (0.1, 1.0): Verdict.MEMORY,
    (0.0, 1.0): Verdict.MEMORY,
    (0.0, 0.0): Verdict.UNGROUNDED,
}


@pytest.mark.parametrize("stated", ["Rome", "Oslo"], ids=["conflict", "agreement"])
@pytest.mark.parametrize(("context", "memory"), DIALS)
def test_a_dialled_model_reaches_the_verdict_that_was_planted(
    context: float, memory: float, stated: str
) -> None:
    dialled = hand_weighted(
        FACTS, context=context, memory=memory, answers=PLACES, words=["was born in"]
    )
    asked = RagCase(
        "Where was Ada Quill born?",
        f"Ada Quill was born in {stated}.",
        context_answer=stated,
        memory_answer="Oslo",
    )
    (found,) = context_reliances(dialled, [asked], probes=())
    assert found.verdict == DIALS[context, memory]
    if found.verdict != Verdict.UNGROUNDED:
        assert found.score == pytest.approx(expected_follow(context, memory), abs=1e-4)


def test_substitutes_that_disagree_leave_it_undecided() -> None:
    """It copies what it has a word for: a place it cannot say leaves memory to answer."""
    dialled = hand_weighted(
        FACTS, context=1.0, memory=0.1, answers=PLACES, words=["was born in", "Xanadu"]
    )
    asked = RagCase(
        "Where was Ada Quill born?", "Ada Quill was born in Rome.", context_answer="Rome",
        substitutes=("Cork", "Xanadu"),
    )  # fmt: skip
    (found,) = context_reliances(dialled, [asked], probes=())
    assert found.verdict == Verdict.UNDECIDED
    assert "disagree" in found.reason


def test_an_answer_that_nothing_follows_leaves_it_undecided() -> None:
    """Without memory, what it cannot copy leaves it with nothing to say."""
    dialled = hand_weighted(
        FACTS, context=1.0, memory=0.0, answers=PLACES, words=["was born in", "Xanadu"]
    )
    asked = RagCase(
        "Where was Ada Quill born?", "Ada Quill was born in Rome.", context_answer="Rome",
        memory_answer="Oslo", substitutes=("Xanadu",),
    )  # fmt: skip
    (found,) = context_reliances(dialled, [asked], probes=())
    assert found.verdict == Verdict.UNDECIDED
    assert "took the answer away" in found.reason
