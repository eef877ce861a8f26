"""Reliance as a claim: compared with a limit, it holds or it explains itself."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from time import perf_counter
from typing import Any, NoReturn, cast

from pytest_ragshortcut.core.asking import asking_of
from pytest_ragshortcut.core.cases import RagCase, as_case
from pytest_ragshortcut.core.hunts import Asked, Hunt, StandIn
from pytest_ragshortcut.core.ledger import Entry, command_of_test, current, options_of_test
from pytest_ragshortcut.core.ports import ProbeModel
from pytest_ragshortcut.core.reliance import Reliance
from pytest_ragshortcut.core.work import Work
from pytest_ragshortcut.errors import OptionError, RagShortcutError, UncomparedError
from pytest_ragshortcut.probes.explanation import explain_reliance
from pytest_ragshortcut.probes.reliance import (
    context_reliance,
    context_reliances,
    parametric_reliance,
)
from pytest_ragshortcut.reporting.records import explanation_record, record_of
from pytest_ragshortcut.reporting.schema import WorkRecord
from pytest_ragshortcut.reporting.text import explain

_NEAR = 0.02
"""How close to a limit a score is measured again: rounding moves none by more."""
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
        asking: str = "",
        work: WorkRecord | None = None,
        explain: Callable[[], dict[str, Any]] | None = None,
        again: Callable[[], Sequence[float]] = tuple,
    ) -> None:
        self.reliance, self._again = reliance, again
        self.record = record_of(reliance, check=f"assert_{reliance.kind}_reliance")
        self.record["asking"] = asking
        if work is not None:
            self.record["work"] = work
        if (ledger := current()) is not None:
            ledger.add(Entry(cast("dict[str, Any]", self.record), self._compare, explain, again))

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
        holds = _OPERATORS[sign]
        if holds(self.reliance.score, limit) or self._is_rounding(holds, limit):
            return True
        self.record["held"] = False
        claim, command = (sign, limit), command_of_test()
        raise AssertionError(explain(self.record, claim=claim, command=command))

    def _is_rounding(self, holds: Callable[[float, float], bool], limit: float) -> bool:
        """Say whether the score is on the wrong side of its limit by rounding alone.

        What is measured beside a case, and how, moves its score in the last digits. A score that
        holds alone or beside others does not break a claim: the next run might not see it do so.
        """
        score = self.reliance.score
        if not abs(score - limit) <= _NEAR:
            return False
        near = [each for each in self._again() if abs(each - score) <= _NEAR]
        scores = (score, *near)
        if not any(holds(each, limit) for each in scores):
            return False
        band = max(scores) - min(scores)
        reading = f"of the score, alone and beside others; {limit:g} lies within"
        self.record["evidence"].append(
            {"probe": "numeric spread", "value": band, "reading": reading}
        )
        return True

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
    case = as_case(question, context)
    options = options_of_test(options)
    if isinstance(model, StandIn):
        model.note(Asked.of(case, options))
    before, started = work_of(model), perf_counter()
    if ledger is not None and ledger.hunt is not None:
        _measure_ahead(model, ledger.hunt, case, options)
    reliance = measure(model, case, **options)
    seconds = perf_counter() - started
    work = work_of(model) - before
    return RelianceCheck(
        reliance,
        asking=_asking(model, case, options),
        work={
            "seconds": round(seconds, 6),
            "forwards": forwards_of(work, reliance, model),
            "remembered": work.remembered,
            "computed": work.computed,
        },
        explain=lambda: dict(explanation_record(explain_reliance(model, reliance))),
        again=lambda: _scores_afresh(model, measure, case, {**options, "probes": ()}),
    )


def _asking(model: ProbeModel, case: RagCase, options: dict[str, Any]) -> str:
    """Name how a case is asked, without the tokenizer's own chat template, which is the model's."""
    worded = getattr(model, "worded", model.render)
    prompts = [worded(case, "open").text, worded(case, "closed").text]
    return asking_of(prompts, options.get("limits"))


def _scores_afresh(
    model: ProbeModel, measure: Callable[..., Reliance], case: RagCase, options: dict[str, Any]
) -> Sequence[float]:
    """Measure a case twice more with nothing remembered: alone, and beside a longer one."""
    scores: list[float] = []
    if not hasattr(model, "afresh"):
        return scores
    company, longer = model.afresh(), replace(case, context=(*case.passages, *case.passages))
    # A prompt too long, or no memory left, must not take the place of the claim's own message.
    with suppress(RagShortcutError, RuntimeError, MemoryError):
        scores.append(measure(model.afresh(), case, **options).score)
        # What is remembered of the two together is what the case alone is then read from.
        context_reliances(company, [longer, case], **options)
        scores.append(measure(company, case, **options).score)
    return scores


def _measure_ahead(model: ProbeModel, hunt: Hunt, case: RagCase, options: dict[str, Any]) -> None:
    """Measure what the test's next examples will ask side by side with this one's.

    Raises:
        BudgetSpentError: if nothing is left to spend on it.
    """
    asked = Asked.of(case, options)
    together = [each.case for each in hunt.due(asked) if each.options == asked.options]
    if len(together) > 1:
        # An error of one of them is for its own example to raise.
        with suppress(RagShortcutError):
            context_reliances(model, together, **options)


def work_of(model: ProbeModel) -> Work:
    """Read a model's account; one that keeps none, a model of formulas say, has done nothing."""
    work = getattr(model, "work", None)
    return work if isinstance(work, Work) else Work()


def forwards_of(work: Work, reliance: Reliance, model: ProbeModel) -> float | None:
    """Return work in plain forwards of a case's prompt; None where no account is kept."""
    if work == Work():
        return None
    n_tokens = len(reliance.prompt.input_ids)
    return round(work.forwards(n_tokens=n_tokens, n_layers=model.n_layers), 3)
