"""The checks that a test makes, kept so that none is forgotten and all are reported.

Standard library alone: pytest loads this in every run of every project.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from pytest_ragshortcut.errors import UncomparedError


@dataclass
class Entry:
    """One reliance check of a test."""

    check: str
    """How it was asked for: the function's name."""
    record: dict[str, Any]
    """Its reading, as builtins that json.dumps takes."""
    claims: list[str] = field(default_factory=list)
    """What it was compared with, '> 0.8' say."""
    held: bool = True
    """Whether every comparison held."""


@dataclass
class Ledger:
    """All checks of one test."""

    test: str
    """The test's node id, or what else a person would call it."""
    entries: list[Entry] = field(default_factory=list)

    def require_compared(self) -> None:
        """Refuse a check that was never compared with a limit.

        Raises:
            UncomparedError: naming the first one.
        """
        for entry in self.entries:
            if not entry.claims:
                raise UncomparedError(check=f"{entry.check}(...)", where=self.test)


_current: ContextVar[Ledger | None] = ContextVar("ragshortcut_ledger", default=None)


@contextmanager
def recording(test: str) -> Iterator[Ledger]:
    """Keep every check made inside."""
    ledger = Ledger(test)
    token = _current.set(ledger)
    try:
        yield ledger
    finally:
        _current.reset(token)


def current() -> Ledger | None:
    """Return the ledger of the test that is running, if one is."""
    return _current.get()
