"""Files of cases, read into rows; what their columns mean is said in casetables."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

from pytest_ragshortcut.core.caserows import Row, nearest, numbered
from pytest_ragshortcut.core.casetables import Columns, NamedCase, cases_from, named_cases
from pytest_ragshortcut.errors import CaseError, listed

__all__ = ["Columns", "NamedCase", "cases_from", "read_cases"]

_LIST_KEYS = ("data", "cases", "examples")
_ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")


def read_cases(path: str | Path, columns: Columns | None = None) -> tuple[NamedCase, ...]:
    """Read a file of cases: .jsonl, .ndjson, .json, .csv or .tsv, in UTF-8.

    Args:
        path: the file. JSON is a list of objects, alone or under 'data', 'cases' or 'examples';
            CSV and TSV have a header, and a cell may be a JSON list.
        columns: field of RagCase, or id -> the column to take for it; None for no column. Which
            are taken without it, casetables says.

    Returns:
        The cases in order. An id is the file's own, or made of what the case says.

    Raises:
        CaseError: if the file cannot be read or a line is no case; the text says which.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> row = {"id": "reed", "query": "Who?", "passages": ["Bo Reed was a poet."]}
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "cases.jsonl")
        ...     _ = file.write_text(json.dumps(row), encoding="utf-8")
        ...     read_cases(file)
        (NamedCase(id='reed', case=RagCase('Who?', ('Bo Reed was a poet.',))),)
    """
    file, source = Path(path), str(path)
    ending = file.suffix.lower()
    if ending not in _ENDINGS:
        raise CaseError(
            f"cases cannot be read from a file that ends in {file.suffix!r}",
            where=source,
            expected=f"A file that ends in {', '.join(_ENDINGS)}",
            action="Convert it, or read it with its own library and pass the rows, as dicts",
        )
    text = _text(file)
    if ending == ".json":
        rows = numbered(_objects(text, source), f"{source}, item")
    elif ending in (".csv", ".tsv"):
        rows = list(_table(text, source, "," if ending == ".csv" else "\t"))
    else:
        rows = list(_lines(text, source))
    return named_cases(rows, columns or {}, source)


def _text(file: Path) -> str:
    try:
        # The csv module wants line ends as they are.
        with file.open(encoding="utf-8-sig", newline="") as stream:
            return stream.read()
    except UnicodeDecodeError as error:
        raise CaseError(
            f"it is not UTF-8: byte 0x{error.object[error.start]:02x} at {error.start}",
            where=str(file),
            expected="A file in UTF-8, with or without a byte order mark",
            action="Save it as UTF-8",
        ) from error
    except OSError as error:
        raise _unopened(file, str(error.strerror)) from error


def _unopened(file: Path, reason: str) -> CaseError:
    folder = file.absolute().parent
    there = [each.name for each in folder.iterdir() if each.is_file()] if folder.is_dir() else []
    near = nearest([file.name], there)
    beside = f"For a file beside the test pass Path(__file__).with_name({file.name!r})"
    return CaseError(
        f"the file {str(file)!r} cannot be read: {reason}",
        where=f"folder {str(folder)!r}" + ("" if folder.is_dir() else ", which does not exist"),
        expected="A file, its path absolute or relative to the folder that pytest runs in",
        action=f"Correct the name: there is {near!r}" if near else beside,
    )


def _lines(text: str, source: str) -> Iterator[Row]:
    # Not splitlines(): a JSON string may hold U+2028 and the like as they are.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            value = _parsed(line, source, "One JSON object a line", first=number)
            yield Row.of(value, f"{source}, line {number}")


def _objects(text: str, source: str) -> list[Any]:
    expected = f"A list of objects, alone or under one of {listed(_LIST_KEYS)}"
    value = (
        _parsed(text, source, f"{expected}; one object a line is .jsonl") if text.strip() else []
    )
    if isinstance(value, dict):
        found = [value[key] for key in _LIST_KEYS if isinstance(value.get(key), list)]
        value = found[0] if len(found) == 1 else value
    if not isinstance(value, list):
        raise CaseError(
            f"the JSON is no list of cases: {shortened(value)}",
            where=source,
            expected=expected,
            action="Give one list one of these names",
        )
    return value


def _parsed(text: str, source: str, expected: str, *, first: int = 1) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise CaseError(
            f"it is not JSON: {error.msg}",
            where=f"{source}, line {first + error.lineno - 1}, column {error.colno}",
            expected=expected,
            action="Correct the line, or the ending of the file's name",
        ) from error


def _table(text: str, source: str, delimiter: str) -> Iterator[Row]:
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    place = f"{source}, line 1"
    try:
        for cells in reader:
            if cells:
                _require_width(cells, header or cells, place)
            if cells and header:
                yield Row(dict(zip(header, cells, strict=True)), place, is_text=True)
            header = header or cells
            # Not the number of cells read: one may hold line ends, and lines may be blank.
            place = f"{source}, line {reader.line_num + 1}"
    except csv.Error as error:
        raise CaseError(
            f"the table cannot be read: {error}",
            where=place,
            expected="A cell that holds a quote, a line end or the delimiter stands in double "
            "quotes, the quotes inside it doubled",
            action="Correct the line, or write the cases as .jsonl",
        ) from error


def _require_width(cells: Sequence[str], header: Sequence[str], place: str) -> None:
    twice = [name for name in header if name and header.count(name) > 1]
    if twice:
        raise CaseError(
            f"the header names {twice[0]!r} twice",
            where=place,
            expected="A header that names each column once",
            action="Rename one of them",
        )
    if len(cells) != len(header):
        raise CaseError(
            f"the header names {len(header)} columns, and the line has {len(cells)}",
            where=place,
            expected="A cell in every line for each column of the header, empty ones too",
            action="Add what is missing, or put a cell that holds the delimiter in double quotes",
        )
