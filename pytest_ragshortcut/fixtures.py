"""The fixtures: session-scoped, so that Hypothesis tests may use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_ragshortcut.session import SESSION, RagProbe

if TYPE_CHECKING:
    from pytest_ragshortcut.core.ports import ProbeModel

FIXTURES = frozenset({"rag_model", "rag_probe"})


@pytest.fixture(scope="session")
def rag_model(pytestconfig: pytest.Config) -> ProbeModel:
    """The model under test: what --rag-model names, or the embedded reader."""
    return pytestconfig.stash[SESSION].model


@pytest.fixture(scope="session")
def rag_probe(rag_model: ProbeModel) -> RagProbe:
    """Every probe, bound to rag_model."""
    return RagProbe(rag_model)
