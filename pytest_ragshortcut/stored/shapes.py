r"""A TypedDict as the shape of a JSON text: how it is written, what is refused, what is published.

Writing takes the standard library; reading and the published schema take pydantic.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints, is_typeddict

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_SURROGATE = re.compile("[\ud800-\udfff]")


def written(value: Any, kind: Any) -> str:
    r"""Write a value as JSON, keys in the order of its class, a list of plain values on one line.

    Every text survives, but for a high and a low surrogate side by side: JSON has no spelling of
    these other than that of the one character they stand for. Keys unknown to the class are left
    out.

    Args:
        value: the value, in builtins.
        kind: its TypedDict, or another type of builtins.

    Raises:
        ValueError: if a number is NaN or infinite.

    Example:
        >>> print(written({"b": [1, 2], "a": "\ud800"}, dict[str, Any]))
        {
         "b": [1, 2],
         "a": "\ud800"
        }
    """
    text = _written(_ordered(value, kind))
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


@cache
def adapter(kind: type) -> TypeAdapter[Any]:
    """Return what refuses every value that is not of a type to the letter."""
    from pydantic import TypeAdapter

    return TypeAdapter(_strict(kind))


def json_schema_of(kind: type) -> dict[str, Any]:
    """Return what the JSON of a record must be, as JSON Schema 2020-12.

    Each class is described by its docstring, and each key by the text below it in the source.
    """
    made = adapter(kind).json_schema()
    for record in records_within(kind):
        rule = made if record is kind else made["$defs"][record.__name__]
        for key, text in _descriptions(record).items():
            rule["properties"][key]["description"] = text
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def records_within(kind: Any) -> list[type]:
    """List the TypedDicts that a type is made of, itself first, wherever they are defined.

    Example:
        >>> from typing import TypedDict
        >>> Inner = TypedDict("Inner", {"n": int})
        >>> Outer = TypedDict("Outer", {"one": Inner, "more": dict[str, list[Inner | None]]})
        >>> [record.__name__ for record in records_within(Outer)]
        ['Outer', 'Inner']
    """
    return list(dict.fromkeys(_records(kind)))


def _records(kind: Any) -> Iterator[type]:
    if is_typeddict(kind):
        yield kind
    for each in _hints(kind).values() if is_typeddict(kind) else get_args(kind):
        yield from _records(each)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _ordered(value: Any, kind: Any) -> Any:
    """Return the value with every record's keys in the order of its class."""
    if is_typeddict(kind):
        return {key: _ordered(value[key], each) for key, each in _hints(kind).items()}
    origin, inside = get_origin(kind), get_args(kind)
    if origin is list:
        return [_ordered(item, inside[0]) for item in value]
    if origin is dict:
        return {key: _ordered(item, inside[1]) for key, item in value.items()}
    if origin is UnionType and value is not None:
        return _ordered(value, next(each for each in inside if each is not type(None)))
    return value


def _written(value: Any, indent: str = "") -> str:
    inner = indent + " "
    match value:
        case dict() if value:
            items = [f"{_plain(key)}: {_written(item, inner)}" for key, item in value.items()]
            opening, closing = "{}"
        case list() if any(isinstance(item, dict | list) for item in value):
            items = [_written(item, inner) for item in value]
            opening, closing = "[]"
        case _:
            return _plain(value)
    body = f",\n{inner}".join(items)
    return f"{opening}\n{inner}{body}\n{indent}{closing}"


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _strict(kind: Any) -> Any:
    """Return a type that takes no other keys and turns nothing into what it is not."""
    from pydantic import ConfigDict
    from typing_extensions import TypedDict  # pydantic refuses that of Python 3.11

    if is_typeddict(kind):
        make: Any = TypedDict
        made = make(kind.__name__, {key: _strict(each) for key, each in _hints(kind).items()})
        made.__doc__ = kind.__doc__
        made.__pydantic_config__ = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
        return made
    origin, inside = get_origin(kind), tuple(map(_strict, get_args(kind)))
    if origin is list or origin is dict:
        return origin[inside]
    return Union[inside] if origin is UnionType else kind  # noqa: UP007


def _descriptions(kind: type) -> dict[str, str]:
    """Return the text below each key that has one."""
    (record,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(record, ast.ClassDef)
    return {
        key.id: inspect.cleandoc(str(text.value))
        for above, below in pairwise(record.body)
        if isinstance(above, ast.AnnAssign) and isinstance(key := above.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(text := below.value, ast.Constant)
    }
