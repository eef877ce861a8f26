"""Whole reports, drawn from the schema itself: any text, any finite number, any count of things."""

from __future__ import annotations

from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints, is_typeddict

from hypothesis import strategies as st

from pytest_ragshortcut.reporting import schema

# What some format or other reads as more than text.
BARBS = [
    "|", "`", "\\", '"', "<b>", "</code></details>", "\n", "\n\n", "\r", "\x00", "\x1b[31m", "&lt;",
    "::error::x", "%0A", "# EOF", '"} 1\n', ",", ":", "\ud800", "\udc00", "\x85", "\u2028", "*_~",
]  # fmt: skip


def _as_in_json(text: str) -> str:
    """Make one character of a high and a low surrogate side by side, as every JSON reader does."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


_PARTS = st.sampled_from(["a", "B c", *BARBS]) | st.characters()
TEXTS = st.tuples(_PARTS, _PARTS).map("".join).map(_as_in_json) | st.just("")
_PLAIN = {
    str: TEXTS,
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    type(None): st.none(),
}


def of_type(kind: Any) -> st.SearchStrategy[Any]:
    """Draw a value of a type that the schema uses."""
    inside = get_args(kind)
    if is_typeddict(kind):
        hints = get_type_hints(kind)
        return st.fixed_dictionaries({key: of_type(each) for key, each in hints.items()})
    if get_origin(kind) is list:
        # Mostly filled: through five lists within each other little would ever be drawn.
        item = of_type(inside[0])
        some = item.map(lambda one: [one])
        return st.one_of(some, some, st.tuples(item, item).map(list), st.just([]))
    if get_origin(kind) is dict:
        return st.dictionaries(TEXTS, of_type(inside[1]), max_size=2)
    if get_origin(kind) is UnionType:
        return st.one_of(*map(of_type, inside))
    if get_origin(kind) is Literal:
        return st.sampled_from(inside)
    return _PLAIN[kind]


REPORTS = of_type(schema.Report).map(lambda report: report | {"schema": schema.SCHEMA})
