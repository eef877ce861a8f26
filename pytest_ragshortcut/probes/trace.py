"""Causal mediation: corrupt a span, restore one site at a time, see where the answer comes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.corruptions import (
    METHODS,
    GaussianNoise,
    Method,
    noise_corruptions,
    replacement,
)
from pytest_ragshortcut.core.effects import indirect_effect, total_effect
from pytest_ragshortcut.core.plans import (
    Array,
    Component,
    Corruption,
    PlanRow,
    ProbePlan,
    Restoration,
    layer_window,
)
from pytest_ragshortcut.core.ports import ProbeModel
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.core.results import TraceResult
from pytest_ragshortcut.errors import PlanError
from pytest_ragshortcut.probes.resolve import resolve

Corrupt = Literal["subject", "subject everywhere", "attribute", "context", "context+subject"]
_SPANS: dict[str, tuple[str, ...]] = {
    "subject": ("subject",),
    "subject everywhere": ("subject", "subject in context"),
    "attribute": ("attribute",),
    "context": ("context",),
    "context+subject": ("context", "subject"),
}


def causal_trace(
    model: ProbeModel,
    case: RagCase,
    *,
    corrupt: str = "subject",
    corruption: Method | Array = "gaussian",
    noise: GaussianNoise | None = None,
    replace_with: str | None = None,
    component: Component = "residual",
    window: int = 1,
    positions: Literal["all"] | Sequence[int | str] = "all",
    book: Literal["open", "closed"] = "open",
) -> TraceResult:
    """Run the clean, the corrupted and, layer by layer and token by token, the restored runs.

    Args:
        model: the model to intervene on.
        case: the case; what it leaves out is found.
        corrupt: the corrupted span: 'subject' (in the question), 'subject everywhere',
            'attribute', 'context' or 'context+subject'.
        corruption: 'gaussian', 'mask' or 'replace', or an explicit noise array
            (n_samples, n_span_tokens, d_model).
        noise: how the Gaussian corruption draws.
        replace_with: for 'replace', another text of as many tokens as the span has.
        component: what is restored: 'residual', 'attention' or 'mlp'.
        window: how many layers are restored together.
        positions: 'all', or positions and roles ('subject', 'attribute', 'last', ...).
        book: 'open' reads the answer with the passages, 'closed' the memory answer without.

    Raises:
        PlanError: if a span, method or position does not exist.
        CaseError: if the case cannot be completed.

    Source:
        Meng et al. 2022, section 2.1; Monea et al. 2024 (mask); Zhang and Nanda 2023 (replace).
    """
    resolved = resolve(model, case)
    prompt = resolved.open_book if book == "open" else resolved.closed_book
    if corrupt == "subject everywhere" and book == "open":
        prompt = _with_context_subject(model, prompt, resolved.case)
    return trace_prompt(
        model,
        prompt,
        corrupt=corrupt,
        corruption=corruption,
        noise=noise,
        replace_with=replace_with,
        component=component,
        window=window,
        positions=positions,
    )


def trace_prompt(
    model: ProbeModel,
    prompt: TokenizedPrompt,
    *,
    corrupt: str,
    corruption: Method | Array,
    noise: GaussianNoise | None = None,
    replace_with: str | None = None,
    component: Component = "residual",
    window: int = 1,
    positions: Literal["all"] | Sequence[int | str] = "all",
) -> TraceResult:
    """Trace a prompt that is set to read an answer; the arguments are those of causal_trace."""
    _require_window(window)
    span = _span(prompt, corrupt)
    corruptions = _corruptions(model, prompt, span, corruption, noise, replace_with)
    sites = _sites(prompt, positions)
    # In a causal model a state before the corruption, or behind the last reader, cannot matter.
    moving = [p for p in sites if min(span) <= p <= max(prompt.readers)]
    rows = _rows(prompt, corruptions, component, window, model.n_layers, moving)
    probabilities = [reading.probability for reading in model.run(ProbePlan(rows))]
    n_samples = len(corruptions)
    clean, corrupted = probabilities[0], np.array(probabilities[1 : 1 + n_samples])
    cells = np.array(probabilities[1 + n_samples :]).reshape(model.n_layers, len(moving), n_samples)
    restored = np.full((model.n_layers, len(prompt.input_ids)), np.nan)
    effect = restored.copy()
    restored[:, sites], effect[:, sites] = corrupted.mean(), 0.0
    restored[:, moving] = cells.mean(axis=-1)
    effect[:, moving] = indirect_effect(cells, corrupted)
    return TraceResult(
        prompt=prompt,
        clean=clean,
        corrupted=float(corrupted.mean()),
        total_effect=total_effect(clean, corrupted),
        restored=restored,
        indirect_effect=effect,
        component=component,
        window=window,
        corrupt=corrupt,
        corruption=corruption if isinstance(corruption, str) else "noise",
        n_samples=n_samples,
    )


def _rows(
    prompt: TokenizedPrompt,
    corruptions: Sequence[Corruption],
    component: Component,
    window: int,
    n_layers: int,
    sites: Sequence[int],
) -> tuple[PlanRow, ...]:
    """Clean, then every sample corrupted, then layer by layer, site by site, every sample."""
    rows = [PlanRow(prompt), *(PlanRow(prompt, corruption) for corruption in corruptions)]
    rows += [
        PlanRow(
            prompt,
            corruption,
            (Restoration(component, layer_window(layer, window, n_layers), (site,)),),
        )
        for layer in range(n_layers)
        for site in sites
        for corruption in corruptions
    ]
    return tuple(rows)


def _corruptions(
    model: ProbeModel,
    prompt: TokenizedPrompt,
    span: tuple[int, ...],
    corruption: Method | Array,
    noise: GaussianNoise | None,
    replace_with: str | None,
) -> tuple[Corruption, ...]:
    if not isinstance(corruption, str):
        return noise_corruptions(span, corruption)
    if corruption == "gaussian":
        subject = [prompt.input_ids[p] for p in prompt.positions("subject")]
        draw = (noise or GaussianNoise()).draw(len(span), model.embeddings(subject))
        return noise_corruptions(span, draw)
    if corruption == "mask":
        return (replacement(span, [model.mask_token()] * len(span)),)
    if corruption == "replace" and replace_with is not None:
        return (replacement(span, model.token_ids(replace_with)),)
    raise PlanError(
        f"the corruption is {corruption!r}"
        + (" without replace_with" if corruption == "replace" else ""),
        where="causal_trace, corruption",
        expected=f"One of {', '.join(METHODS)} or a noise array; 'replace' needs replace_with",
        action="Pass corruption='mask', say, or replace_with= another subject",
    )


def _require_window(window: int) -> None:
    if window < 1:
        raise PlanError(
            f"the restored window is {window}",
            where="causal_trace, window",
            expected="At least 1 layer",
            action="Pass window=1, say",
        )


def _span(prompt: TokenizedPrompt, corrupt: str) -> tuple[int, ...]:
    roles = [role for role in _SPANS.get(corrupt, ()) if role in prompt.spans]
    if not roles:
        raise PlanError(
            f"corrupt={corrupt!r} names no span of the prompt",
            where="causal_trace, corrupt",
            expected=f"One of {', '.join(map(repr, _SPANS))}",
            action="Pass corrupt='subject', say",
        )
    return prompt.positions(*roles)


def _sites(
    prompt: TokenizedPrompt, positions: Literal["all"] | Sequence[int | str]
) -> tuple[int, ...]:
    if positions == "all":
        return tuple(range(len(prompt.input_ids)))
    named = [prompt.positions(p) if isinstance(p, str) else (int(p),) for p in positions]
    return tuple(sorted({p for group in named for p in group}))


def _with_context_subject(
    model: ProbeModel, prompt: TokenizedPrompt, case: RagCase
) -> TokenizedPrompt:
    marked = model.render(case).with_phrase(
        "subject in context", str(case.subject), region="context"
    )
    spans = model.tokenize(marked).spans
    tokenized = {**prompt.spans, "subject in context": spans["subject in context"]}
    return TokenizedPrompt(
        prompt.text, prompt.input_ids, prompt.tokens, tokenized, prompt.n_prompt, prompt.answer_ids
    )
