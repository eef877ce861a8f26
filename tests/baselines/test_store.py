"""Baselines: what is written is read, and what is not a baseline is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ragshortcut.baselines.store import Baseline, load, save
from pytest_ragshortcut.errors import StoredFileError

SCORES = st.dictionaries(st.text(), st.none() | st.floats(0, 1))


@given(model=st.text(), scores=SCORES)
def test_write_then_read_is_identity(
    tmp_path_factory: pytest.TempPathFactory, model: str, scores: dict[str, float | None]
) -> None:
    path = tmp_path_factory.mktemp("baseline") / "b.json"
    save(path, Baseline(model, scores))
    assert load(path) == Baseline(model, scores)


@pytest.mark.parametrize(
    ("text", "problem"),
    [(None, "cannot be read"), ("{", "not a baseline"), ("[]", "not a baseline"),
     ("{}", "not a baseline"), ('{"schema": 99}', "schema is 99")],
)  # fmt: skip
def test_what_is_not_a_baseline_is_refused(tmp_path: Path, text: str | None, problem: str) -> None:
    path = tmp_path / "b.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(StoredFileError, match=problem):
        load(path)


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoredFileError, match="no folder"):
        save(tmp_path / "none" / "b.json", Baseline("m", {}))


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "b.json"
    save(path, Baseline("old", {"a": 1.0}))

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save(path, Baseline("new", {}))
    monkeypatch.undo()
    assert load(path).model == "old"
    assert list(tmp_path.iterdir()) == [path], "no half-written file stays behind"


def test_keys_are_stable(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    save(path, Baseline("m", {"b": 0.5, "a": 1.0}))
    assert list(json.loads(path.read_text(encoding="utf-8"))["scores"]) == ["a", "b"]
