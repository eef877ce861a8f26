"""Context attribution: the answer with each passage, and each sentence, left out in turn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pytest_ragshortcut.core.attribution import (
    UNITS,
    AttributionResult,
    Unit,
    log_odds_lost,
    pieces_of,
    without,
)
from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.plans import PlanRow, ProbePlan
from pytest_ragshortcut.core.ports import ProbeModel
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.errors import OptionError
from pytest_ragshortcut.probes.inquiry import Inquiry, ask, read
from pytest_ragshortcut.probes.resolve import Resolved, resolve


def attribute_context(
    model: ProbeModel, case: RagCase, *, unit: Unit = "sentences"
) -> AttributionResult:
    """Leave out each piece of the context in turn, and read what the answer loses.

    The same answer tokens are read each time; without the only passage, closed-book.

    Args:
        model: the model to read.
        case: the case; what it leaves out is found.
        unit: 'sentences' leaves out each passage, and each sentence of passages that have
            several; 'passages' the passages alone.

    Raises:
        OptionError: if the unit has another name.
        CaseError: if the case cannot be completed.

    Source:
        Cohen-Wang et al. 2024 (ContextCite), section 4: leave-one-out, there a baseline, and
        exact where their surrogate is fitted to random subsets. Differs: the loss is one of
        log-odds, which their surrogate predicts, not of log-probability; passages are left out
        too, beside their sentences.
    """
    if unit not in UNITS:
        raise OptionError(option="unit", value=unit, expected=f"one of {', '.join(UNITS)}")
    resolved = ask(model, resolve(model, case))
    return ask(model, attribute(model, resolved, unit=unit))


def attribute(
    model: ProbeModel, resolved: Resolved, *, unit: Unit = "sentences"
) -> Inquiry[AttributionResult]:
    """Attribute the answer of a completed case."""
    passages = resolved.case.passages
    pieces = pieces_of(passages, unit)
    prompts = [_left(model, resolved, without(passages, piece)) for piece in pieces]
    plan = ProbePlan(tuple(PlanRow(prompt) for prompt in (resolved.open_book, *prompts)))
    clean, *cut = yield from read(plan)
    return AttributionResult(
        prompt=resolved.open_book,
        clean=clean.probability,
        pieces=pieces,
        probability=np.array([reading.probability for reading in cut]),
        effect=log_odds_lost(clean.logprob, np.array([reading.logprob for reading in cut])),
    )


def _left(model: ProbeModel, resolved: Resolved, passages: tuple[str, ...]) -> TokenizedPrompt:
    """Set the prompt with these passages, or closed-book with none, to read the answer's tokens."""
    if passages:
        prompt = model.render(replace(resolved.case, context=passages))
    else:
        prompt = model.render(resolved.case, "closed")
    return model.reading(model.tokenize(prompt), resolved.open_book.answer_ids)
