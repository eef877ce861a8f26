"""Baselines as older versions of the plugin wrote them, and what they are today."""

from __future__ import annotations

import re
from reprlib import repr as shortened
from typing import TypedDict

from pytest_ragshortcut.baselines.schema import SCHEMA, Baseline, BaselineModel, EntryRecord

FIRST_SCHEMA = 1

# As RagCase shows itself: texts in Python's quotes, and of all else no more than this.
_QUOTED = r"""'[^'\\]*+(?:\\.[^'\\]*+)*+'|"[^"\\]*+(?:\\.[^"\\]*+)*+\""""
_CASE = rf"RagCase\((?:{_QUOTED}|[\w.=, ()])*\)"
_KEY = re.compile(rf"(.*?) \| ({_CASE})( \| parametric)?", flags=re.DOTALL)


class FirstBaseline(TypedDict):
    """A baseline of schema 1."""

    schema: int
    model: str
    """Its name; those of several models, with commas between them."""
    scores: dict[str, float | None]
    """'test | case', or 'test | case | parametric' -> score; None where it was undefined."""


def split_key(key: str) -> tuple[str, EntryRecord]:
    """Take apart what names a score of schema 1: a test and its check, of which nothing was read.

    The test and the case's texts may hold the same bars that stand between them.

    Raises:
        ValueError: if it names no check.

    Example:
        >>> test, entry = split_key("t.py::t[a | b] | RagCase('a | b', 'c') | parametric")
        >>> test, entry["case"], entry["kind"]
        ('t.py::t[a | b]', "RagCase('a | b', 'c')", 'parametric')
    """
    if (found := _KEY.fullmatch(key)) is None:
        raise ValueError(f"{shortened(key)} names no check")
    test, case, kind = found.groups()
    return test, {
        "case": case,
        "kind": "parametric" if kind else "context",
        "better": "less" if kind else "more",
        "asking": "",
        "reading": {
            "score": None,
            "interval": [None, None],
            "verdict": "",
            "answer": "",
            "context_answer": "",
            "memory_answer": "",
            "readings": {},
        },
    }


def migrated(first: FirstBaseline) -> Baseline:
    """Return what a baseline of schema 1 says, as one of today.

    Raises:
        ValueError: if a key names no check.

    Example:
        >>> scores = {"t.py::t | RagCase('Where?', 'Here.')": 0.5}
        >>> new = migrated({"schema": 1, "model": "m", "scores": scores})
        >>> [entry] = new["models"]["m"]["tests"]["t.py::t"]
        >>> entry["case"], entry["reading"]["interval"]
        ("RagCase('Where?', 'Here.')", [0.5, 0.5])
    """
    tests: dict[str, list[EntryRecord]] = {}
    for key, score in first["scores"].items():
        test, entry = split_key(key)
        entry["reading"] |= {"score": score, "interval": [score, score]}
        tests.setdefault(test, []).append(entry)
    model: BaselineModel = {"identity": None, "settings": None, "spread": None, "tests": tests}
    return {"schema": SCHEMA, "plugin": "", "waivers": [], "models": {first["model"]: model}}
