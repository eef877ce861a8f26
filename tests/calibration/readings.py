"""What each probe reads of one case, as plain numbers: all that a candidate score may use."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.corruptions import replacement
from pytest_ragshortcut.core.plans import (
    Component,
    Corruption,
    PlanRow,
    ProbePlan,
    Restoration,
    layer_window,
)
from pytest_ragshortcut.core.ports import ProbeModel
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.core.reliance import Limits, score
from pytest_ragshortcut.errors import RagShortcutError
from pytest_ragshortcut.probes.contributions import contribute
from pytest_ragshortcut.probes.inquiry import Alternatives, Inquiry, read, together
from pytest_ragshortcut.probes.knockout import knock_out
from pytest_ragshortcut.probes.resolve import Resolved, elsewhere, find_substitutes, resolve, usable
from pytest_ragshortcut.probes.swap import swap_resolved

Readings = dict[str, float]
Probe = Callable[[ProbeModel, Resolved], Inquiry[Readings]]
NAN = float("nan")
SPANS = ("attribute", "subject")
RANKS = range(24)
"""Among so many answers about a made-up subject a substitute of as many tokens is looked for."""


def readings(
    model: ProbeModel, case: RagCase, probes: Sequence[str]
) -> Inquiry[Readings | RagShortcutError]:
    """Carry probes out on one case.

    Args:
        model: the model to ask.
        case: the case; what it leaves out is found.
        probes: names of PROBES.

    Returns:
        The readings of them all, or why there are none.
    """
    try:
        resolved = yield from resolve(model, case, ahead="swap" in probes)
        parts = yield from together([PROBES[name](model, resolved) for name in probes])
    except RagShortcutError as error:
        return error
    return {key: value for part in parts for key, value in part.items()}


def _swap(model: ProbeModel, resolved: Resolved) -> Inquiry[Readings]:
    """Read today's score."""
    swap, _ = yield from swap_resolved(model, resolved)
    follow, _ = score(swap, "context", limits=Limits())
    return {"follow": follow}


def _swapped_answer(model: ProbeModel, resolved: Resolved) -> Inquiry[Readings]:
    """Read how likely the answer still is where the context says something else."""
    substitutes, _ = yield from find_substitutes(model, resolved)
    stated = str(resolved.case.context_answer)
    prompts = [resolved.open_book]
    for substitute in substitutes:
        prompt = model.tokenize(model.render(resolved.case.swapped(stated, substitute)))
        prompts.append(model.reading(prompt, resolved.answer))
    found = yield from read(ProbePlan(tuple(map(PlanRow, prompts))))
    clean, *swapped = (reading.probability for reading in found)
    return {"clean, swapped": clean, "lost, swapped": clean - float(np.mean(swapped))}


def _behaviour(model: ProbeModel, resolved: Resolved) -> Inquiry[Readings]:
    """Read what no intervention is needed for: the two answers, with the context and without."""
    prompt, case = resolved.open_book, resolved.case
    asked = (resolved.answer, str(case.context_answer), resolved.memory)
    prompts = [prompt, *(model.reading(prompt, answer) for answer in asked[1:])]
    prompts += [resolved.closed_book, model.reading(resolved.closed_book, resolved.answer)]
    found = yield from read(ProbePlan(tuple(map(PlanRow, prompts))))
    names = ("answer", "context answer", "memory answer", "known", "answer, closed book")
    values = dict(zip(names, (reading.probability for reading in found), strict=True))
    if case.context_answer == case.memory_answer:
        values |= {"context answer": NAN, "memory answer": NAN}
    return values


def _knockout(
    suffix: str, *, share: float = 1.0, source: str = "attribute", through_question: bool = False
) -> Probe:
    """Cut source and subject in windows of a share of the layers; the strongest window counts."""

    def probe(model: ProbeModel, resolved: Resolved) -> Inquiry[Readings]:
        sources = (source, "subject")
        result = yield from knock_out(
            resolved.open_book,
            sources=sources,
            window=None if share == 1.0 else max(1, round(share * model.n_layers)),
            n_layers=model.n_layers,
            through_question=through_question,
        )
        changes = (result.change(each) for each in sources)
        strongest = [float(change[np.abs(change).argmax()]) for change in changes]
        return dict(zip((f"cut source{suffix}", f"cut subject{suffix}"), strongest, strict=True))

    return probe


def _mask(model: ProbeModel, resolved: Resolved) -> Inquiry[Readings]:
    """Read what masking attribute and subject takes away."""
    prompt, values = resolved.open_book, Readings()
    for span in SPANS:
        clean, corrupted, _ = yield from _restored(prompt, _masked(model, prompt, span), ())
        values[f"total {span}"] = clean - corrupted
    return values


