"""Explaining a reliance: every probe of its case, asked side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from pytest_ragshortcut.core.explanations import Explanation, knockout_window, trace_forwards
from pytest_ragshortcut.core.ports import ProbeModel
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.core.reliance import Reliance
from pytest_ragshortcut.errors import RagShortcutError
from pytest_ragshortcut.probes.attribution import attribute
from pytest_ragshortcut.probes.contributions import contribute
from pytest_ragshortcut.probes.inquiry import Inquiry, ask, together
from pytest_ragshortcut.probes.knockout import knock_out
from pytest_ragshortcut.probes.resolve import Resolved, resolve
from pytest_ragshortcut.probes.trace import trace_prompt

MAX_FORWARDS = 20.0
"""What a trace of every position may cost, in plain forwards of the prompt."""
NAMES = {
    "trace": "causal trace",
    "knockout_open": "attention knockout, open-book",
    "knockout_closed": "attention knockout, closed-book",
    "contributions": "attention contributions",
    "attribution": "context attribution",
}
"""field of Explanation -> the probe's name where it is missing."""


def explain_reliance(model: ProbeModel, reliance: Reliance) -> Explanation:
    """Ask every probe of a case whose reliance was measured.

    The context answer is masked and the residual stream restored, at all positions where that
    costs at most MAX_FORWARDS, else at those that can matter; subject and attribute are cut from
    the readers in windows of layers; contributions are read; the context is left out piece by
    piece. The answer's tokens are those of the reliance.

    Args:
        model: the model that the reliance was measured on.
        reliance: what to explain.

    Returns:
        All of it; what the model cannot do is missing, with the reason, and the rest is there.

    Raises:
        CaseError: if the case cannot be completed again: the model is another one.
    """
    return ask(model, _explanation(model, reliance))


def _explanation(model: ProbeModel, reliance: Reliance) -> Inquiry[Explanation]:
    resolved = yield from _resolved(model, reliance)
    prompt, n_layers = resolved.open_book, model.n_layers
    window = knockout_window(n_layers)
    asked: dict[str, Inquiry[Any]] = {
        "trace": trace_prompt(
            model,
            prompt,
            corrupt="attribute",
            corruption="mask",
            positions=_positions(prompt, n_layers),
            together=("attribute", "subject", "readers"),
        ),
        "knockout_open": knock_out(
            prompt, sources=("subject", "attribute"), window=window, n_layers=n_layers
        ),
        "knockout_closed": knock_out(
            resolved.closed_book, sources=("subject",), window=window, n_layers=n_layers
        ),
        "contributions": contribute(prompt),
        "attribution": attribute(model, resolved),
    }
    answers = yield from together([_attempt(inquiry) for inquiry in asked.values()])
    results, missing = dict.fromkeys(asked), {}
    for name, answer in zip(asked, answers, strict=True):
        if isinstance(answer, RagShortcutError):
            missing[NAMES[name]] = answer.problem
        else:
            results[name] = answer
    return Explanation(reliance=reliance, missing=missing, **results)


def _resolved(model: ProbeModel, reliance: Reliance) -> Inquiry[Resolved]:
    """Complete the case as it was completed: what the model said is asked of it again, as tokens.

    Tokenized again the text of an answer may have other tokens. The model remembers what it said.
    """
    given = reliance.asked
    case = replace(reliance.case, answer=given.answer, memory_answer=given.memory_answer)
    resolved = yield from resolve(model, case)
    prompt = reliance.prompt
    return replace(resolved, case=reliance.case, open_book=prompt, answer=prompt.answer_ids)


def _attempt(inquiry: Inquiry[Any]) -> Inquiry[Any]:
    try:
        return (yield from inquiry)
    except RagShortcutError as error:
        return error


def _positions(prompt: TokenizedPrompt, n_layers: int) -> Literal["all"] | Sequence[int]:
    """Take every position if that is cheap, else those that can carry the context answer on."""
    n_tokens = len(prompt.input_ids)
    felt = range(min(prompt.positions("attribute")), n_tokens)
    if trace_forwards(felt, n_tokens=n_tokens, n_layers=n_layers) <= MAX_FORWARDS:
        return "all"
    passages = [role for role in prompt.spans if role.startswith("passage_")]
    ends = [prompt.positions(role)[-1] for role in passages]
    return (*prompt.positions("attribute", "subject"), *ends, *prompt.readers)
