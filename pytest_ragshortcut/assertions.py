"""Reliance as a claim: compared with a limit, it holds or it explains itself."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.ledger import Entry, current
from pytest_ragshortcut.core.ports import ProbeModel
from pytest_ragshortcut.core.reliance import Reliance
from pytest_ragshortcut.errors import OptionError, UncomparedError
from pytest_ragshortcut.probes.reliance import context_reliance, parametric_reliance
from pytest_ragshortcut.reporting.records import record_of
from pytest_ragshortcut.reporting.text import explain

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


class RelianceCheck:
    """A reliance score that must be compared: a comparison is True, or raises AssertionError."""

    def __init__(self, reliance: Reliance) -> None:
        self.reliance = reliance
        name = f"assert_{reliance.kind}_reliance"
        self._entry = Entry(name, record_of(reliance))
        if (ledger := current()) is not None:
            ledger.entries.append(self._entry)

    def __gt__(self, limit: float) -> bool:
        __tracebackhide__ = True
        return self._compare(">", limit)

    def __ge__(self, limit: float) -> bool:
        __tracebackhide__ = True
        return self._compare(">=", limit)

    def __lt__(self, limit: float) -> bool:
        __tracebackhide__ = True
        return self._compare("<", limit)

    def __le__(self, limit: float) -> bool:
        __tracebackhide__ = True
        return self._compare("<=", limit)

    def __eq__(self, other: object) -> NoReturn:
        self._refuse()

    def __bool__(self) -> NoReturn:
        self._refuse()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{self._entry.check}: {self.reliance.title}>"

    def _compare(self, sign: str, limit: float) -> bool:
        __tracebackhide__ = True
        if not 0.0 <= limit <= 1.0:
            expected = "a number in [0, 1], as the score is"
            raise OptionError(option=f"limit of {sign}", value=str(limit), expected=expected)
        self._entry.claims.append(f"{sign} {limit:g}")
        if _OPERATORS[sign](self.reliance.score, limit):
            return True
        self._entry.held = False
        ledger = current()
        raise AssertionError(
            explain(self.reliance, claim=(sign, limit), test=ledger.test if ledger else None)
        )

    def _refuse(self) -> NoReturn:
        __tracebackhide__ = True
        raise UncomparedError(check=f"{self._entry.check}(...)", where=repr(self.reliance.case))


def assert_context_reliance(
    model: ProbeModel,
    question: RagCase | str,
    context: str | Sequence[str] | None = None,
    **options: Any,
) -> RelianceCheck:
    """Claim something of the context reliance, and fail with the whole explanation.

    Takes what context_reliance takes. assert_context_reliance(m, q, c) > 0.8 is True or raises,
    with or without assert before it. A check never compared fails its test.

    Raises:
        AssertionError: on a comparison that does not hold, or whose score is undefined.
        CaseError: if the case cannot be completed.
    """
    return RelianceCheck(context_reliance(model, question, context, **options))


def assert_parametric_reliance(
    model: ProbeModel,
    question: RagCase | str,
    context: str | Sequence[str] | None = None,
    **options: Any,
) -> RelianceCheck:
    """Claim something of the parametric reliance, and fail with the whole explanation.

    Takes what parametric_reliance takes, and behaves as assert_context_reliance does.

    Raises:
        AssertionError: on a comparison that does not hold, or whose score is undefined.
        CaseError: if the case cannot be completed.
    """
    return RelianceCheck(parametric_reliance(model, question, context, **options))
