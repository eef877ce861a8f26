"""Rows of a table become RagCases, under ids that outlast changes around them.

A column named like a field of RagCase is that field, and `id` is the id. Where there is none:

    field      taken for it
    question   query, user_input, input
    context    contexts, passages, documents, ctxs, retrieved_contexts, retrieval_context

A `prompt` is not: it often holds the context already. Nor is a reference, whatever its name: it
need not be what the passages say, word for word. A column `answer` with no context answer beside it
is refused: data sets mean the reference by it, RagCase what the model says. All other columns are
ignored, and so is one that is empty in every row. `columns` maps a field to the column to take for
it, None for no column; a dotted name reaches into objects, over lists and by number: 'ctxs.text',
'answers.text.0'.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from reprlib import repr as shortened
from typing import Any
from unicodedata import normalize

from pytest_ragshortcut.core.caserows import ABSENT, Row, decoded, is_empty, nearest, numbered
from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.errors import CaseError, EmptyTextError, listed

Columns = Mapping[str, str | None]

_FIELDS = ("id", *(field.name for field in fields(RagCase)))
_REQUIRED = ("question", "context")
_SYNONYMS: Mapping[str, Sequence[str]] = {
    "question": "query user_input input".split(),
    "context": "contexts passages documents ctxs retrieved_contexts retrieval_context".split(),
}
_TEXT_KEYS = ("text", "page_content", "content")
_SLUG_WORDS, _SLUG_LENGTH, _HASH_DIGITS = 6, 40, 6


@dataclass(frozen=True)
class NamedCase:
    """A case, and the id that tests and reports name it by."""

    id: str
    """Unique among the cases it was read with, and safe in a node id."""
    case: RagCase
    """The case."""


def cases_from(
    rows: Iterable[Mapping[str, Any]], columns: Columns | None = None, *, source: str
) -> tuple[NamedCase, ...]:
    """Take rows as cases: a list of dicts, or a data set that yields them.

    Args:
        rows: column -> value, for each case.
        columns: field of RagCase, or id -> the column to take for it; None for no column.
        source: what the rows are called in error texts.

    Returns:
        The cases in order. An id is the row's own, or made of what the case says.

    Raises:
        CaseError: if a row is no case; the text says which.

    Example:
        >>> row = {"query": "Who was Bo Reed?", "passages": [{"text": "A poet."}], "score": 0.7}
        >>> (named,) = cases_from([row], source="made by hand")
        >>> named.id, named.case
        ('who-was-bo-reed-b9847d', RagCase('Who was Bo Reed?', ('A poet.',)))
    """
    return named_cases(numbered(rows, f"{source}, row"), columns or {}, source)


def named_cases(rows: Sequence[Row], columns: Columns, source: str) -> tuple[NamedCase, ...]:
    """Make cases of rows, and an id for each.

    Raises:
        CaseError: as cases_from does.
    """
    if not rows:
        raise CaseError(
            "it holds no case",
            where=source,
            expected="At least one row that is a case",
            action="Write one: a suite of no cases passes whatever the model does",
        )
    chosen = _chosen(rows, columns, source)
    cases = [_case(row, chosen) for row in rows]
    return tuple(map(NamedCase, _ids(rows, cases, chosen.get("id")), cases))


def _chosen(rows: Sequence[Row], columns: Columns, source: str) -> dict[str, str]:
    """Return field -> column, by the mapping and else by name."""
    _require_fields(columns, source)
    filled = {name for row in rows for name, value in row.values.items() if not is_empty(value)}
    free = filled - set(columns.values())
    chosen = {field: column for field, column in columns.items() if column is not None}
    for field, column in chosen.items():
        if all(row.reach(column) is ABSENT for row in rows):
            raise _no_column(field, column, rows, source)
    for field in _FIELDS:
        if field not in columns and (found := _by_name(field, free, source)):
            chosen[field] = found
        if field in _REQUIRED and field not in chosen:
            raise _no_column(field, None, rows, source)
    if "answer" in chosen and "answer" not in columns and "context_answer" not in chosen:
        raise CaseError(
            "the column 'answer' may hold the reference, or what the model says",
            where=source,
            expected="A case's answer is what the model says, its context_answer what the "
            "context states",
            action="Say which: columns={'context_answer': 'answer'} for the reference, "
            "{'answer': 'answer'} for what the model says, {'answer': None} to leave it out",
        )
    return chosen


def _require_fields(columns: Columns, source: str) -> None:
    for field, column in columns.items():
        if field not in _FIELDS:
            spelled = f"{nearest([field], _FIELDS) or 'context'!r}: {column!r}"
            turned = f"{column!r}: {field!r}"
            raise CaseError(
                f"columns maps {field!r}, which is no field of a case",
                where=source,
                expected=f"It maps fields to columns; the fields are {', '.join(_FIELDS)}",
                action=f"Write columns={{{turned if column in _FIELDS else spelled}}}, say",
            )


def _by_name(field: str, free: Iterable[str], source: str) -> str | None:
    found = [name for name in (field, *_SYNONYMS.get(field, ())) if name in free]
    if len(found) > 1 and found[0] != field:
        raise CaseError(
            f"{len(found)} columns may be the {field}: {listed(found)}",
            where=source,
            expected=f"One column for the {field}",
            action=f"Name it: columns={{{field!r}: {found[0]!r}}}, say",
        )
    return found[0] if found else None


def _no_column(
    field: str, column: str | None, rows: Sequence[Row], where: str, action: str = ""
) -> CaseError:
    """Say what is missing: the column that was named, or any that is usual for the field."""
    wanted = [column] if column else [field, *_SYNONYMS[field]]
    there = list(dict.fromkeys(path for row in rows for path in row.paths()))
    return CaseError(
        f"there is no column {column!r}" if column else f"no column is named as the {field}",
        where=where,
        expected=f"For the {field} a column {listed(wanted)}; there are {listed(there)}",
        action=action or f"Name it: columns={{{field!r}: {nearest(wanted, there) or '...'!r}}}",
    )


def _case(row: Row, chosen: Mapping[str, str]) -> RagCase:
    values = {f: _value(row, f, column) for f, column in chosen.items() if f != "id"}
    try:
        return RagCase(**values)
    except EmptyTextError as error:
        column = chosen.get(error.role) or chosen[f"{error.role}s"]
        raise CaseError(
            error.problem,
            where=_cell(row, column),
            expected=error.expected,
            action="Write it, or leave the case out",
        ) from error


def _value(row: Row, field: str, column: str) -> Any:
    value = row.reach(column)
    if value is ABSENT and field in _REQUIRED:
        action = "Give the row that column, or leave the row out"
        raise _no_column(field, column, [row], row.place, action)
    if value is ABSENT or is_empty(value):
        return "" if field in _REQUIRED else None
    if field in ("context", "substitutes"):
        return _texts(row, field, column, decoded(value) if row.is_text else value)
    if not isinstance(value, str):
        raise _wrong(row, field, column, value, "A text")
    return value


def _texts(row: Row, field: str, column: str, value: Any) -> str | tuple[str, ...]:
    """Read a list of texts, or of objects with a text each; a context may be one text."""
    one = field == "context" and isinstance(value, str)
    # A list that Python printed would be one passage, with brackets and quotes.
    printed = one and row.is_text and re.fullmatch(r"\s*\[['\"].*\]\s*", value, re.DOTALL)
    if one and not printed:
        return str(value)
    if not isinstance(value, list | tuple):
        expected = "One text, or a list" if field == "context" else "A list"
        expected += " of texts, or of objects with a text each"
        written = ", in a cell as json.dumps writes it" if row.is_text else ""
        raise _wrong(row, field, column, value, expected + written)
    texts = []
    for item in value:
        named = [key for key in _TEXT_KEYS if isinstance(item, Mapping) and key in item]
        text = item[named[0]] if named else item
        if not isinstance(text, str):
            keys = ", ".join(_TEXT_KEYS)
            raise _wrong(row, field, column, item, f"A list of texts, or of objects with {keys}")
        texts.append(text)
    return tuple(texts)


def _wrong(row: Row, field: str, column: str, value: object, expected: str) -> CaseError:
    inside = next(iter(value), None) if isinstance(value, Mapping) else None
    inside = 0 if isinstance(value, list | tuple) else inside
    deeper = f", or reach into it: columns={{{field!r}: '{column}.{inside}'}}, say"
    return CaseError(
        f"{shortened(value)}, of type {type(value).__name__}, cannot be read as {field}",
        where=_cell(row, column),
        expected=expected,
        action="Correct it" + ("" if inside is None else deeper),
    )


def _cell(row: Row, column: str) -> str:
    return f"{row.place}, column {column!r}"


def _ids(rows: Sequence[Row], cases: Sequence[RagCase], column: str | None) -> list[str]:
    """Take the rows' own ids, and make one for each row that has none."""
    given = [column and _given_id(row, column) for row in rows]
    _require_unique(given, rows)
    taken = {each for each in given if each}
    ids = []
    for own, case in zip(given, cases, strict=True):
        ids.append(own or _free(_made_id(case), taken))
        taken.add(ids[-1])
    return ids


