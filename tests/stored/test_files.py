"""Stored files of any format: what is said of one that cannot be read, used or written."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import pytest

from pytest_ragshortcut.errors import StoredFileError
from pytest_ragshortcut.stored.files import Format


class Note(TypedDict):
    """A text."""

    schema: int
    plugin: str
    text: str


NOTES = Format(Note, 3, "note", "--rag-note", "Write it again with --rag-note")
NOTE: Note = {"schema": 3, "plugin": "1.0", "text": "é"}


def _refused(tmp_path: Path, content: Any) -> StoredFileError:
    with pytest.raises(StoredFileError) as caught:
        NOTES.checked(tmp_path / "n.json", content)
    return caught.value


def test_a_format_speaks_of_its_own_files(tmp_path: Path) -> None:
    error = _refused(tmp_path, {**NOTE, "text": 5})
    assert error.problem == f"the note {str(tmp_path / 'n.json')!r} is not a note: text is 5"
    assert error.where == "text"
    assert error.expected == "A note of schema 3, where text is a valid string"
    assert error.action == "Write it again with --rag-note"
    assert "more is no key of a note" in _refused(tmp_path, {**NOTE, "more": 1}).problem
    assert _refused(tmp_path, 5).where == "note"


@pytest.mark.parametrize(
    ("number", "side", "action"),
    [
        (2, "older", "Write it again with --rag-note"),
        (4, "newer", "Update pytest-ragshortcut, 1.0"),
    ],
)
def test_another_schema_is_told_by_its_number(
    tmp_path: Path, number: int, side: str, action: str
) -> None:
    error = _refused(tmp_path, {"schema": number, "plugin": "1.0", "else": 0})
    assert f"its schema is {number}, {side} than 3" in error.problem
    assert error.action.startswith(action)
    assert ("1.0 wrote it" in error.action) == (side == "newer")
    assert error.where == "schema"


def test_a_file_is_written_in_utf_8_without_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "n.json"
    NOTES.write(path, NOTES.text(NOTE))
    assert path.read_bytes().splitlines()[-2] == ' "text": "é"'.encode()
    assert NOTES.checked(path, NOTES.content(path)) == NOTE


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(StoredFileError, match=r"the note .* cannot be read"):
        NOTES.content(tmp_path)
    with pytest.raises(StoredFileError, match=r"the note .* cannot be written"):
        NOTES.write(tmp_path, "")
    assert not list(tmp_path.iterdir())
    assert not list(tmp_path.parent.glob(".*.part"))


def test_the_published_schema_has_the_formats_number() -> None:
    assert NOTES.json_schema()["properties"]["schema"]["const"] == 3
