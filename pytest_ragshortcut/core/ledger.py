"""The checks that a test makes, kept so that none is forgotten and all are reported.

Standard library alone: pytest loads this in every run of every project.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from pytest_ragshortcut.core.hunts import Hunt
from pytest_ragshortcut.errors import UncomparedError

GATE = "the gate"
"""What stands in place of a claim where a check waits for the release gate."""

Claim = tuple[str, float]
"""A sign and a limit: ('>', 0.8)."""


@dataclass
class Entry:
    """One reliance check of a test."""

    record: dict[str, Any]
    """Its reading, as builtins that json.dumps takes; its claims are added as they are made."""
    compare: Callable[[str, float], bool]
    """Makes a claim of it: True, or raises AssertionError."""
    explain: Callable[[], dict[str, Any]] | None
    """Asks the model where the answer came from; None once that can no longer be wanted."""
    again: Callable[[], Sequence[float]] = tuple
    """Measures the score again, alone and beside others."""


@dataclass
class Ledger:
    """All checks of one test."""

    test: str
    """The test's node id, or what else a person would call it."""
    command: Callable[[], str] = str
    """Says what runs it alone: asked only of tests that check something."""
    limits: Mapping[str, Claim] = field(default_factory=dict)
    """Kind of reliance -> what is claimed of a check that the test leaves uncompared."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What assert_... functions are called with where the test says nothing else."""
    awaits_gate: bool = False
    """Whether a check that has no limit waits for the release gate to compare it."""
    hunt: Hunt | None = None
    """The test's examples, if it is a property-based one."""
    on_check: Callable[[Ledger], None] | None = None
    """Called after every new check."""
    entries: list[Entry] = field(default_factory=list)
    _settled: int = 0

    def add(self, entry: Entry) -> None:
        """Keep a new check."""
        self.entries.append(entry)
        if self.hunt is not None:
            self.hunt.spend(entry.record["work"]["forwards"] or 0.0)
        if self.on_check is not None:
            self.on_check(self)

    def skip(self) -> None:
        """Let what has been checked so far be as it is."""
        self._settled = len(self.entries)

    def settle(self) -> None:
        """Compare what the test left uncompared with its limit, once each.

        Raises:
            UncomparedError: naming the first check that has none.
            AssertionError: if the claim does not hold.
        """
        __tracebackhide__ = True
        waiting = self.entries[self._settled :]
        self.skip()
        for entry in waiting:
            if entry.record["claims"]:
                continue
            claim = self.limits.get(entry.record["kind"])
            if claim is None and self.awaits_gate:
                entry.record["claims"].append(GATE)
                continue
            if claim is None:
                raise UncomparedError(check=f"{entry.record['check']}(...)", where=self.test)
            entry.compare(*claim)


_current: ContextVar[Ledger | None] = ContextVar("ragshortcut_ledger", default=None)


@contextmanager
def recording(ledger: Ledger) -> Iterator[Ledger]:
    """Keep every check made inside."""
    token = _current.set(ledger)
    try:
        yield ledger
    finally:
        _current.reset(token)


def current() -> Ledger | None:
    """Return the ledger of the test that is running, if one is."""
    return _current.get()


def options_of_test(options: Mapping[str, Any]) -> dict[str, Any]:
    """Take what the running test's markers and the options say, where a call says nothing.

    Example:
        >>> with recording(Ledger("test", options={"probes": (), "limits": None})):
        ...     options_of_test({"probes": ["knockout"]})
        {'probes': ['knockout'], 'limits': None}
    """
    ledger = current()
    return {**(ledger.options if ledger else {}), **options}


def command_of_test() -> str | None:
    """Say what runs the running test alone; None outside of one."""
    ledger = current()
    return ledger.command() if ledger else None
