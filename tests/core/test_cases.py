"""RagCase: a value that can be pasted into a test."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from drawn_cases import CASES
from hypothesis import given
from hypothesis import strategies as st

from pytest_ragshortcut.core.cases import RagCase, as_case
from pytest_ragshortcut.core.spans import occurrences
from pytest_ragshortcut.errors import EmptyTextError, SpanNotFoundError


@given(CASES)
def test_the_repr_of_a_case_is_the_case(case: RagCase) -> None:
    again = eval(repr(case), {"RagCase": RagCase})
    assert again == case
    assert hash(again) == hash(case)
    assert repr(again) == repr(case)


def test_the_repr_leaves_out_what_the_caller_left_out() -> None:
    case = RagCase("Where?", ["Here."], answer="x")
    assert repr(case) == "RagCase('Where?', ('Here.',), answer='x')"


def test_a_case_is_frozen() -> None:
    case = RagCase("Where?", ["Here."])
    with pytest.raises(FrozenInstanceError):
        case.question = "Who?"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        case.context.append("There.")  # type: ignore[union-attr]


def test_a_text_is_one_passage_and_a_list_is_several() -> None:
    assert RagCase("Where?", "ab").passages == ("ab",)
    assert RagCase("Where?", ["a", "b"]).passages == ("a", "b")
    assert RagCase("Where?", (part for part in "ab")).passages == ("a", "b")


@pytest.mark.parametrize(
    ("arguments", "role"),
    [
        ({"question": " \n"}, "question"),
        ({"context": ""}, "context"),
        ({"context": []}, "context"),
        ({"context": ["Here.", "\t"]}, "context"),
        ({"answer": ""}, "answer"),
        ({"subject": " "}, "subject"),
        ({"context_answer": ""}, "context_answer"),
        ({"memory_answer": ""}, "memory_answer"),
        ({"substitutes": ["Rome", ""]}, "substitute"),
    ],
)
def test_an_empty_text_is_refused_by_its_role(arguments: dict[str, Any], role: str) -> None:
    with pytest.raises(EmptyTextError) as raised:
        RagCase(**({"question": "Where?", "context": "Here."} | arguments))
    assert raised.value.role == role


def test_a_swap_replaces_whole_words_everywhere_and_nothing_else() -> None:
    case = RagCase("Cork?", ["Corkscrews from Cork, Cork!", "None."], subject="Cork")
    swapped = case.swapped("Cork", "Rome")
    assert swapped.context == ("Corkscrews from Rome, Rome!", "None.")
    assert swapped == replace(case, context=swapped.context)


@given(st.lists(st.sampled_from(["Cork", "lies", "in", "Corky", "CORK", "."]), min_size=1))
def test_after_a_swap_the_old_answer_is_gone_and_swapping_back_restores_the_text(
    words: list[str],
) -> None:
    case = RagCase("Where?", " ".join(words))
    if "Cork" not in words:
        return
    swapped = case.swapped("Cork", "Oslo")
    assert occurrences(str(swapped.context), "Oslo")
    assert "Cork" not in str(swapped.context).split()
    assert swapped.swapped("Oslo", "Cork") == case


def test_a_swap_of_what_no_passage_says_is_refused() -> None:
    with pytest.raises(SpanNotFoundError, match="does not occur in the context"):
        RagCase("Where?", ["Here.", "There."]).swapped("Cork", "Rome")


def test_a_question_alone_is_no_case() -> None:
    with pytest.raises(EmptyTextError, match="context"):
        as_case("Where?", None)
    case = RagCase("Where?", "Here.")
    assert as_case(case, None) is case
    assert as_case("Where?", "Here.") == case
