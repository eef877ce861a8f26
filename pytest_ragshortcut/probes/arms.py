"""The paper's comparison: the same cases open-book and closed-book, under one named protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.corruptions import GaussianNoise
from pytest_ragshortcut.core.effects import top_mean
from pytest_ragshortcut.core.plans import Component
from pytest_ragshortcut.core.ports import ProbeModel
from pytest_ragshortcut.core.prompts import Template, TokenizedPrompt
from pytest_ragshortcut.errors import OptionError
from pytest_ragshortcut.probes.contributions import contribute
from pytest_ragshortcut.probes.inquiry import ask, together
from pytest_ragshortcut.probes.knockout import knock_out
from pytest_ragshortcut.probes.resolve import resolve
from pytest_ragshortcut.probes.trace import trace_prompt


@dataclass(frozen=True)
class Protocol:
    """How the two arms are run. The default compares like with like."""

    name: str = "like for like"
    template: Template | None = None
    """None is the model's own template."""
    corrupt_open: str = "subject"
    """The span corrupted open-book."""
    corrupt_closed: str = "subject"
    """The span corrupted closed-book."""
    component: Component = "mlp"
    """What is restored."""
    mediation_window: int = 10
    """How many layers are restored together."""
    knockout_window: int = 9
    """How many layers a knockout spans."""
    noise: GaussianNoise = field(default_factory=GaussianNoise)
    """How the corruption draws."""
    top_share: float = 0.05
    """Which share of the largest contributions is averaged."""
    same_answer: bool = True
    """Whether a case is kept only if both arms give the same answer."""


LIKE_FOR_LIKE = Protocol()
WADHWA_2024 = Protocol(
    name="Wadhwa et al. 2024",
    template=Template(
        open_book="Information is below:\n{context}\nGiven the context information and not prior "
        "knowledge, complete the following:\n{question}",
        closed_book="{question}",
    ),
    corrupt_open="context+subject",
    same_answer=False,
)
PROTOCOLS = {"like_for_like": LIKE_FOR_LIKE, "wadhwa_2024": WADHWA_2024}


@dataclass(frozen=True, eq=False)
class Arm:
    """One arm's means over the kept cases."""

    clean: float
    """Mean probability of the answer."""
    total_effect: float
    """Mean total effect of the corruption."""
    subject_aie: float
    """Largest over layers of the mean indirect effect at the last subject token."""
    subject_contribution: float
    """Mean of the largest contributions subject -> last."""
    attribute_contribution: float
    """The same, attribute -> last; NaN closed-book."""
    subject_knockout: float
    """Most negative over windows of the mean relative change, subject -> last cut."""
    attribute_knockout: float
    """The same, attribute -> last cut; NaN closed-book."""


@dataclass(frozen=True, eq=False)
class ArmsResult:
    """Both arms under one protocol, and how many cases were kept."""

    protocol: Protocol
    open_book: Arm
    closed_book: Arm
    n_kept: int
    n_cases: int


def compare_arms(
    model: ProbeModel, cases: Sequence[RagCase], *, protocol: str | Protocol = "like_for_like"
) -> ArmsResult:
    """Run tracing, contributions and knockouts on both arms of every kept case.

    Args:
        model: the model to intervene on.
        cases: the cases.
        protocol: 'like_for_like', 'wadhwa_2024' or a Protocol.

    Raises:
        OptionError: if the protocol has no such name, or no case is kept.

    Source:
        Wadhwa et al. 2024, sections 4 and 5, appendix F; what the paper leaves open (number of
        noise samples, windows) is ROME's: 10 samples, windows of 10, knockouts of 9 layers.
        Two of its choices change the verdict, and the default undoes both: its prompt asks for
        the context "and not prior knowledge", and it corrupts the context in one arm alone.
    """
    chosen = _protocol(protocol)
    asked = model.with_template(chosen.template) if chosen.template else model
    kept = []
    for resolved in ask(asked, together([resolve(asked, case) for case in cases])):
        memory, said = resolved.case.memory_answer, resolved.case.answer
        if not chosen.same_answer or memory == said:
            kept.append((resolved.open_book, resolved.closed_book))
    if not kept:
        expected = "cases whose open-book and closed-book answers agree under like_for_like"
        raise OptionError(option="cases", value=f"0 kept of {len(cases)}", expected=expected)
    return ArmsResult(
        protocol=chosen,
        open_book=_arm(asked, [pair[0] for pair in kept], chosen, chosen.corrupt_open),
        closed_book=_arm(asked, [pair[1] for pair in kept], chosen, chosen.corrupt_closed),
        n_kept=len(kept),
        n_cases=len(cases),
    )


def _protocol(protocol: str | Protocol) -> Protocol:
    if isinstance(protocol, Protocol):
        return protocol
    if protocol not in PROTOCOLS:
        expected = f"one of {', '.join(PROTOCOLS)}"
        raise OptionError(option="protocol", value=protocol, expected=expected)
    return PROTOCOLS[protocol]


def _arm(
    model: ProbeModel, prompts: Sequence[TokenizedPrompt], protocol: Protocol, corrupt: str
) -> Arm:
    traced = [
        trace_prompt(
            model,
            prompt,
            corrupt=corrupt,
            corruption="gaussian",
            noise=protocol.noise,
            component=protocol.component,
            window=protocol.mediation_window,
            positions=(prompt.positions("subject")[-1],),
        )
        for prompt in prompts
    ]
    traces = ask(model, together(traced))
    # The maximum of the mean over cases, not the mean of the maxima: the latter grows with noise.
    effects = [t.indirect_effect[:, t.prompt.positions("subject")[-1]] for t in traces]
    return Arm(
        clean=float(np.mean([trace.clean for trace in traces])),
        total_effect=float(np.mean([trace.total_effect for trace in traces])),
        subject_aie=float(np.mean(effects, axis=0).max()),
        subject_contribution=_contribution(model, prompts, "subject", protocol),
        attribute_contribution=_contribution(model, prompts, "attribute", protocol),
        subject_knockout=_knockout(model, prompts, "subject", protocol),
        attribute_knockout=_knockout(model, prompts, "attribute", protocol),
    )


def _contribution(
    model: ProbeModel, prompts: Sequence[TokenizedPrompt], role: str, protocol: Protocol
) -> float:
    if any(role not in prompt.spans for prompt in prompts):
        return float("nan")
    results = ask(model, together([contribute(prompt) for prompt in prompts]))
    return top_mean(np.array([result.of(role) for result in results]), top_share=protocol.top_share)


def _knockout(
    model: ProbeModel, prompts: Sequence[TokenizedPrompt], role: str, protocol: Protocol
) -> float:
    if any(role not in prompt.spans for prompt in prompts):
        return float("nan")
    cut = [
        knock_out(
            prompt,
            sources=(role,),
            window=protocol.knockout_window,
            n_layers=model.n_layers,
        )
        for prompt in prompts
    ]
    results = ask(model, together(cut))
    return float(np.mean([result.change(role) for result in results], axis=0).min())
