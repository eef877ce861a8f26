"""Every probe, bound to one model: what the fixture rag_probe gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_ragshortcut.core.arms import ArmsResult
from pytest_ragshortcut.core.attribution import AttributionResult
from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.corruptions import GaussianNoise
from pytest_ragshortcut.core.ledger import options_of_test
from pytest_ragshortcut.core.ports import ProbeModel
from pytest_ragshortcut.core.reliance import Reliance
from pytest_ragshortcut.core.results import (
    ContributionsResult,
    KnockoutResult,
    SwapResult,
    TraceResult,
)
from pytest_ragshortcut.probes.arms import compare_arms
from pytest_ragshortcut.probes.attribution import attribute_context
from pytest_ragshortcut.probes.contributions import attention_contributions
from pytest_ragshortcut.probes.knockout import attention_knockout
from pytest_ragshortcut.probes.reliance import (
    context_reliance,
    context_reliances,
    parametric_reliance,
)
from pytest_ragshortcut.probes.swap import counterfactual_swap
from pytest_ragshortcut.probes.trace import causal_trace


@dataclass(frozen=True)
class RagProbe:
    """Every probe, bound to a model. Each method takes what the function of its name takes."""

    model: ProbeModel
    """The model that is asked."""
    seed: int = 0
    """Of the Gaussian noise, where a trace names none."""

    def context_reliance(
        self, question: RagCase | str, context: str | Sequence[str] | None = None, **options: Any
    ) -> Reliance:
        """Measure how far the answer follows the context."""
        return context_reliance(self.model, question, context, **options_of_test(options))

    def context_reliances(self, cases: Sequence[RagCase], **options: Any) -> tuple[Reliance, ...]:
        """Measure many cases side by side."""
        return context_reliances(self.model, cases, **options_of_test(options))

    def parametric_reliance(
        self, question: RagCase | str, context: str | Sequence[str] | None = None, **options: Any
    ) -> Reliance:
        """Measure how far the answer stays with parametric memory."""
        return parametric_reliance(self.model, question, context, **options_of_test(options))

    def counterfactual_swap(self, case: RagCase, **options: Any) -> SwapResult:
        """Swap the context answer and read both answers."""
        return counterfactual_swap(self.model, case, **options)

    def causal_trace(self, case: RagCase, **options: Any) -> TraceResult:
        """Corrupt a span and restore one site at a time."""
        return causal_trace(self.model, case, **{"noise": GaussianNoise(seed=self.seed), **options})

    def attention_knockout(self, case: RagCase, **options: Any) -> KnockoutResult:
        """Cut the edges from spans to the readers."""
        return attention_knockout(self.model, case, **options)

    def attention_contributions(self, case: RagCase, **options: Any) -> ContributionsResult:
        """Read what each token adds to the readers through attention."""
        return attention_contributions(self.model, case, **options)

    def attribute_context(self, case: RagCase, **options: Any) -> AttributionResult:
        """Leave out each passage and sentence, and see what the answer loses."""
        return attribute_context(self.model, case, **options)

    def compare_arms(self, cases: Sequence[RagCase], **options: Any) -> ArmsResult:
        """Compare open-book with closed-book, as the paper does or like for like."""
        return compare_arms(self.model, cases, **options)