def _subject_states(model: ProbeModel, resolved: Resolved) -> Inquiry[Readings]:
    """Mask the subject, and restore its last token's states: the paper's site."""
    prompt = resolved.open_book
    last, n_layers = prompt.positions("subject")[-1:], model.n_layers
    half = -(-n_layers // 2)
    windows = [layer_window(centre, half, n_layers) for centre in range(n_layers)]
    sites = [Restoration("mlp", layers, last) for layers in windows]
    sites.append(Restoration("residual", (n_layers // 2,), last))
    corruption = _masked(model, prompt, "subject")
    clean, corrupted, restored = yield from _restored(prompt, corruption, sites)
    *mlp, midway = (value - corrupted for value in restored)
    total = clean - corrupted
    return {"subject lost": total, "subject back, mlp": max(mlp), "subject back, midway": midway}


def _attribute_states(model: ProbeModel, resolved: Resolved) -> Inquiry[Readings]:
    """Mask the attribute, and restore its own states, layer by layer."""
    return (yield from _states_back(model, resolved, _masked(model, resolved.open_book), "masked"))


def _substitute_states(model: ProbeModel, resolved: Resolved) -> Inquiry[Readings]:
    """Do the same where the attribute is a substitute of as many tokens; NaN where there is none.

    Each occurrence of the attribute is replaced, so that the run is that of a swapped context.
    """
    prompt = resolved.open_book
    runs = prompt.spans["attribute"]
    lengths = {stop - start for start, stop in runs}
    (said,) = yield (Alternatives(elsewhere(model, resolved.case)[0], RANKS),)
    answers = [generated.text for generated in said]
    for substitute in usable(answers, resolved, count=len(answers)):
        ids = model.token_ids(substitute)
        if lengths == {len(ids)}:
            corruption = replacement(prompt.positions("attribute"), ids * len(runs))
            return (yield from _states_back(model, resolved, corruption, "substituted"))
    return {"clean, substituted": NAN, "lost, substituted": NAN, "back, substituted": NAN}


def _states_back(
    model: ProbeModel, resolved: Resolved, corruption: Corruption, suffix: str
) -> Inquiry[Readings]:
    prompt = resolved.open_book
    span = prompt.positions("attribute")
    sites = [Restoration("residual", (layer,), span) for layer in range(model.n_layers)]
    clean, corrupted, restored = yield from _restored(prompt, corruption, sites)
    return {
        f"clean, {suffix}": clean,
        f"lost, {suffix}": clean - corrupted,
        f"back, {suffix}": max(restored) - corrupted,
    }


def _paths(model: ProbeModel, resolved: Resolved) -> Inquiry[Readings]:
    """Mask a span, and restore one sub-layer's output at the readers alone, in the upper half."""
    prompt, values = resolved.open_book, Readings()
    late = tuple(range(model.n_layers // 2, model.n_layers))
    components: tuple[Component, ...] = ("attention", "mlp")
    sites = [Restoration(component, late, prompt.readers) for component in components]
    for span in SPANS:
        corruption = _masked(model, prompt, span)
        _, corrupted, restored = yield from _restored(prompt, corruption, sites)
        for component, value in zip(components, restored, strict=True):
            values[f"{component} path, {span}"] = value - corrupted
    return values


def _contributions(_: ProbeModel, resolved: Resolved) -> Inquiry[Readings]:
    sources = resolved.open_book.positions(*SPANS)
    result = yield from contribute(resolved.open_book, heads=False, sources=sources)
    return {f"contribution {span}": float(result.of(span).sum()) for span in SPANS}


def _masked(model: ProbeModel, prompt: TokenizedPrompt, span: str = "attribute") -> Corruption:
    positions = prompt.positions(span)
    return replacement(positions, [model.mask_token()] * len(positions))


def _restored(
    prompt: TokenizedPrompt, corruption: Corruption, sites: Sequence[Restoration]
) -> Inquiry[tuple[float, float, list[float]]]:
    """Read p(answer) clean, corrupted, and with each site restored."""
    rows = [PlanRow(prompt), PlanRow(prompt, corruption)]
    rows += [PlanRow(prompt, corruption, (site,)) for site in sites]
    found = yield from read(ProbePlan(tuple(rows)))
    clean, corrupted, *restored = (reading.probability for reading in found)
    return clean, corrupted, restored


PROBES: dict[str, Probe] = {
    "swap": _swap,
    "swapped answer": _swapped_answer,
    "behaviour": _behaviour,
    "knockout": _knockout(""),
    "knockout, half": _knockout(", half", share=0.5),
    "knockout, one": _knockout(", one", share=0.0),
    "knockout, two hops": _knockout(", two hops", through_question=True),
    "knockout, context": _knockout(", context", source="context"),
    "mask": _mask,
    "subject states": _subject_states,
    "attribute states": _attribute_states,
    "substitute states": _substitute_states,
    "paths": _paths,
    "contributions": _contributions,
}
