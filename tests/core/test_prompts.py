"""From a case to a prompt: text and spans agree, whatever stands in the texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.prompts import PLAIN, Prompt, Template, TokenizedPrompt, render
from pytest_ragshortcut.errors import PlanError, SpanNotFoundError, TemplateError

TEXT = st.text(min_size=1, max_size=20).filter(str.strip)
TEXTS = TEXT | st.sampled_from(["{question}", "{context}", "{context}{question}", "{}"])
TEMPLATES = st.sampled_from(
    [
        PLAIN,
        Template(open_book="{question} <- {context} =", closed_book="{question} ="),
        Template(separator=" | "),
    ]
)


@given(question=TEXTS, passages=st.lists(TEXTS, min_size=1, max_size=3), template=TEMPLATES)
def test_every_span_of_a_prompt_holds_its_own_text(
    question: str, passages: list[str], template: Template
) -> None:
    prompt = render(RagCase(question, passages), template)

    def held(role: str) -> str:
        ((start, stop),) = prompt.spans[role]
        return prompt.text[start:stop]

    assert held("question") == question
    assert held("context") == template.separator.join(passages)
    assert [held(f"passage_{index}") for index in range(len(passages))] == passages


@given(question=TEXTS, template=TEMPLATES)
def test_the_closed_book_prompt_has_the_question_alone(question: str, template: Template) -> None:
    prompt = render(RagCase(question, "Here."), template, "closed")
    assert set(prompt.spans) == {"question"}
    ((start, stop),) = prompt.spans["question"]
    assert prompt.text[start:stop] == question


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ({"open_book": "{context} Answer:"}, "open_book has {question} 0 times"),
        ({"open_book": "{question} Answer:"}, "open_book has {context} 0 times"),
        ({"open_book": "{context} {question} {question}."}, "open_book has {question} 2 times"),
        ({"closed_book": "Answer:"}, "closed_book has {question} 0 times"),
        ({"closed_book": "{question} Answer: "}, "closed_book ends in white space"),
    ],
)
def test_a_template_that_loses_or_doubles_a_part_is_refused(
    texts: dict[str, str], reason: str
) -> None:
    with pytest.raises(TemplateError) as raised:
        Template(**texts)
    assert raised.value.reason == reason


def test_a_prompt_inside_a_larger_rendering_keeps_its_spans() -> None:
    prompt = render(RagCase("Where?", ["Here.", "There."]), PLAIN)
    placed = prompt.placed_in(f"<s>{prompt.text}</s>")
    for role, ((start, stop),) in placed.spans.items():
        ((own_start, own_stop),) = prompt.spans[role]
        assert placed.text[start:stop] == prompt.text[own_start:own_stop]
    for rendered in ("nothing", prompt.text * 2):
        with pytest.raises(TemplateError):
            prompt.placed_in(rendered)


def test_a_phrase_is_found_inside_its_region_alone() -> None:
    prompt = render(RagCase("Is Cork in Cork?", "Cork is Cork."), PLAIN)
    everywhere = prompt.with_phrase("subject", "Cork", region="question")
    last = prompt.with_phrase("subject", "Cork", region="question", last=True)
    assert len(everywhere.spans["subject"]) == 2
    assert last.spans["subject"] == everywhere.spans["subject"][1:]
    ((start, stop),) = prompt.spans["question"]
    assert all(start <= left < right <= stop for left, right in everywhere.spans["subject"])
    with pytest.raises(SpanNotFoundError):
        prompt.with_phrase("subject", "Rome", region="question")


def tokenized() -> TokenizedPrompt:
    spans = {"context": ((0, 2),), "question": ((3, 4), (5, 6)), "last": ((6, 7),)}
    return TokenizedPrompt("abc", tuple(range(10, 17)), tuple("abcdefg"), spans, 7)


def test_reading_feeds_the_answer_but_its_last_token() -> None:
    reading = tokenized().reading((1, 2, 3), ("x", "y", "z"))
    assert reading.input_ids == (*range(10, 17), 1, 2)
    assert reading.tokens == (*"abcdefg", "x", "y")
    assert reading.readers == (6, 7, 8)
    assert reading.spans["readers"] == ((6, 9),)
    assert reading.spans["answer"] == ((7, 9),)
    assert reading.positions("context", "question") == (0, 1, 3, 5)


def test_a_second_reading_replaces_the_first() -> None:
    first = tokenized().reading((1, 2, 3), ("x", "y", "z"))
    second = first.reading((9,), ("w",))
    assert second == tokenized().reading((9,), ("w",))
    assert "answer" not in second.spans


def test_a_role_that_the_prompt_lacks_is_refused_with_those_it_has() -> None:
    with pytest.raises(PlanError, match="context, question, last"):
        tokenized().positions("context", "subject")
    with pytest.raises(AttributeError):
        tokenized().text = "x"  # type: ignore[misc]
    assert Prompt("a", {}).spans == {}
