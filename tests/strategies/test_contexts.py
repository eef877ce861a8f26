"""Contexts around a gold passage: what they hold, and what they shrink to."""

from __future__ import annotations

import pytest
from hypothesis import find, given, settings

from pytest_ragshortcut import RagCase, conflicts, contexts, rag_cases
from pytest_ragshortcut.errors import CaseError, EmptyTextError, SpanNotFoundError
from pytest_ragshortcut.strategies.contexts import DISTRACTORS

GOLD = "Eavan Boland was born in Dublin."
CASE = RagCase(
    "Where was Eavan Boland born?", GOLD, context_answer="Dublin", substitutes=("Cork", "Rome")
)


@given(context=contexts(GOLD, answer="Dublin"))
def test_every_context_holds_the_gold_passage_once(context: tuple[str, ...]) -> None:
    assert context.count(GOLD) == 1
    assert 1 <= len(context) <= 4
    assert set(context) <= {GOLD, *DISTRACTORS}


def test_contexts_reach_every_place_and_number() -> None:
    seen = set()

    @settings(max_examples=300, database=None)
    @given(context=contexts(GOLD, answer="Dublin"))
    def collect(context: tuple[str, ...]) -> None:
        seen.add((len(context), context.index(GOLD)))

    collect()
    assert seen == {(n, place) for n in range(1, 5) for place in range(n)}


def test_shrinks_to_the_gold_passage_alone() -> None:
    assert find(contexts(GOLD, answer="Dublin"), lambda _: True) == (GOLD,)


def test_shrinks_to_the_fewest_passages_that_fail() -> None:
    found = find(contexts(GOLD, answer="Dublin"), lambda c: c[0] != GOLD and len(c) > 2)
    assert len(found) == 3
    assert found[1] == GOLD


def test_gold_passage_must_state_the_answer() -> None:
    with pytest.raises(SpanNotFoundError, match="Cork"):
        contexts(GOLD, answer="Cork")


def test_distractor_must_not_state_the_answer() -> None:
    with pytest.raises(CaseError, match="states the answer"):
        contexts(GOLD, answer="Dublin", distractors=["Dublin is old."])


@given(case=conflicts(CASE))
def test_conflicts_contradict_the_case(case: RagCase) -> None:
    assert case.context_answer in ("Cork", "Rome")
    assert "Dublin" not in case.context
    assert case.context_answer in case.context


def test_conflicts_need_a_context_answer_and_substitutes() -> None:
    with pytest.raises(EmptyTextError):
        conflicts(RagCase("Where?", GOLD))
    with pytest.raises(EmptyTextError):
        conflicts(RagCase("Where?", GOLD, context_answer="Dublin"))


def test_rag_cases_draws_from_the_list() -> None:
    assert find(rag_cases([CASE]), lambda _: True) == CASE
    with pytest.raises(EmptyTextError):
        rag_cases([])
