"""Attention contributions: what each token of the prompt adds to the readers through attention."""

from __future__ import annotations

from typing import Literal

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.plans import PlanRow, ProbePlan
from pytest_ragshortcut.core.ports import ProbeModel
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.core.results import ContributionsResult
from pytest_ragshortcut.probes.inquiry import Inquiry, ask, read
from pytest_ragshortcut.probes.resolve import resolve


def attention_contributions(
    model: ProbeModel,
    case: RagCase,
    *,
    book: Literal["open", "closed"] = "open",
    summed: bool = True,
) -> ContributionsResult:
    """Read the norms of A[T, i] (x_i W_V) W_O, per layer, head and source token.

    Args:
        model: the model to read.
        case: the case; what it leaves out is found.
        book: 'open' reads with the passages, 'closed' without.
        summed: whether to read the norm of the head sum too. It takes an output projection of
            every token, most of the price; NaN without.

    Raises:
        UnsupportedArchitectureError: if a layer has no attention.
        AdapterSelfCheckError: if the parts do not add up to the attention output.

    Source:
        Yuksekgonul et al. 2024, eq. 3 and 4. Differs: the output norms and multipliers of the
        architecture are applied; several answer tokens are averaged over.
    """
    resolved = ask(model, resolve(model, case))
    prompt = resolved.open_book if book == "open" else resolved.closed_book
    return ask(model, contribute(prompt, summed=summed))


def contribute(
    prompt: TokenizedPrompt,
    *,
    heads: bool = True,
    summed: bool = True,
    sources: tuple[int, ...] | None = None,
) -> Inquiry[ContributionsResult]:
    """Read the contributions of a prompt that is set to read an answer.

    Args:
        prompt: the prompt.
        heads: whether to read each head's; NaN without.
        summed: whether to read the head sum's; NaN without.
        sources: the tokens whose contributions to read, NaN at others; None is all.
    """
    row = PlanRow(prompt, contributions=True, heads=heads, summed=summed, sources=sources)
    (reading,) = yield from read(ProbePlan((row,)))
    assert reading.contributions is not None, "the row asked for contributions"
    return ContributionsResult(
        prompt=prompt,
        per_head=reading.contributions.per_head,
        summed=reading.contributions.summed,
    )
