"""Counterfactual swap: had the context said otherwise, would the answer have followed it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.effects import follow
from pytest_ragshortcut.core.plans import PlanRow, ProbePlan
from pytest_ragshortcut.core.ports import ProbeModel
from pytest_ragshortcut.core.results import SwapResult
from pytest_ragshortcut.errors import AnswerNotFoundError
from pytest_ragshortcut.probes.inquiry import Inquiry, ask, read
from pytest_ragshortcut.probes.resolve import Resolved, find_substitutes, resolve


def counterfactual_swap(
    model: ProbeModel, case: RagCase, substitutes: Sequence[str] | None = None
) -> SwapResult:
    """Replace the context answer everywhere in the context, and read what is said then.

    Args:
        model: the model to ask.
        case: the case; what it leaves out is found.
        substitutes: answers of the same kind; found on the model where neither this nor the case
            gives any.

    Raises:
        CaseError: if the case cannot be completed, or no substitute differs from the answers.

    Source:
        Longpre et al. 2021 (substitution). Differs: follow is a probability, not a count.
    """
    if substitutes is not None:
        case = replace(case, substitutes=tuple(substitutes))
    resolved = ask(model, resolve(model, case, ahead=True))
    return ask(model, swap_resolved(model, resolved))[0]


def swap_resolved(model: ProbeModel, resolved: Resolved) -> Inquiry[tuple[SwapResult, str]]:
    """Swap a completed case; also say how the substitutes were found."""
    chosen, how = yield from find_substitutes(model, resolved)
    chosen = _different(chosen, resolved)
    rows = [PlanRow(resolved.open_book)]
    for substitute in chosen:
        swapped = resolved.case.swapped(str(resolved.case.context_answer), substitute)
        prompt = model.tokenize(model.render(swapped))
        answers = (substitute, resolved.memory, resolved.answer)
        rows += [PlanRow(model.reading(prompt, answer)) for answer in answers]
    clean, *readings = yield from read(ProbePlan(tuple(rows)))
    substituted, remembered, unmoved = readings[::3], readings[1::3], readings[2::3]
    result = SwapResult(
        prompt=resolved.open_book,
        context_answer=str(resolved.case.context_answer),
        memory_answer=str(resolved.case.memory_answer),
        clean_probability=clean.probability,
        substitutes=chosen,
        answer_probability=np.array([r.probability for r in unmoved]),
        substitute_probability=np.array([r.probability for r in substituted]),
        memory_probability=np.array([r.probability for r in remembered]),
        follow_each=np.array(
            [follow(s.logprob, m.logprob) for s, m in zip(substituted, remembered, strict=True)]
        ),
        n_substitute=sum(r.said for r in substituted),
        n_original=sum(r.said for r in remembered),
    )
    return result, how


def _different(substitutes: Sequence[str], resolved: Resolved) -> tuple[str, ...]:
    taken = {str(resolved.case.memory_answer).casefold()}
    taken.add(str(resolved.case.context_answer).casefold())
    kept = tuple(text for text in substitutes if text.casefold() not in taken)
    if not kept:
        raise AnswerNotFoundError(
            role="substitute",
            reason="every candidate is the context answer or the memory answer",
            within=resolved.open_book.text,
            keyword="substitutes",
        )
    return kept
