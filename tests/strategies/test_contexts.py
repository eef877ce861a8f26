"""Contexts around a gold passage: what they hold, and what they shrink to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import find, given, settings
from hypothesis.strategies import SearchStrategy

from pytest_ragshortcut import RagCase, conflicts, contexts, rag_cases
from pytest_ragshortcut.core.casefiles import read_cases
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


OTHER = RagCase("Who was Bo Reed?", ("A poet.", "A museum."), context_answer="poet")
ROWS = [
    {"query": CASE.question, "hits": [{"text": GOLD}], "gold": "Dublin"},
    {"query": OTHER.question, "hits": [{"text": "A poet."}, {"text": "A museum."}], "gold": "poet"},
]
COLUMNS = {"context": "hits.text", "context_answer": "gold"}
READ = [RagCase(CASE.question, (GOLD,), context_answer="Dublin"), OTHER]


def _drawn(strategy: SearchStrategy[RagCase]) -> list[RagCase]:
    """List what a strategy draws, the case it shrinks to in front."""
    seen = [find(strategy, lambda _: True)]

    @settings(max_examples=50, database=None)
    @given(case=strategy)
    def collect(case: RagCase) -> None:
        if case not in seen:
            seen.append(case)

    collect()
    return seen


def test_rag_cases_draws_from_the_list() -> None:
    assert _drawn(rag_cases([OTHER, CASE])) == [OTHER, CASE]
    assert _drawn(rag_cases(case for case in [OTHER, CASE])) == [OTHER, CASE]
    with pytest.raises(EmptyTextError):
        rag_cases([])


def test_rag_cases_draws_from_rows() -> None:
    assert _drawn(rag_cases(iter(ROWS), columns=COLUMNS)) == READ


def test_rag_cases_draws_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "cases.json"
    file.write_text(json.dumps(ROWS), encoding="utf-8")
    for path in (file, str(file)):
        assert _drawn(rag_cases(path, columns=COLUMNS)) == READ
    assert _drawn(rag_cases(read_cases(file, COLUMNS))) == READ


@pytest.mark.parametrize(
    ("cases", "columns", "said"),
    [
        ("no-such-file.csv", None, "no-such-file.csv"),
        ([{"query": "Who?"}], None, "no column is named as the context"),
        ([{"query": "Who?", "context": 3}], None, "3, of type int"),
        ([CASE, {"query": "Who?", "context": "A."}], None, "of type RagCase"),
        ([CASE], {"context": "passages"}, "of type RagCase"),
        ({"train": []}, None, "'train', of type str"),
    ],
)
def test_rag_cases_refuses_where_it_is_defined(
    cases: Any, columns: dict[str, str] | None, said: str
) -> None:
    with pytest.raises(CaseError, match=said):
        rag_cases(cases, columns=columns)
