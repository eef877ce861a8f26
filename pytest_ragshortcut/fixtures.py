"""The fixtures: session-scoped, so that Hypothesis tests may use them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from pytest_ragshortcut.session import SESSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_ragshortcut.core.ports import ProbeModel
    from pytest_ragshortcut.probes.bound import RagProbe

FIXTURES = frozenset({"rag_model", "rag_models", "rag_probe"})
CASE_FIXTURE = "rag_case"


@pytest.fixture(scope="session")
def rag_model(request: pytest.FixtureRequest) -> ProbeModel:
    """The model under test: what --rag-model names, each in turn where it names several."""
    return request.config.stash[SESSION].model(getattr(request, "param", None))


@pytest.fixture(scope="session")
def rag_models(request: pytest.FixtureRequest) -> Mapping[str, ProbeModel]:
    """All models that --rag-model names, by name: to compare them in one test."""
    session = request.config.stash[SESSION]
    named = getattr(request, "param", session.settings.each_model)
    return MappingProxyType({settings.model: session.model(settings) for settings in named})


@pytest.fixture(scope="session")
def rag_probe(request: pytest.FixtureRequest, rag_model: ProbeModel) -> RagProbe:
    """Every probe, bound to rag_model."""
    from pytest_ragshortcut.probes.bound import RagProbe

    return RagProbe(rag_model, seed=int(request.config.stash[SESSION].settings.seed))
