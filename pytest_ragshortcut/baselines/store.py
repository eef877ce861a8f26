"""A baseline is one JSON file: schema version, model, and one score a check."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from pytest_ragshortcut.errors import StoredFileError

SCHEMA = 1


@dataclass(frozen=True)
class Baseline:
    """The scores of one run."""

    model: str
    """The model's name."""
    scores: Mapping[str, float | None]
    """'test | case' -> score; None where it was undefined."""

    def changes(self, scores: Mapping[str, float | None]) -> dict[str, float]:
        """Return what changed since, for every check that both runs define.

        Example:
            >>> Baseline("m", {"a": 0.5, "b": None}).changes({"a": 0.75, "b": 1.0, "c": 1.0})
            {'a': 0.25}
        """
        return {
            key: score - stored
            for key, score in scores.items()
            if score is not None and (stored := self.scores.get(key)) is not None
        }


def save(path: Path, baseline: Baseline) -> None:
    """Write a baseline with stable keys; the file is replaced whole or not at all.

    Raises:
        StoredFileError: if the folder does not exist.
    """
    if not path.parent.is_dir():
        raise _error(path, f"there is no folder {str(path.parent)!r}", "Create the folder")
    content = {"schema": SCHEMA, "model": baseline.model, "scores": dict(baseline.scores)}
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    with NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
        file.write(text)
    try:
        os.replace(file.name, path)
    except OSError:
        os.unlink(file.name)
        raise


def load(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        StoredFileError: if it is missing, not a baseline, or of another schema.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        schema = content["schema"]
        if schema == SCHEMA:
            return Baseline(str(content["model"]), dict(content["scores"]))
    except OSError as error:
        raise _error(path, "it cannot be read", "Write one with --rag-save") from error
    except (ValueError, KeyError, TypeError) as error:
        raise _error(path, "it is not a baseline", "Write one with --rag-save") from error
    raise _error(path, f"its schema is {schema!r}", "Write it again with --rag-save")


def _error(path: Path, problem: str, action: str) -> StoredFileError:
    return StoredFileError(
        f"the baseline {str(path)!r} cannot be used: {problem}",
        where="--rag-save or --rag-compare",
        expected=f"A JSON file of schema {SCHEMA}: model, and a score for each check",
        action=action,
    )
