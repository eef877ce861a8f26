"""Attention contributions: what each token of the prompt adds to the readers through attention."""

from __future__ import annotations

from typing import Literal

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.plans import PlanRow, ProbePlan
from pytest_ragshortcut.core.ports import ProbeModel
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.core.results import ContributionsResult
from pytest_ragshortcut.probes.resolve import resolve


def attention_contributions(
    model: ProbeModel, case: RagCase, *, book: Literal["open", "closed"] = "open"
) -> ContributionsResult:
    """Read the norms of A[T, i] (x_i W_V) W_O, per layer, head and source token.

    Args:
        model: the model to read.
        case: the case; what it leaves out is found.
        book: 'open' reads with the passages, 'closed' without.

    Raises:
        UnsupportedArchitectureError: if a layer has no attention.
        AdapterSelfCheckError: if the parts do not add up to the attention output.

    Source:
        Yuksekgonul et al. 2024, eq. 3 and 4. Differs: the output norms and multipliers of the
        architecture are applied; several answer tokens are averaged over.
    """
    resolved = resolve(model, case)
    return contribute(model, resolved.open_book if book == "open" else resolved.closed_book)


def contribute(model: ProbeModel, prompt: TokenizedPrompt) -> ContributionsResult:
    """Read the contributions of a prompt that is set to read an answer."""
    (reading,) = model.run(ProbePlan((PlanRow(prompt, contributions=True),)))
    assert reading.contributions is not None, "the row asked for contributions"
    return ContributionsResult(
        prompt=prompt,
        per_head=reading.contributions.per_head,
        summed=reading.contributions.summed,
    )
