"""What a report and a baseline both say of a check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TypedDict

Key = tuple[str, str, str, int]
"""Test, case, kind, and which of a test's equal checks it is."""


class ReadingRecord(TypedDict):
    """What a case's reading was, in short."""

    score: float | None
    interval: list[float | None]
    verdict: str
    answer: str
    context_answer: str
    memory_answer: str
    readings: dict[str, float | None]
    """probe -> its reading."""


def keys_of(names: Iterable[tuple[str, str, str]]) -> Iterator[Key]:
    """Name checks by test, case and kind, and those of one name by their turn.

    Example:
        >>> [turn for *_, turn in keys_of([("a", "c", "context")] * 2 + [("b", "c", "context")])]
        [1, 2, 1]
    """
    turns: Counter[tuple[str, str, str]] = Counter()
    for name in names:
        turns[name] += 1
        yield *name, turns[name]
