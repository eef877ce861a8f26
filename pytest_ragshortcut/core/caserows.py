"""A row of a table of cases: what its columns hold, by name or by a dotted path into objects."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from reprlib import repr as shortened
from typing import Any, Final

from pytest_ragshortcut.errors import CaseError

ABSENT: Final = object()
"""What a column holds where a row has no such column: None is a value."""

# Below this two short names are alike by chance: 'a.csv' and 'xyz.csv', say.
_MIN_SIMILARITY = 0.75


@dataclass(frozen=True)
class Row:
    """One case as it was read: column -> value."""

    values: Mapping[str, Any]
    """What each column holds."""
    place: str
    """File and line, say."""
    is_text: bool = False
    """Whether every value is text, as in CSV, where a list has to be written as JSON."""

    @classmethod
    def of(cls, values: object, place: str) -> Row:
        """Take a mapping as a row.

        Raises:
            CaseError: if it is none.
        """
        if isinstance(values, Mapping):
            return cls(values, place)
        raise CaseError(
            f"a case cannot be read from {shortened(values)}, of type {type(values).__name__}",
            where=place,
            expected="A row is an object, or a dict: column -> value",
            action="Pass the rows: df.to_dict('records') of a table, one split of a data set",
        )

    def reach(self, column: str) -> Any:
        """Return what a column holds, or ABSENT. A column of that very name goes first."""
        if column in self.values:
            return _builtin(self.values[column])
        head, *rest = column.split(".")
        value = self.values.get(head, ABSENT)
        return _reach(decoded(value) if self.is_text else value, rest)

    def paths(self) -> list[str]:
        """List its columns and, dotted, what the objects in them hold."""
        return list(_paths(self.values))


def numbered(rows: Iterable[object], place: str) -> list[Row]:
    """Take mappings as rows, each called by the place and its number from 1.

    Raises:
        CaseError: if one is no mapping.

    Example:
        >>> [row.place for row in numbered([{}, {}], "cases.json, item")]
        ['cases.json, item 1', 'cases.json, item 2']
    """
    return [Row.of(values, f"{place} {number}") for number, values in enumerate(rows, start=1)]


def nearest(wanted: Iterable[str], there: Iterable[str]) -> str | None:
    """Return the name that is spelled most like one of those wanted, if any is.

    Example:
        >>> nearest(["context", "passages"], ["id", "Pasages"])
        'Pasages'
    """
    folded = {name.lower(): name for name in there}
    near = [
        match
        for name in wanted
        for match in get_close_matches(name.lower(), folded, n=1, cutoff=_MIN_SIMILARITY)
    ]
    return folded[near[0]] if near else None


def decoded(cell: Any) -> Any:
    """Return the list that the cell of a text table is in JSON, of texts or objects; or the cell.

    Example:
        >>> decoded('["In Cork.", "In Rome."]'), decoded("[1] In Cork.")
        (['In Cork.', 'In Rome.'], '[1] In Cork.')
    """
    if not isinstance(cell, str) or not cell.lstrip().startswith("["):
        return cell
    try:
        value = json.loads(cell)
    except ValueError:
        return cell
    return value if all(isinstance(item, str | dict) for item in value) else cell


def is_empty(value: object) -> bool:
    """Whether a value says nothing: None, white space, or NaN, which is a table's None.

    Example:
        >>> is_empty(" "), is_empty(float("nan")), is_empty([]), is_empty(0)
        (True, True, False, False)
    """
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and not value.strip())


def _paths(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{prefix}{name}"
        inner = _builtin(value)
        inner = inner[0] if isinstance(inner, list) and inner else inner
        if isinstance(inner, Mapping):
            yield from _paths(inner, f"{prefix}{name}.")


def _reach(value: Any, parts: Sequence[str]) -> Any:
    value = _builtin(value)
    if not parts:
        return value
    head, *rest = parts
    if isinstance(value, Mapping):
        return _reach(value[head], rest) if head in value else ABSENT
    if not isinstance(value, list | tuple):
        return ABSENT
    if head.isdecimal():
        return _reach(value[int(head)], rest) if int(head) < len(value) else ABSENT
    found = [_reach(item, parts) for item in value]
    return ABSENT if any(item is ABSENT for item in found) else found


def _builtin(value: Any) -> Any:
    # Tables that were read from Parquet hold arrays for lists.
    return value.tolist() if hasattr(value, "tolist") else value
