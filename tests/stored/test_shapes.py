"""Records as JSON: one text for each value, and a schema that says what the source says."""

from __future__ import annotations

import doctest
import json
from typing import Any, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pytest_ragshortcut.stored import shapes
from pytest_ragshortcut.stored.readings import ReadingRecord
from pytest_ragshortcut.stored.shapes import adapter, json_schema_of, records_within, written

TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=3), some),
    max_leaves=9,
)


class Twice(TypedDict):
    """Two readings.

    The same record, and one that is defined elsewhere.
    """

    first: ReadingRecord
    """The one
    before."""
    others: dict[str, list[ReadingRecord | None]]
    count: int


def _reading(score: Any) -> dict[str, Any]:
    texts = dict.fromkeys(("verdict", "answer", "context_answer", "memory_answer"), "")
    return {"readings": {}, **texts, "score": score, "interval": [None, 1]}


def test_the_examples_hold() -> None:
    results = doctest.testmod(shapes)
    assert results.attempted
    assert not results.failed


@given(tree=TREES)
def test_a_text_says_what_the_value_is(tree: Any) -> None:
    try:
        expected = json.dumps(tree, allow_nan=False)
    except ValueError:
        with pytest.raises(ValueError, match="JSON"):
            written(tree, Any)
    else:
        assert json.dumps(json.loads(written(tree, Any))) == expected


def test_only_lists_of_plain_values_are_one_line() -> None:
    value = {"a": [1, 2], "b": [[1], []], "c": {}, "d": {"e": 0}}
    lines = ["{", ' "a": [1, 2],', ' "b": [', "  [1],", "  []", " ],", ' "c": {},', ' "d": {']
    assert written(value, dict[str, Any]).splitlines() == [*lines, '  "e": 0', " }", "}"]


def test_every_record_within_has_the_order_of_its_class_and_no_other_key() -> None:
    value = {"count": 1, "more": 2, "others": {"b": [None, _reading(1.0)], "a": []}}
    made = json.loads(written(value | {"first": _reading(0.5)}, Twice))
    assert list(made) == ["first", "others", "count"]
    assert list(made["others"]) == ["b", "a"], "names are the caller's to order"
    for reading in (made["first"], made["others"]["b"][1]):
        assert list(reading) == list(ReadingRecord.__annotations__)


def test_a_key_that_is_missing_is_not_written_as_something() -> None:
    with pytest.raises(KeyError, match="first"):
        written({"others": {}, "count": 1}, Twice)


@pytest.mark.parametrize(
    ("change", "is_right"),
    [
        ({}, True),
        ({"first": _reading(1)}, True),
        ({"others": {"a": [None, _reading(None)]}}, True),
        ({"first": _reading("1")}, False),
        ({"first": _reading(True)}, False),
        ({"first": _reading(float("nan"))}, False),
        ({"others": {"a": ({},)}}, False),
        ({"others": {1: []}}, False),
        ({"count": 1.0}, False),
        ({"count": None}, False),
        ({"more": 1}, False),
    ],
)
def test_a_value_is_taken_to_the_letter(change: dict[str, Any], is_right: bool) -> None:
    value = {"first": _reading(0.5), "others": {}, "count": 1, **change}
    if is_right:
        assert adapter(Twice).validate_python(value) == value
    else:
        with pytest.raises(ValidationError):
            adapter(Twice).validate_python(value)


def test_keys_are_described_where_their_class_is_defined() -> None:
    made = json_schema_of(Twice)
    assert records_within(Twice) == [Twice, ReadingRecord]
    assert made["$defs"].keys() == {"ReadingRecord"}
    assert made["properties"]["first"]["description"] == "The one\nbefore."
    assert "description" not in made["properties"]["count"]
    inner = made["$defs"]["ReadingRecord"]["properties"]
    assert inner["readings"]["description"] == "probe -> its reading."
    assert made["description"].splitlines()[0] == "Two readings."
