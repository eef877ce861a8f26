"""The score and the verdict on models whose reliance was planted.

Each is asked held-out cases in conflict, and in agreement, where behaviour alone cannot tell.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import cache

import pytest

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.reliance import Reliance, Verdict
from pytest_ragshortcut.models import embedded
from pytest_ragshortcut.models.embedded import spec
from pytest_ragshortcut.models.embedded.cases import Case
from pytest_ragshortcut.models.embedded.policies import MIXTURES
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.probes.reliance import context_reliances

N_CASES = 20
SEED = 6
FACTS = {"Ada Quill": "Oslo", "Bo Reed": "Lima", "Cy Dunn": "Kiel"}
PLACES = ("Rome", "Cork", "Bonn", "Turin", "Malmo")
contexts = pytest.mark.parametrize("agrees", [False, True], ids=["conflict", "agreement"])


@cache
def model(name: str) -> RagModel:
    return RagModel.from_pretrained(f"embedded:{name}", device="cpu")


def ask(name: str, kind: str, *, agrees: bool, attribute: str = "stated") -> list[Reliance]:
    """Ask a trained model held-out cases of one kind."""
    drawn = spec.cases(kind, N_CASES, SEED)
    return list(context_reliances(model(name), [case(c, agrees, attribute) for c in drawn]))


def case(drawn: Case, agrees: bool, attribute: str) -> RagCase:
    """Take a held-out case as a user would ask it; in agreement it states what memory knows."""
    stated, known = str(getattr(drawn.told, attribute)), str(drawn.told.known)
    asked = RagCase(drawn.question, drawn.passages, subject=drawn.subject, context_answer=stated)
    if not agrees:
        return asked
    swapped = asked.swapped(stated, known)
    return RagCase(swapped.question, swapped.context, subject=drawn.subject, context_answer=known)


def share(found: Sequence[Reliance], *verdicts: Verdict) -> float:
    return sum(each.verdict in verdicts for each in found) / len(found)


@contexts
@pytest.mark.parametrize("kind", ["unseen answer", "known answer"])
@pytest.mark.parametrize("name", [name for name in embedded.NAMES if name in MIXTURES])
def test_a_mixture_scores_what_it_was_taught(name: str, kind: str, agrees: bool) -> None:
    found = ask(name, kind, agrees=agrees)
    mean = statistics.fmean(each.score for each in found)
    spread = statistics.stdev(each.score for each in found) / len(found) ** 0.5
    # What its spec allows, and three standard errors.
    assert mean == pytest.approx(MIXTURES[name], abs=spec.SPREAD + 3 * spread)
