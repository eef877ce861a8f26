"""Reliance: the score of one case, and every probe's reading beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from pytest_ragshortcut.config import PROBES, ProbeName
from pytest_ragshortcut.core.cases import RagCase, as_case
from pytest_ragshortcut.core.effects import share
from pytest_ragshortcut.core.plans import PlanRow, ProbePlan
from pytest_ragshortcut.core.ports import ProbeModel
from pytest_ragshortcut.core.reliance import (
    Evidence,
    Found,
    Kind,
    Limits,
    Reliance,
    score,
    verdict,
)
from pytest_ragshortcut.errors import (
    AdapterSelfCheckError,
    OptionError,
    UnsupportedArchitectureError,
)
from pytest_ragshortcut.probes.contributions import contribute
from pytest_ragshortcut.probes.inquiry import Inquiry, ask, read, together
from pytest_ragshortcut.probes.knockout import knock_out
from pytest_ragshortcut.probes.resolve import Resolved, resolve
from pytest_ragshortcut.probes.swap import swap_resolved
from pytest_ragshortcut.probes.trace import trace_prompt

_MIN_TOTAL_EFFECT = 0.01


def context_reliance(
    model: ProbeModel,
    question: RagCase | str,
    context: str | Sequence[str] | None = None,
    *,
    probes: Sequence[ProbeName] = PROBES,
    limits: Limits | None = None,
) -> Reliance:
    """Measure how far the answer follows the context.

    Args:
        model: the model to ask.
        question: the question, or a whole RagCase.
        context: the passages, where a question is given.
        probes: which evidence to read beside the swap; none of it changes the score.
        limits: where one verdict ends and the next begins.

    Returns:
        A score in [0, 1]: mean p(o') / (p(o') + p(m)) after swapping the context answer for
        substitutes o'; m is the memory answer. NaN where neither accounts for the answer.

    Raises:
        CaseError: if the case cannot be completed; the text names the fix.
    """
    case = as_case(question, context)
    return ask(model, _reliance(model, case, "context", _readers(probes), limits or Limits()))


def context_reliances(
    model: ProbeModel,
    cases: Sequence[RagCase],
    *,
    probes: Sequence[ProbeName] = PROBES,
    limits: Limits | None = None,
) -> tuple[Reliance, ...]:
    """Measure many cases side by side: what they ask of the model is packed into few passes.

    Takes and raises what context_reliance does, and computes the same. What was measured here is
    remembered: a check of one of these cases afterwards asks the model nothing.

    Returns:
        A result for each case, in order.
    """
    readers = _readers(probes)
    inquiries = [_reliance(model, case, "context", readers, limits or Limits()) for case in cases]
    return tuple(ask(model, together(inquiries)))


def parametric_reliance(
    model: ProbeModel,
    question: RagCase | str,
    context: str | Sequence[str] | None = None,
    *,
    probes: Sequence[ProbeName] = PROBES,
    limits: Limits | None = None,
) -> Reliance:
    """Measure how far the answer stays with parametric memory, whatever the context says.

    Takes and raises what context_reliance does.

    Returns:
        A score in [0, 1]: mean p(m) / (p(o') + p(m)) in the swapped prompts.
    """
    case = as_case(question, context)
    return ask(model, _reliance(model, case, "parametric", _readers(probes), limits or Limits()))


def _reliance(
    model: ProbeModel, case: RagCase, kind: Kind, readers: Sequence[Reader], limits: Limits
) -> Inquiry[Reliance]:
    resolved = yield from resolve(model, case, ahead=True)
    asked: list[Inquiry[Any]] = [swap_resolved(model, resolved), _known(resolved)]
    asked += [reader(model, resolved) for reader in readers]
    (swap, how), known, *readings = yield from together(asked)
    value, interval = score(swap, kind, limits=limits)
    said = None if case.answer is not None else resolved.case.answer
    reached, reason = verdict(swap, known=known, limits=limits, said=said)
    evidence = [
        Evidence("swap: follow", swap.follow, f"over {', '.join(swap.substitutes)}"),
        Evidence("swap: mass", swap.mass, "p(substitute) + p(memory answer)"),
        Evidence("closed book", known, f"p of the memory answer {swap.memory_answer!r}"),
    ]
    evidence += [each for reading in readings for each in reading]
    return Reliance(
        prompt=resolved.open_book,
        kind=kind,
        score=value,
        interval=interval,
        verdict=reached,
        reason=reason,
        evidence=tuple(evidence),
        asked=case,
        case=resolved.case,
        found={**resolved.found, "substitutes": Found(", ".join(swap.substitutes), how)},
        model=model.name,
        swap=swap,
    )


Reader = Callable[[ProbeModel, Resolved], Inquiry[list[Evidence]]]


def _readers(probes: Sequence[ProbeName]) -> list[Reader]:
    known: dict[str, Reader] = {
        "knockout": _read_knockout,
        "contributions": _read_contributions,
        "mediation": _read_mediation,
    }
    for name in probes:
        if name not in known:
            raise OptionError(option="probes", value=name, expected=f"any of {', '.join(known)}")
    return [known[name] for name in probes]


def _known(resolved: Resolved) -> Inquiry[float]:
    (reading,) = yield from read(ProbePlan((PlanRow(resolved.closed_book),)))
    return reading.probability


def _read_knockout(model: ProbeModel, resolved: Resolved) -> Inquiry[list[Evidence]]:
    sources = ("attribute", "subject")
    try:
        result = yield from knock_out(
            resolved.open_book, sources=sources, window=None, n_layers=model.n_layers
        )
    except UnsupportedArchitectureError as error:
        return [Evidence("knockout", math.nan, error.problem)]
    return [
        Evidence(
            f"knockout {source} -> answer",
            float(result.change(source)[0]),
            "relative change of p(answer), all layers",
        )
        for source in sources
    ]


def _read_contributions(_: ProbeModel, resolved: Resolved) -> Inquiry[list[Evidence]]:
    try:
        sources = resolved.open_book.positions("attribute", "subject")
        result = yield from contribute(resolved.open_book, heads=False, sources=sources)
    except (UnsupportedArchitectureError, AdapterSelfCheckError) as error:
        return [Evidence("contributions", math.nan, error.problem)]
    attribute, subject = float(result.of("attribute").sum()), float(result.of("subject").sum())
    reading = "attribute / (attribute + subject), summed over layers"
    return [Evidence("contribution share", share(attribute, subject), reading)]


def _read_mediation(model: ProbeModel, resolved: Resolved) -> Inquiry[list[Evidence]]:
    spans = ("attribute", "subject")
    return (yield from together([_mediated(model, resolved, span) for span in spans]))


def _mediated(model: ProbeModel, resolved: Resolved, span: str) -> Inquiry[Evidence]:
    start, stop = resolved.open_book.spans[span][-1]
    traced = yield from trace_prompt(
        model,
        resolved.open_book,
        corrupt=span,
        corruption="mask",
        positions=range(start, stop),
        together=(span,),
        layers=(model.n_layers // 2,),
    )
    reading = "p(answer) lost when masked"
    if traced.total_effect >= _MIN_TOTAL_EFFECT:
        fraction = traced.restored_fraction(min_total_effect=_MIN_TOTAL_EFFECT)
        back = fraction[model.n_layers // 2, start]
        reading += f"; its last mention, restored halfway up, gives back {round(back, 2) + 0.0:.0%}"
    return Evidence(f"total effect {span}", traced.total_effect, reading)