def _given_id(row: Row, column: str) -> str | None:
    value = row.reach(column)
    if value is ABSENT or is_empty(value):
        return None
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise _wrong(row, "id", column, value, "A text or a whole number")
    text = str(value).strip()
    if not text.isprintable() or any(sign in text for sign in ("::", "[", "]")):
        raise CaseError(
            f"the id {text!r} cannot be part of a test's name",
            where=_cell(row, column),
            expected="An id without '::', square brackets, line ends and control characters",
            action="Change it, or have ids made of the content: columns={'id': None}",
        )
    return text


def _require_unique(given: Sequence[str | None], rows: Sequence[Row]) -> None:
    first: dict[str, Row] = {}
    for own, row in zip(given, rows, strict=True):
        if own and first.setdefault(own, row) is not row:
            raise CaseError(
                f"the id {own!r} is given twice",
                where=f"{first[own].place} and {row.place}",
                expected="An id names one case: tests, reports and baselines go by it",
                action="Change one, or have ids made of the content: columns={'id': None}",
            )


def _made_id(case: RagCase) -> str:
    plain = normalize("NFKD", case.question).encode("ascii", "ignore").decode("ascii")
    words = re.findall("[a-z0-9]+", plain.lower().replace("'", ""))
    slug = "-".join(words[:_SLUG_WORDS])[:_SLUG_LENGTH].strip("-") or "case"
    # ascii() is the repr, alike under every version of Unicode.
    return f"{slug}-{sha256(ascii(case).encode('ascii')).hexdigest()[:_HASH_DIGITS]}"


def _free(made: str, taken: set[str]) -> str:
    """Number the repetitions: -2, -3."""
    free, number = made, 1
    while free in taken:
        number += 1
        free = f"{made}-{number}"
    return free
