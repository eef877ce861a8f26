"""What the tests of stored records share: their parts, and what a published schema says of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

Place = tuple[str | int, ...]
# A list and a mapping that are right nowhere.
WRONG = [[{"wrong": 0}], {"wrong": [[{}]]}]
TYPES = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None),
    "array": list, "object": dict,
}  # fmt: skip
SAID = {"$schema", "$defs", "title", "description", "default"}
CHECKED = {"$ref", "anyOf", "type", "enum", "const", "properties", "required", "items"}
CHECKED |= {"additionalProperties", "pattern", "format", "minimum", "maximum"}


def records(kind: Any, value: Any, *place: str | int) -> Iterator[tuple[Any, Any]]:
    """Yield where each record of a value is, and its class."""
    inside = get_args(kind)
    if is_typeddict(kind):
        yield place, kind
        for key, each in get_type_hints(kind).items():
            yield from records(each, value[key], *place, key)
    elif get_origin(kind) is list:
        for index, item in enumerate(value):
            yield from records(inside[0], item, *place, index)
    elif get_origin(kind) is dict:
        for key, item in value.items():
            yield from records(inside[1], item, *place, key)
    elif inside and value is not None and is_typeddict(inside[0]):
        yield from records(inside[0], value, *place)


def keys(kind: Any, value: Any) -> list[Place]:
    """List where each key of each record of a value is."""
    return [
        (*place, key) for place, record in records(kind, value) for key in record.__annotations__
    ]


def at(value: Any, place: Place) -> Any:
    for part in place:
        value = value[part]
    return value


def spelled(place: Place) -> str:
    """Spell a place as errors do."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).removeprefix(".")


def spoil(value: Any, key: Place, change: str | int) -> str:
    """Drop a key, add one beside it or set it to WRONG; return where that is."""
    record, name = at(value, key[:-1]), key[-1]
    if change == "drop":
        del record[name]
    elif change == "extra":
        name = f"{name}2"
        record[name] = record[key[-1]]
    else:
        record[name] = WRONG[int(change)]
    return spelled((*key[:-1], name))


def wrong(value: Any, rule: dict[str, Any], schema: dict[str, Any]) -> bool:
    """Say whether a value breaks a rule of JSON Schema, of the keywords that a record's needs."""
    assert rule.keys() <= SAID | CHECKED, "a keyword that nothing here would check"
    if "$ref" in rule:
        return wrong(value, schema["$defs"][rule["$ref"].removeprefix("#/$defs/")], schema)
    if "anyOf" in rule:
        return all(wrong(value, each, schema) for each in rule["anyOf"])
    if not isinstance(value, TYPES[rule["type"]]):
        return True
    if isinstance(value, bool) and rule["type"] != "boolean":
        return True
    if value not in rule.get("enum", [value]) or value != rule.get("const", value):
        return True
    if isinstance(value, str):
        return not re.search(rule.get("pattern", ""), value) or (
            "format" in rule and not _is_of_format(value, rule["format"])
        )
    if isinstance(value, int | float) and not isinstance(value, bool):
        return not rule.get("minimum", value) <= value <= rule.get("maximum", value)
    if isinstance(value, list):
        return any(wrong(item, rule["items"], schema) for item in value)
    if isinstance(value, dict):
        known, others = rule.get("properties", {}), rule.get("additionalProperties")
        return not value.keys() >= set(rule.get("required", ())) or any(
            wrong(item, known[key], schema)
            if key in known
            else not others or wrong(item, others, schema)
            for key, item in value.items()
        )
    return False


def _is_of_format(text: str, name: str) -> bool:
    assert name == "date", "a format that nothing here would check"
    try:
        return bool(datetime.strptime(text, "%Y-%m-%d"))
    except ValueError:
        return False
