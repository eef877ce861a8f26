"""Reliance as a claim: compared with a limit, it holds or it explains itself."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, NoReturn, cast

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.ledger import Entry, current
from pytest_ragshortcut.core.ports import ProbeModel
from pytest_ragshortcut.core.reliance import Reliance
from pytest_ragshortcut.core.work import Work
from pytest_ragshortcut.errors import OptionError, UncomparedError
from pytest_ragshortcut.probes.explanation import explain_reliance
from pytest_ragshortcut.probes.reliance import context_reliance, parametric_reliance
from pytest_ragshortcut.reporting.records import explanation_record, record_of
from pytest_ragshortcut.reporting.schema import WorkRecord
from pytest_ragshortcut.reporting.text import explain

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


class RelianceCheck:
    """A reliance score that must be compared: a comparison is True, or raises AssertionError."""

    def __init__(
        self,
        reliance: Reliance,
        *,
        work: WorkRecord | None = None,
        explain: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        self.reliance = reliance
        self.record = record_of(reliance, check=f"assert_{reliance.kind}_reliance")
        if work is not None:
            self.record["work"] = work
        if (ledger := current()) is not None:
            ledger.add(Entry(cast("dict[str, Any]", self.record), self._compare, explain))

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
        return f"<{self.record['check']}: {self.reliance.title}>"

    def _compare(self, sign: str, limit: float) -> bool:
        __tracebackhide__ = True
        if not isinstance(limit, int | float) or not 0.0 <= limit <= 1.0:
            shown = f"{limit:.6g}" if isinstance(limit, int | float) else repr(limit)
            expected = "a number in [0, 1], as the score is; of another check, its .reliance.score"
            raise OptionError(option=f"limit of {sign}", value=shown, expected=expected)
        self.record["claims"].append(f"{sign} {limit:g}")
        if _OPERATORS[sign](self.reliance.score, limit):
            return True
        self.record["held"] = False
        ledger = current()
        command = ledger.command if ledger else None
        raise AssertionError(explain(self.record, claim=(sign, limit), command=command))

    def _refuse(self) -> NoReturn:
        __tracebackhide__ = True
        raise UncomparedError(check=f"{self.record['check']}(...)", where=repr(self.reliance.case))


def assert_context_reliance(
    model: ProbeModel,
    question: RagCase | str,
    context: str | Sequence[str] | None = None,
    **options: Any,
) -> RelianceCheck:
    """Claim something of the context reliance, and fail with the whole explanation.

    Takes what context_reliance takes. assert_context_reliance(m, q, c) > 0.8 is True or raises,
    with or without assert before it. A check never compared takes the test's limit from
    --rag-min-context-reliance or @pytest.mark.rag(min_context_reliance=...), or fails its test.

    Raises:
        AssertionError: on a comparison that does not hold, or whose score is undefined.
        CaseError: if the case cannot be completed.
    """
    return _checked(context_reliance, model, question, context, options)


def assert_parametric_reliance(
    model: ProbeModel,
    question: RagCase | str,
    context: str | Sequence[str] | None = None,
    **options: Any,
) -> RelianceCheck:
    """Claim something of the parametric reliance, and fail with the whole explanation.

    Takes what parametric_reliance takes, and behaves as assert_context_reliance does; the limit of
    a check never compared is --rag-max-parametric-reliance or max_parametric_reliance=... .

    Raises:
        AssertionError: on a comparison that does not hold, or whose score is undefined.
        CaseError: if the case cannot be completed.
    """
    return _checked(parametric_reliance, model, question, context, options)


def _checked(
    measure: Callable[..., Reliance],
    model: ProbeModel,
    question: RagCase | str,
    context: str | Sequence[str] | None,
    options: dict[str, Any],
) -> RelianceCheck:
    ledger = current()
    before, started = _work_of(model), perf_counter()
    given = dict(ledger.options) if ledger else {}
    reliance = measure(model, question, context, **{**given, **options})
    seconds = perf_counter() - started
    work = _work_of(model) - before
    return RelianceCheck(
        reliance,
        work={
            "seconds": round(seconds, 6),
            "forwards": _forwards(work, reliance, model),
            "remembered": work.remembered,
            "computed": work.computed,
        },
        explain=lambda: dict(explanation_record(explain_reliance(model, reliance))),
    )


def _work_of(model: ProbeModel) -> Work:
    """Read a model's account; one that keeps none, a model of formulas say, has done nothing."""
    work = getattr(model, "work", None)
    return work if isinstance(work, Work) else Work()


def _forwards(work: Work, reliance: Reliance, model: ProbeModel) -> float | None:
    if work == Work():
        return None
    n_tokens = len(reliance.prompt.input_ids)
    return round(work.forwards(n_tokens=n_tokens, n_layers=model.n_layers), 3)
