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
from pytest_ragshortcut.core.screening import Cells, Screening, strongest, windowed
from pytest_ragshortcut.core.spans import runs
from pytest_ragshortcut.errors import PlanError
from pytest_ragshortcut.probes.inquiry import Inquiry, ask, read
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
    layers: Literal["all"] | Sequence[int] = "all",
    together: Sequence[str] = (),
    screen: int | None = None,
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
        layers: 'all', or the layers, or centres of windows, to restore.
        together: roles whose runs of neighbouring tokens are restored as one, the same value
            standing at each of their tokens. One token of a name of several gives back nothing
            where the answer needs them all.
        screen: run this many of these cells alone, those with the largest estimated effects; the
            others stay NaN. The estimate takes one backward pass and is kept in the result. It is
            linear where the model is not: it misses cells, at times the largest, and its size
            says little, since slopes vanish where the corrupted p is near 0 or 1. How many cells
            it misses, tests/benchmarks/misses.py counts.
        book: 'open' reads the answer with the passages, 'closed' the memory answer without.

    Raises:
        PlanError: if a span, method, position or layer does not exist, or nothing can be screened.
        CaseError: if the case cannot be completed.

    Source:
        Meng et al. 2022, section 2.1; Monea et al. 2024 (mask); Zhang and Nanda 2023 (replace);
        Nanda 2023, Syed et al. 2023 and Kramar et al. 2024 (screen: attribution patching).
    """
    resolved = ask(model, resolve(model, case))
    prompt = resolved.open_book if book == "open" else resolved.closed_book
    if corrupt == "subject everywhere" and book == "open":
        prompt = _with_context_subject(model, prompt, resolved.case)
    return ask(
        model,
        trace_prompt(
            model,
            prompt,
            corrupt=corrupt,
            corruption=corruption,
            noise=noise,
            replace_with=replace_with,
            component=component,
            window=window,
            positions=positions,
            layers=layers,
            together=together,
            screen=screen,
        ),
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
    layers: Literal["all"] | Sequence[int] = "all",
    together: Sequence[str] = (),
    screen: int | None = None,
) -> Inquiry[TraceResult]:
    """Trace a prompt that is set to read an answer; the arguments are those of causal_trace."""
    _require_window(window)
    _require_screen(screen, component, window, together)
    span = _span(prompt, corrupt)
    corruptions = _corruptions(model, prompt, span, corruption, noise, replace_with)
    sites, centres = _sites(prompt, positions), _layers(layers, model.n_layers)
    windows = [layer_window(centre, window, model.n_layers) for centre in range(model.n_layers)]
    shown = np.zeros((model.n_layers, len(prompt.input_ids)), dtype=bool)
    shown[np.ix_(centres, sites)] = True
    # In a causal model a state before the corruption, or behind the last reader, cannot matter.
    run = shown.copy()
    run[:, : min(span)] = run[:, max(prompt.readers) + 1 :] = False
    groups = _groups(prompt, together, np.flatnonzero(run.any(axis=0)).tolist())
    run[:, [p for members in groups for p in members[1:]]] = False
    estimate = None
    if screen is not None:
        (effects,) = yield (Screening(prompt, corruptions, component),)
        estimate = np.where(shown, windowed(effects, windows), np.nan)
        if screen < run.sum():
            run = shown = strongest(estimate, run, screen)
    rows = _rows(prompt, corruptions, component, windows, run, groups)
    probabilities = [reading.probability for reading in (yield from read(ProbePlan(rows)))]
    n_samples = len(corruptions)
    clean, corrupted = probabilities[0], np.array(probabilities[1 : 1 + n_samples])
    cells = np.array(probabilities[1 + n_samples :]).reshape(-1, n_samples)
    restored, effect = np.full((2, *shown.shape), np.nan)
    restored[shown], effect[shown] = corrupted.mean(), 0.0
    restored[run], effect[run] = cells.mean(axis=-1), indirect_effect(cells, corrupted)
    for first, *others in groups:
        restored[:, others], effect[:, others] = restored[:, [first]], effect[:, [first]]
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
        estimate=estimate,
    )


def _rows(
    prompt: TokenizedPrompt,
    corruptions: Sequence[Corruption],
    component: Component,
    windows: Sequence[tuple[int, ...]],
    cells: Cells,
    groups: Sequence[tuple[int, ...]],
) -> tuple[PlanRow, ...]:
    """Clean, then every sample corrupted, then layer by layer, site by site, every sample."""
    rows = [PlanRow(prompt), *(PlanRow(prompt, corruption) for corruption in corruptions)]
    restored = {members[0]: members for members in groups}
    rows += [
        PlanRow(
            prompt,
            corruption,
            (Restoration(component, windows[centre], restored.get(site, (site,))),),
        )
        for centre, site in np.argwhere(cells).tolist()
        for corruption in corruptions
    ]
    return tuple(rows)


def _groups(
    prompt: TokenizedPrompt, together: Sequence[str], sites: Sequence[int]
) -> list[tuple[int, ...]]:
    """List the runs of sites that are restored as one."""
    asked = set(prompt.positions(*together)) if together else set()
    found = (tuple(range(start, stop)) for start, stop in runs(asked.intersection(sites)))
    return [members for members in found if len(members) > 1]


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


def _require_screen(
    screen: int | None, component: Component, window: int, together: Sequence[str]
) -> None:
    if screen is None:
        return
    if together:
        raise PlanError(
            f"cells of {together[0]!r} are to be screened, and restored together",
            where="causal_trace, together",
            expected="Screening picks single cells",
            action="Leave screen= or together= out",
        )
    if screen < 1:
        raise PlanError(
            f"{screen} cells are to be screened out",
            where="causal_trace, screen",
            expected="At least 1 cell is run, or screen=None for all of them",
            action="Pass screen=20, say",
        )
    if component == "residual" and window > 1:
        raise PlanError(
            f"a window of {window} layers of the residual stream cannot be screened",
            where="causal_trace, screen",
            expected="Each layer's state holds the one before it, so that their estimates overlap",
            action="Pass window=1, or component='mlp' or 'attention', or leave screen= out",
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
    n_tokens = len(prompt.input_ids)
    if positions == "all":
        return tuple(range(n_tokens))
    named = [prompt.positions(p) if isinstance(p, str) else (int(p),) for p in positions]
    sites = sorted({p for group in named for p in group})
    _require_within("position", sites, n_tokens, "token")
    return tuple(sites)


def _layers(layers: Literal["all"] | Sequence[int], n_layers: int) -> tuple[int, ...]:
    if layers == "all":
        return tuple(range(n_layers))
    chosen = sorted({int(layer) for layer in layers})
    _require_within("layer", chosen, n_layers, "layer")
    return tuple(chosen)


def _require_within(what: str, values: Sequence[int], count: int, counted: str) -> None:
    outside = [value for value in values if not 0 <= value < count]
    if outside:
        raise PlanError(
            f"{what} {outside[0]} does not exist",
            where=f"causal_trace, {what}s",
            expected=f"0 to {count - 1}: there are {count} {counted}s",
            action=f"Pass {what}s='all', or some of these",
        )


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
