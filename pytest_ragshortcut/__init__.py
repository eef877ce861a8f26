"""RAG faithfulness testing for pytest: does the model read its context, or answer from memory?

Importing this package imports nothing else: every public name is loaded when it is first used,
because pytest loads the plugin in every run of every project.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_ragshortcut.assertions import assert_context_reliance as assert_context_reliance
    from pytest_ragshortcut.assertions import (
        assert_parametric_reliance as assert_parametric_reliance,
    )
    from pytest_ragshortcut.core.casefiles import read_cases as read_cases
    from pytest_ragshortcut.core.cases import RagCase as RagCase
    from pytest_ragshortcut.core.corruptions import GaussianNoise as GaussianNoise
    from pytest_ragshortcut.core.prompts import Template as Template
    from pytest_ragshortcut.core.reliance import Limits as Limits
    from pytest_ragshortcut.core.reliance import Reliance as Reliance
    from pytest_ragshortcut.core.reliance import Verdict as Verdict
    from pytest_ragshortcut.errors import RagShortcutError as RagShortcutError
    from pytest_ragshortcut.metamorphic import assert_falls_back as assert_falls_back
    from pytest_ragshortcut.metamorphic import assert_follows_swap as assert_follows_swap
    from pytest_ragshortcut.metamorphic import (
        assert_ignores_distractor as assert_ignores_distractor,
    )
    from pytest_ragshortcut.metamorphic import assert_ignores_order as assert_ignores_order
    from pytest_ragshortcut.metamorphic import (
        assert_ignores_repetition as assert_ignores_repetition,
    )
    from pytest_ragshortcut.metamorphic import assert_ignores_wording as assert_ignores_wording
    from pytest_ragshortcut.metamorphic import (
        assert_reads_every_position as assert_reads_every_position,
    )
    from pytest_ragshortcut.models.handset import hand_weighted as hand_weighted
    from pytest_ragshortcut.models.rag_model import RagModel as RagModel
    from pytest_ragshortcut.probes.arms import compare_arms as compare_arms
    from pytest_ragshortcut.probes.attribution import attribute_context as attribute_context
    from pytest_ragshortcut.probes.contributions import (
        attention_contributions as attention_contributions,
    )
    from pytest_ragshortcut.probes.explanation import explain_reliance as explain_reliance
    from pytest_ragshortcut.probes.knockout import attention_knockout as attention_knockout
    from pytest_ragshortcut.probes.reliance import context_reliance as context_reliance
    from pytest_ragshortcut.probes.reliance import context_reliances as context_reliances
    from pytest_ragshortcut.probes.reliance import parametric_reliance as parametric_reliance
    from pytest_ragshortcut.probes.swap import counterfactual_swap as counterfactual_swap
    from pytest_ragshortcut.probes.trace import causal_trace as causal_trace
    from pytest_ragshortcut.strategies.cases import conflicts as conflicts
    from pytest_ragshortcut.strategies.cases import contradictory as contradictory
    from pytest_ragshortcut.strategies.cases import paraphrases as paraphrases
    from pytest_ragshortcut.strategies.cases import partial as partial
    from pytest_ragshortcut.strategies.cases import rag_cases as rag_cases
    from pytest_ragshortcut.strategies.contexts import contexts as contexts
    from pytest_ragshortcut.strategies.distracted import hard_negatives as hard_negatives
    from pytest_ragshortcut.strategies.distracted import injected as injected
    from pytest_ragshortcut.strategies.distracted import irrelevant as irrelevant
    from pytest_ragshortcut.strategies.shares import holds_for as holds_for

__version__ = "0.1.0"

_HOMES = {
    "GaussianNoise": "core.corruptions",
    "Limits": "core.reliance",
    "RagCase": "core.cases",
    "RagModel": "models.rag_model",
    "RagShortcutError": "errors",
    "Reliance": "core.reliance",
    "Template": "core.prompts",
    "Verdict": "core.reliance",
    "assert_context_reliance": "assertions",
    "assert_falls_back": "metamorphic",
    "assert_follows_swap": "metamorphic",
    "assert_ignores_distractor": "metamorphic",
    "assert_ignores_order": "metamorphic",
    "assert_ignores_repetition": "metamorphic",
    "assert_ignores_wording": "metamorphic",
    "assert_parametric_reliance": "assertions",
    "assert_reads_every_position": "metamorphic",
    "attention_contributions": "probes.contributions",
    "attention_knockout": "probes.knockout",
    "attribute_context": "probes.attribution",
    "causal_trace": "probes.trace",
    "compare_arms": "probes.arms",
    "conflicts": "strategies.cases",
    "context_reliance": "probes.reliance",
    "context_reliances": "probes.reliance",
    "contexts": "strategies.contexts",
    "contradictory": "strategies.cases",
    "counterfactual_swap": "probes.swap",
    "explain_reliance": "probes.explanation",
    "hand_weighted": "models.handset",
    "hard_negatives": "strategies.distracted",
    "holds_for": "strategies.shares",
    "injected": "strategies.distracted",
    "irrelevant": "strategies.distracted",
    "parametric_reliance": "probes.reliance",
    "paraphrases": "strategies.cases",
    "partial": "strategies.cases",
    "rag_cases": "strategies.cases",
    "read_cases": "core.casefiles",
}

__all__ = [*sorted(_HOMES)]  # noqa: PLE0604


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*sorted(_HOMES), "__version__"]
