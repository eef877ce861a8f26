"""Contexts around a gold passage, contradicting contexts, and cases from a list.

All of them shrink by whole passages towards the gold passage alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hypothesis import strategies as st

from pytest_ragshortcut.core.casefiles import Columns, NamedCase, cases_from, read_cases
from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.spans import occurrences
from pytest_ragshortcut.errors import CaseError, EmptyTextError, SpanNotFoundError

DISTRACTORS = (
    "The museum opens at nine every morning.",
    "Tickets can be bought at the door.",
    "The weather was mild that spring.",
    "Some of the letters have been lost.",
    "Visitors are asked to keep quiet.",
    "More details are given in the next chapter.",
)


def contexts(
    gold: str,
    *,
    answer: str,
    distractors: Sequence[str] = DISTRACTORS,
    max_passages: int = 4,
) -> st.SearchStrategy[tuple[str, ...]]:
    """Draw contexts that hold a gold passage among distractors, in every place.

    Shrinks to the gold passage alone.

    Args:
        gold: the passage that states the answer.
        answer: the context answer, verbatim in the gold passage and in no distractor.
        distractors: passages that do not state it.
        max_passages: how many passages a context has at most.

    Raises:
        SpanNotFoundError: if the gold passage does not state the answer.
        CaseError: if a distractor does.
    """
    if not occurrences(gold, answer):
        raise SpanNotFoundError(role="answer", text=answer, region="gold passage", within=gold)
    _require_silent(distractors, answer)
    others = st.lists(st.sampled_from(tuple(distractors)), max_size=max_passages - 1, unique=True)
    return st.builds(_placed, st.just(gold), others, st.integers(0, max_passages - 1))


def conflicts(
    case: RagCase, substitutes: Sequence[str] | None = None
) -> st.SearchStrategy[RagCase]:
    """Draw the case with its context answer replaced by each substitute.

    Shrinks to the first substitute.

    Raises:
        EmptyTextError: if the case names no context answer, or there is no substitute.
    """
    if case.context_answer is None:
        raise EmptyTextError(role="context answer", text="")
    chosen = tuple(substitutes if substitutes is not None else case.substitutes or ())
    if not chosen:
        raise EmptyTextError(role="substitute", text="")
    old = case.context_answer
    return st.sampled_from(chosen).map(lambda new: _contradicting(case, old, new))


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


def _placed(gold: str, others: list[str], position: int) -> tuple[str, ...]:
    index = min(position, len(others))
    return (*others[:index], gold, *others[index:])


def _contradicting(case: RagCase, old: str, new: str) -> RagCase:
    swapped = case.swapped(old, new)
    return RagCase(
        case.question,
        swapped.context,
        subject=case.subject,
        context_answer=new,
        memory_answer=case.memory_answer,
    )


def _require_silent(distractors: Sequence[str], answer: str) -> None:
    for distractor in distractors:
        if occurrences(distractor, answer):
            raise CaseError(
                f"the distractor {distractor!r} states the answer {answer!r}",
                where="contexts, distractors",
                expected="A distractor does not state the answer",
                action="Leave it out, or reword it",
            )
