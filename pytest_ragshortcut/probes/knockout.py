"""Attention knockout: the answer when its readers cannot see a span of the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.effects import relative_change
from pytest_ragshortcut.core.plans import Knockout, PlanRow, ProbePlan, layer_window
from pytest_ragshortcut.core.ports import ProbeModel
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.core.results import KnockoutResult
from pytest_ragshortcut.errors import PlanError
from pytest_ragshortcut.probes.inquiry import Inquiry, ask, read
from pytest_ragshortcut.probes.resolve import resolve

SOURCES = ("subject", "attribute", "context", "question")


def attention_knockout(
    model: ProbeModel,
    case: RagCase,
    *,
    sources: Sequence[str] = SOURCES,
    window: int | None = 9,
    through_question: bool = False,
    book: Literal["open", "closed"] = "open",
) -> KnockoutResult:
    """Cut the edges from each source span to the readers, in each window of layers.

    Args:
        model: the model to intervene on.
        case: the case; what it leaves out is found.
        sources: roles of the prompt: 'subject', 'attribute', 'context', 'question', 'template',
            'passage_0', ...
        window: how many layers a cut spans, clipped at both ends; None cuts all layers.
        through_question: also cut the source from the question and the template's own tokens,
            the first hop of the two-hop route source -> question -> answer.
        book: 'open' reads the answer with the passages, 'closed' the memory answer without.

    Raises:
        PlanError: if the prompt has no such source, or the window is below 1.
        UnsupportedArchitectureError: if context can leak past attention.

    Source:
        Geva et al. 2023, section 5. Differs: an edge from a position to itself is never cut.
    """
    resolved = ask(model, resolve(model, case))
    prompt = resolved.open_book if book == "open" else resolved.closed_book
    return ask(
        model,
        knock_out(
            prompt,
            sources=sources,
            window=window,
            n_layers=model.n_layers,
            through_question=through_question,
        ),
    )


def knock_out(
    prompt: TokenizedPrompt,
    *,
    sources: Sequence[str],
    window: int | None,
    n_layers: int,
    through_question: bool = False,
) -> Inquiry[KnockoutResult]:
    """Run the knockouts of a prompt that is set to read an answer."""
    windows = _windows(window, n_layers)
    rows = [PlanRow(prompt)]
    rows += [
        PlanRow(prompt, knockouts=tuple(Knockout(*ends, layers) for ends in edges))
        for source in sources
        for edges in [_edges(prompt, source, through_question)]
        for layers in windows
    ]
    readings = yield from read(ProbePlan(tuple(rows)))
    clean, *cut = (reading.probability for reading in readings)
    probability = np.array(cut).reshape(len(sources), len(windows))
    return KnockoutResult(
        prompt=prompt,
        clean=clean,
        sources=tuple(sources),
        probability=probability,
        relative_change=relative_change(probability, clean),
        window=window,
        route="through question" if through_question else "direct",
    )


def _windows(window: int | None, n_layers: int) -> list[tuple[int, ...]]:
    if window is None:
        return [tuple(range(n_layers))]
    if window < 1:
        raise PlanError(
            f"the knockout window is {window}",
            where="attention_knockout, window",
            expected="At least 1 layer, or None for all",
            action="Pass window=9, say, or window=None",
        )
    return [layer_window(center, window, n_layers) for center in range(n_layers)]


def _edges(
    prompt: TokenizedPrompt, source: str, through_question: bool
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """List the positions whose keys are hidden, and from whom."""
    span = prompt.positions(source)
    edges = [(span, prompt.readers)]
    if through_question:
        carriers = set(prompt.positions("question", "template")) - set(span) - set(prompt.readers)
        edges.append((span, tuple(sorted(carriers))))
    return edges
