"""A stored record is one JSON file: written whole or not at all, read if every key is right."""

from __future__ import annotations

import json
import reprlib
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast

from pytest_ragshortcut.errors import StoredFileError
from pytest_ragshortcut.stored.shapes import adapter, json_schema_of, written

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_T = TypeVar("_T")


@dataclass(frozen=True)
class Format(Generic[_T]):
    """One sort of file, and what is said of those that are not of it."""

    record: type[_T]
    """Its TypedDict, which has the keys `schema` and `plugin`."""
    schema: int
    """The number of today's."""
    noun: str
    option: str
    """What is answerable for such a file."""
    again: str
    """The one thing to do about a file that is not of it."""

    def text(self, value: _T) -> str:
        """Return a file's text.

        Raises:
            ValueError: if a number is NaN or infinite.
        """
        return written(value, self.record) + "\n"

    def write(self, path: Path, text: str) -> None:
        """Write a file, which is replaced whole or stays as it was.

        Raises:
            StoredFileError: if the folder does not exist, or cannot be written to.
        """
        if not path.parent.is_dir():
            problem = f"there is no folder {str(path.parent)!r}"
            raise self.error(path, "cannot be written", problem, action="Create the folder")
        try:
            replace_whole(path, text.encode("utf-8"))
        except OSError as error:
            raise self.unwritten(path, error) from error

    def content(self, path: Path) -> Any:
        """Return what the JSON of a file says, whatever it is.

        Raises:
            StoredFileError: if it cannot be read, or is not JSON.
        """
        try:
            return json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
        except OSError as error:
            problem = error.strerror or str(error)
            raise self.error(path, "cannot be read", problem, action="Check the path") from error
        except (ValueError, RecursionError) as error:
            raise self.error(path, "is not JSON", str(error)) from error

    def checked(self, path: Path, content: Any) -> _T:
        """Return a file's content, every key of which is there and of its type.

        Raises:
            StoredFileError: if it is no such record, or is one of another schema.
        """
        from pydantic import ValidationError

        self._require_schema(path, content)
        try:
            return cast("_T", adapter(cast("type", self.record)).validate_python(content))
        except ValidationError as error:
            raise self._wrong_shape(path, error.errors(include_url=False)[0]) from error

    def json_schema(self) -> dict[str, Any]:
        """Return what a file must be, as JSON Schema 2020-12."""
        made = json_schema_of(self.record)
        made["properties"]["schema"]["const"] = self.schema
        return made

    def error(
        self,
        path: Path,
        what: str,
        problem: str,
        *,
        where: str = "",
        expected: str = "",
        action: str = "",
    ) -> StoredFileError:
        """Say what is wrong with a file; the rest is known of its format unless it is said."""
        shape = f"A {self.noun} of schema {self.schema}" + (f", {expected}" if expected else "")
        return StoredFileError(
            f"the {self.noun} {str(path)!r} {what}: {problem}",
            where=where or self.option,
            expected=shape,
            action=action or self.again,
        )

    def wrong_value(self, path: Path, place: str, value: object, should: str) -> StoredFileError:
        """Say which key holds what it must not, and what it should be."""
        problem = f"{place} is {reprlib.repr(value)}"
        expected = f"where {place} is {should}"
        return self.error(path, f"is not a {self.noun}", problem, where=place, expected=expected)

    def unwritten(self, path: Path, error: OSError) -> StoredFileError:
        """Say why a file was not written."""
        problem = error.strerror or str(error)
        return self.error(path, "cannot be written", problem, action="Name another file")

    def _require_schema(self, path: Path, content: Any) -> None:
        number = content.get("schema") if isinstance(content, dict) else None
        if type(number) is not int or number == self.schema:
            return
        older = number < self.schema
        update = f"Update pytest-ragshortcut, {content.get('plugin')} wrote it"
        action = self.again if older else update
        side = "older" if older else "newer"
        problem = f"its schema is {number}, {side} than {self.schema}"
        raise self.error(path, "cannot be used", problem, where="schema", action=action)

    def _wrong_shape(self, path: Path, first: ErrorDetails) -> StoredFileError:
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        place = "".join(parts).removeprefix(".") or self.noun
        if first["type"] == "missing":
            problem, expected = f"{place} is missing", f"with {place}"
        elif first["type"] == "extra_forbidden":
            problem, expected = f"{place} is no key of a {self.noun}", f"without {place}"
        else:
            should = first["msg"].removeprefix("Input should be ")
            return self.wrong_value(path, place, first["input"], should)
        what = f"is not a {self.noun}"
        return self.error(path, what, problem, where=place, expected=expected)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def replace_whole(path: Path, content: bytes) -> None:
    """Write a file, which is replaced whole or stays as it was; its mode stays.

    Raises:
        OSError: if it cannot be written.
    """
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        part.write_bytes(content)
        if path.exists():
            shutil.copymode(path, part)
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()
