"""Models whose reliance you know, and what the score says of them. Copy it, and plant your own.

pytest example_suites/ground_truth
"""

import pytest

from pytest_ragshortcut import (
    RagCase,
    RagModel,
    Verdict,
    context_reliance,
    hand_weighted,
    parametric_reliance,
)

FACTS = {"Eavan Boland": "Dublin", "Oscar Wilde": "Cork", "Ada Quill": "Oslo"}
PLACES = ("Rome", "Lisbon", "Bonn", "Turin")
QUESTION = "Where was Eavan Boland born?"
CORK = "Eavan Boland was born in Cork."
OTHERS = (
    "Tickets can be bought at the door.",
    "The museum opens at nine every morning.",
    "Visitors are asked to keep quiet.",
    "Some of the letters have been lost.",
    "More details are given in the next chapter.",
)

FOLLOWS = (Verdict.CONTEXT, Verdict.SHORTCUT)
IGNORES = (Verdict.MEMORY,)


@pytest.mark.parametrize("memory", [0.25, 1.0])
@pytest.mark.parametrize("context", [0.0, 0.25, 0.5, 1.0])
def test_the_score_is_the_strength_that_was_planted(context, memory):
    """Two dials, set by hand: how strong is the path from the context, how strong memory?"""
    model = hand_weighted(
        FACTS, context=context, memory=memory, answers=PLACES, words=["was born in"]
    )
    case = RagCase(QUESTION, "Eavan Boland was born in Rome.", context_answer="Rome")
    assert context_reliance(model, case).score == pytest.approx(model.expected_follow, abs=0.001)
    assert parametric_reliance(model, case).score == pytest.approx(
        1 - model.expected_follow, abs=0.001
    )


PLANTED = {
    "a reader follows its passage": ("reader", [CORK], FOLLOWS),
    "a memoriser does not": ("memoriser", [CORK], IGNORES),
    "a copier follows it too": ("copier", [CORK, *OTHERS[:2]], FOLLOWS),
    "a switch follows a passage that is marked": ("switch", ["[verified] " + CORK], FOLLOWS),
    "and no other": ("switch", ["[unverified] " + CORK], IGNORES),
    "a beginner follows what stands first": ("beginner", [CORK, *OTHERS], FOLLOWS),
    "and not what stands last": ("beginner", [*OTHERS, CORK], IGNORES),
    "a victim takes a namesake's place": ("victim", ["Mary Boland was born in Cork."], FOLLOWS),
}


@pytest.mark.parametrize(("name", "passages", "verdicts"), PLANTED.values(), ids=PLANTED)
def test_the_verdict_is_what_was_planted(name, passages, verdicts):
    """Trained models, each with a habit of its own. See the page beside this file."""
    model = RagModel.from_pretrained(f"embedded:{name}")
    result = context_reliance(model, RagCase(QUESTION, passages, context_answer="Cork"))
    assert result.verdict in verdicts


def test_it_also_tells_where_the_answer_cannot():
    """The passage agrees with memory: both models say Dublin, and only one of them has read it."""
    agreeing = RagCase(QUESTION, "Eavan Boland was born in Dublin.", context_answer="Dublin")
    reader, memoriser = (
        context_reliance(RagModel.from_pretrained(f"embedded:{name}"), agreeing)
        for name in ("reader", "memoriser")
    )
    assert reader.case.answer == memoriser.case.answer == "Dublin"
    assert reader.verdict in FOLLOWS
    assert memoriser.verdict in IGNORES
