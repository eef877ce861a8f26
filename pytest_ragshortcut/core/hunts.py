"""One property-based test as it goes on: what it will ask, what it has spent, and how it ended.

Standard library alone: pytest loads this in every run of every project.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from pytest_ragshortcut.core.cases import RagCase

N_AHEAD = 16
"""How many cases are measured side by side at most, and drawn before the first of them is asked."""


SHARE = "ragshortcut_share"
"""The attribute in which a test that has to hold for a share alone keeps what it found."""


class RehearsedError(BaseException):
    """Ends an example that is drawn ahead. No Exception, so that no test catches it."""


class RehearsalOverError(BaseException):
    """Ends drawing ahead that takes too long. No Exception, so that no test catches it."""


class BudgetSpentError(BaseException):
    """Ends an example for which nothing is left to spend. No Exception, so that no test does."""


@dataclass(frozen=True)
class Asked:
    """One question to a model: a case, and with what options."""

    case: RagCase
    options: str

    @classmethod
    def of(cls, case: RagCase, options: Mapping[str, Any]) -> Asked:
        """Take options as text: they may hold lists, which cannot be keys."""
        return cls(case, repr(sorted(options.items())))


@dataclass
class Hunt:
    """The examples of one property-based test, and its budget.

    Example:
        >>> hunt = Hunt(max_forwards=10.0)
        >>> hunt.spend(12.0)
        >>> hunt.spent
        'the budget of 10 forwards'
    """

    max_forwards: float = inf
    max_seconds: float = inf
    n_examples: int = 0
    """How often the test's body has run."""
    forwards: float = 0.0
    """Spent by its checks, in plain forwards."""
    has_failed: bool = False
    """Whether an example has broken the claim: what follows makes it smaller."""
    ended: str = ""
    """What ended it before its time; empty where nothing did."""
    is_rehearsal: bool = False
    """Whether it only notes what a test will ask."""
    is_in_example: bool = False
    """Whether the test's body is running."""
    share: str = ""
    """What was found of the share of examples that hold; empty where all are to hold."""
    _waiting: dict[Asked, None] = field(default_factory=dict)
    _asked: set[Asked] = field(default_factory=set)
    _measured: set[Asked] = field(default_factory=set)
    _started: float = field(default_factory=perf_counter)

    @property
    def seconds(self) -> float:
        """How long it has gone on."""
        return perf_counter() - self._started

    @property
    def n_cases(self) -> int:
        """How many different cases its checks have asked about."""
        return len(self._asked)

    @property
    def spent(self) -> str:
        """Which budget nothing is left of; empty while there is."""
        if self.forwards >= self.max_forwards:
            return f"the budget of {self.max_forwards:g} forwards"
        if self.seconds >= self.max_seconds:
            return f"the budget of {self.max_seconds:g} seconds"
        return ""

    @property
    def _room(self) -> int:
        """How many cases the budget has room for, by what those before have cost."""
        if self.max_forwards == inf and self.max_seconds == inf:
            return N_AHEAD
        n_measured = len(self._measured)
        if not n_measured:
            return 1
        shares = (
            (self.max_forwards - self.forwards) * n_measured / max(self.forwards, 1e-9),
            (self.max_seconds - self.seconds) * n_measured / self.seconds,
        )
        return max(1, int(min(N_AHEAD, *shares)))

    def spend(self, forwards: float) -> None:
        """Count what a check has cost."""
        self.forwards += forwards

    def take(self, rehearsal: Hunt) -> None:
        """Take over what a rehearsal has drawn, and begin."""
        self._waiting.update(rehearsal._waiting)
        self._started = perf_counter()

    def draw(self, asked: Asked) -> None:
        """Keep what an example is going to ask."""
        if asked not in self._measured:
            self._waiting.setdefault(asked)

    def due(self, asked: Asked) -> Sequence[Asked]:
        """Return what to measure now: what is asked, and what was drawn to be asked soon.

        Raises:
            BudgetSpentError: if it was not measured before, and nothing is left to spend.
        """
        if asked in self._measured:
            self._asked.add(asked)
            return ()
        # Something is always asked: a hunt that asked nothing tells nothing.
        if self.spent and self._measured:
            self.ended = self.spent
            raise BudgetSpentError(self.ended)
        waiting = list(self._waiting)
        first = waiting.index(asked) if asked in self._waiting else None
        due = (asked,) if first is None else tuple(waiting[first : first + self._room])
        for each in due:
            self._waiting.pop(each, None)
        self._asked.add(asked)
        self._measured.update(due)
        return due


class StandIn:
    """Stands in for a model while examples are drawn ahead: it notes what is asked, and ends them.

    Args:
        hunt: keeps what is asked.
    """

    def __init__(self, hunt: Hunt) -> None:
        self._hunt = hunt

    def note(self, asked: Asked) -> NoReturn:
        """Keep what is asked of the model first.

        Raises:
            RehearsedError: always.
        """
        self._hunt.draw(asked)
        raise RehearsedError

    def __getattr__(self, name: str) -> NoReturn:
        # Before the body runs, Hypothesis looks for attributes that executors and mocks have.
        if not self._hunt.is_in_example:
            raise AttributeError(name)
        # Whatever else is asked of a model would be work for an example that may never come.
        raise RehearsedError
