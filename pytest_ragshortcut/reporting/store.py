"""A report is one JSON file: written whole or not at all, read only if every key is as it must be.

Writing takes the standard library; reading and the published schema take pydantic.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import reprlib
import secrets
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    NoReturn,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from pytest_ragshortcut.errors import StoredFileError
from pytest_ragshortcut.reporting import schema
from pytest_ragshortcut.reporting.schema import SCHEMA, Report

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

_SURROGATE = re.compile("[\ud800-\udfff]")
_AGAIN = "Write it again with --rag-json"


def dump_report(report: Report) -> str:
    r"""Write a report as JSON, keys in the schema's order, a list of plain values on one line.

    Every text survives, but for a high and a low surrogate side by side: JSON has no spelling of
    these other than that of the one character they stand for. Keys unknown to the schema are left
    out.

    Raises:
        ValueError: if a number is NaN or infinite.

    Example:
        >>> empty = {"schema": 1, "plugin": "0.1.0", "created": "", "seed": 0, "models": [],
        ...          "tests": [], "notes": ["A\ud800", "B"]}
        >>> print(dump_report(empty).splitlines()[-2])
         "notes": ["A\ud800", "B"]
    """
    text = _written(_ordered(report, Report)) + "\n"
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def write_report(path: Path, report: Report) -> None:
    """Write a report to a file, which is replaced whole or stays as it was.

    Raises:
        StoredFileError: if the folder does not exist, or cannot be written to.
        ValueError: if a number is NaN or infinite.
    """
    content = dump_report(report).encode("utf-8")
    if not path.parent.is_dir():
        problem = f"there is no folder {str(path.parent)!r}"
        raise _unusable(path, "cannot be written", problem, action="Create the folder")
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        problem = error.strerror or str(error)
        raise _unusable(path, "cannot be written", problem, action="Name another file") from error
    finally:
        part.unlink(missing_ok=True)


def load_report(path: Path) -> Report:
    """Read a report, every key of which is there and of its type.

    Raises:
        StoredFileError: if it cannot be read, is no report, or is one of another schema.
    """
    from pydantic import ValidationError

    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except OSError as error:
        problem = error.strerror or str(error)
        raise _unusable(path, "cannot be read", problem, action="Check the path") from error
    except (ValueError, RecursionError) as error:
        raise _unusable(path, "is not JSON", str(error)) from error
    _require_schema(path, content)
    try:
        return cast("Report", _adapter().validate_python(content))
    except ValidationError as error:
        raise _wrong_shape(path, error.errors(include_url=False)[0]) from error


def json_schema() -> dict[str, Any]:
    """Return what a report's JSON must be, as JSON Schema 2020-12: report.schema.json."""
    made = _adapter().json_schema()
    for name, record in {**made["$defs"], made["title"]: made}.items():
        for key, text in _descriptions(getattr(schema, name)).items():
            record["properties"][key]["description"] = text
    made["properties"]["schema"]["const"] = SCHEMA
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


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


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


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


@cache
def _adapter() -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(_strict(Report))


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


def _require_schema(path: Path, content: Any) -> None:
    number = content.get("schema") if isinstance(content, dict) else None
    if type(number) is not int or number == SCHEMA:
        return
    older = number < SCHEMA
    action = _AGAIN if older else f"Update pytest-ragshortcut, {content.get('plugin')} wrote it"
    side = "older" if older else "newer"
    problem = f"its schema is {number}, {side} than {SCHEMA}"
    raise _unusable(path, "cannot be used", problem, where="schema", action=action)


def _wrong_shape(path: Path, first: ErrorDetails) -> StoredFileError:
    """Say which key is wrong, and what it should be."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    place = "".join(parts).removeprefix(".") or "report"
    problem = f"{place} is {reprlib.repr(first['input'])}"
    should = f"where {place} is {first['msg'].removeprefix('Input should be ')}"
    if first["type"] == "missing":
        problem, should = f"{place} is missing", f"with {place}"
    elif first["type"] == "extra_forbidden":
        problem, should = f"{place} is no key of a report", f"without {place}"
    return _unusable(path, "is not a report", problem, where=place, expected=should)


def _unusable(
    path: Path,
    what: str,
    problem: str,
    *,
    where: str = "--rag-json",
    expected: str = "",
    action: str = _AGAIN,
) -> StoredFileError:
    shape = f"A report of schema {SCHEMA}" + (f", {expected}" if expected else "")
    return StoredFileError(
        f"the report {str(path)!r} {what}: {problem}", where=where, expected=shape, action=action
    )


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")
