"""Cases made of a case, and cases from nothing but a list of them or invented names.

They shrink by whole sentences and passages towards the case as it is, or the simplest of its kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hypothesis import strategies as st

from pytest_ragshortcut.core.casefiles import Columns, NamedCase, cases_from, read_cases
from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.finding import find_subject, invented_subjects, invented_substitutes
from pytest_ragshortcut.core.spans import occurrences
from pytest_ragshortcut.errors import CaseError, EmptyTextError, SpanNotFoundError, quoted
from pytest_ragshortcut.strategies.altered import (
    bereft,
    contradicted,
    disputed,
    silent_pieces,
    stating,
)
from pytest_ragshortcut.strategies.checks import (
    other_answers,
    require_texts,
    several,
    stated_answer,
    states_any,
)
from pytest_ragshortcut.strategies.contexts import DISTRACTORS, contexts
from pytest_ragshortcut.strategies.showing import shown_as_made

# A question, what is stated, and of which kinds its subject and its answers are.
_RELATIONS = (
    ("Where was {subject} born?", "{subject} was born in {answer}.", "Ada Quill", "Cork"),
    ("When was {subject} born?", "{subject} was born in {answer}.", "Ada Quill", "1944"),
    ("What is the capital of {subject}?", "The capital of {subject} is {answer}.", "Peru", "Lima"),
    ("Who wrote {subject}?", "{subject} was written by {answer}.", "Dracula", "Stoker"),
)


def conflicts(
    case: RagCase, substitutes: str | Sequence[str] | None = None
) -> st.SearchStrategy[RagCase]:
    """Draw the case with its context answer replaced by each substitute.

    Shrinks to the first substitute.

    Args:
        case: a case that names its context answer.
        substitutes: other answers of the same kind. Without, the case's own; without these,
            invented ones.

    Raises:
        EmptyTextError: if the case names no context answer.
        CaseError: if its passages do not state it, or no substitute is another answer.

    Example:
        >>> from hypothesis import find
        >>> case = RagCase("When did it open?", "It opened in 1944.", context_answer="1944")
        >>> find(conflicts(case), lambda _: True)
        RagCase('When did it open?', 'It opened in 1911.', context_answer='1911')
    """
    answer = stated_answer(case)
    chosen = other_answers(case, answer, substitutes, of="conflicts")
    return shown_as_made(st.sampled_from(chosen), lambda new: contradicted(case, answer, new))


def contradictory(
    case: RagCase, substitutes: str | Sequence[str] | None = None
) -> st.SearchStrategy[RagCase]:
    """Draw the case with one passage more: that which states the answer, stating a substitute.

    It stands before the case's own or behind it, next to it or with others between. The context
    answer stays the case's. Shrinks to the first substitute, right behind.

    Args:
        case: a case that names its context answer.
        substitutes: other answers, as in `conflicts`.

    Raises:
        EmptyTextError: if the case names no context answer.
        CaseError: if its passages do not state it, or no substitute is another answer.

    Example:
        >>> from hypothesis import find
        >>> case = RagCase("Where was she born?", "In Cork.", context_answer="Cork")
        >>> find(contradictory(case, ["Rome", "Oslo"]), lambda case: "Oslo" in case.context[0])
        RagCase('Where was she born?', ('In Oslo.', 'In Cork.'), context_answer='Cork')
    """
    answer = stated_answer(case)
    chosen = other_answers(case, answer, substitutes, of="contradictory")
    spoken = (answer, *chosen, *several(case.subject or ()))
    fillers = [text for text in DISTRACTORS if not states_any(text, spoken)]
    gold = stating(case, answer)
    places = sorted(range(len(case.passages) + 1), key=lambda at: (at != gold + 1, at != gold, at))
    between = st.lists(st.sampled_from(fillers), max_size=2 if fillers else 0)
    drawn = st.tuples(st.sampled_from(chosen), st.sampled_from(places), between)
    return shown_as_made(drawn, lambda each: disputed(case, answer, *each))


def partial(case: RagCase) -> st.SearchStrategy[RagCase]:
    """Draw the case without the sentences that state its answer, and with some of the others.

    There is no context answer. Shrinks to the first sentence that is left.

    Raises:
        EmptyTextError: if the case names no context answer.
        CaseError: if its passages do not state it, or nothing else.

    Example:
        >>> from hypothesis import find
        >>> case = RagCase("Where is it?", "It is old. It is in Cork.", context_answer="Cork")
        >>> find(partial(case), lambda _: True)
        RagCase('Where is it?', ('It is old.',))
    """
    answer = stated_answer(case)
    pieces = silent_pieces(case, answer)
    if not pieces:
        raise CaseError(
            f"every sentence of {quoted(repr(case.context))} states {answer!r}",
            where="partial, case",
            expected="A sentence that stays when those that state the answer are gone",
            action="Pass a case with such a sentence, or use irrelevant",
        )
    drawn = st.lists(st.sampled_from(pieces), min_size=1, max_size=len(pieces))
    return shown_as_made(drawn, lambda left: bereft(case, left))


def rag_cases(
    cases: str | Path | Iterable[RagCase | NamedCase | Mapping[str, Any]],
    *,
    columns: Columns | None = None,
) -> st.SearchStrategy[RagCase]:
    """Draw one of the cases; shrinks to the first.

    Args:
        cases: cases, the path of a file of them, or rows: dicts, as a data set yields them.
        columns: field of RagCase -> the column to take for it, in a file or in rows.

    Raises:
        EmptyTextError: if there is none.
        CaseError: if the file cannot be read or a row is no case; here, not when one is drawn.

    Example:
        >>> from hypothesis import find
        >>> rows = [{"query": "Where?", "passages": ["In Cork."]}]
        >>> find(rag_cases(rows, columns={"context": "passages"}), lambda _: True)
        RagCase('Where?', ('In Cork.',))
    """
    if isinstance(cases, str | Path):
        return st.sampled_from([named.case for named in read_cases(cases, columns)])
    given = [each.case if isinstance(each, NamedCase) else each for each in cases]
    if not given:
        raise EmptyTextError(role="list of cases", text="")
    ready = [each for each in given if isinstance(each, RagCase)]
    if len(ready) == len(given) and columns is None:
        return st.sampled_from(ready)
    rows = cast("list[Mapping[str, Any]]", given)
    return st.sampled_from([named.case for named in cases_from(rows, columns, source="rag_cases")])


def paraphrases(
    question: str, templates: str | Sequence[str], *, subject: str | None = None
) -> st.SearchStrategy[str]:
    """Draw a question as it is, or reworded; shrinks to the question as it is.

    Args:
        question: the question.
        templates: the same in other words, each with '{subject}' where its subject stands.
        subject: what the question asks about, verbatim in it. Without, the only name in it.

    Raises:
        CaseError: if there is no template, one has no '{subject}', or the subject is not found.

    Example:
        >>> from hypothesis import find
        >>> drawn = paraphrases("Where was Ada Quill born?", ["Where does {subject} come from?"])
        >>> find(drawn, lambda question: "come" in question)
        'Where does Ada Quill come from?'
    """
    chosen = several(templates)
    require_texts(chosen, argument="templates", of="paraphrases")
    asked = find_subject(question, "")[0] if subject is None else subject
    if not occurrences(question, asked):
        raise SpanNotFoundError(role="subject", text=asked, region="question", within=question)
    for template in chosen:
        if "{subject}" not in template:
            raise CaseError(
                f"the template {quoted(template)} has no {{subject}}",
                where="paraphrases, templates",
                expected="A template asks about the subject of the question",
                action="Write {subject} where the subject stands",
            )
    reworded = [template.replace("{subject}", asked) for template in chosen]
    return st.sampled_from(list(dict.fromkeys((question, *reworded))))


@st.composite
def made_up_cases(draw: st.DrawFn) -> RagCase:
    """Draw a case about somebody, or something, that nobody knows anything of.

    Subject, context answer and substitutes are given, so that no model is asked for them.
    Shrinks to one passage.

    Example:
        >>> from hypothesis import find
        >>> case = find(made_up_cases(), lambda _: True)
        >>> case.question, case.context
        ('Where was Tarbek Pandrova born?', ('Tarbek Pandrova was born in Veltano.',))
    """
    asked, stated, like_subject, like_answer = draw(st.sampled_from(_RELATIONS))
    subject = draw(st.sampled_from(invented_subjects(like_subject)))
    answers = invented_substitutes(like_answer)
    answer = draw(st.sampled_from(answers))
    return RagCase(
        asked.format(subject=subject),
        draw(contexts(stated.format(subject=subject, answer=answer), answer=answer)),
        subject=subject,
        context_answer=answer,
        substitutes=tuple(other for other in answers if other != answer),
    )
