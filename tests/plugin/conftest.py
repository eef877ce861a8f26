"""Whole user projects in a literal, run in this process so that torch is imported once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

PRELUDE = """
import pytest
from pytest_ragshortcut import *
QUESTION = "Where was Eavan Boland born?"
PASSAGE = "Eavan Boland, the poet, was born in Dublin in 1944."
CORK = RagCase(QUESTION, "Eavan Boland was born in Cork.", context_answer="Cork")
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture(scope="session", autouse=True)
def imported() -> None:
    """Import all that a run needs before pytester looks: it drops what a run imports anew."""
    from pytest_ragshortcut import RagCase, RagModel, context_reliance, contexts
    from pytest_ragshortcut.strategies import ahead, examples

    assert ahead
    assert examples
    contexts("a Rome", answer="Rome")
    model = RagModel.from_pretrained("embedded:reader")
    context_reliance(model, RagCase("Where was Ada born?", "Ada was born in Rome."))


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run one test file; further arguments are pytest's."""
    for name in ("RAG_MODEL", "RAG_DTYPE", "RAG_DEVICE"):
        monkeypatch.delenv(name, raising=False)

    def run(body: str, *arguments: str, files: dict[str, str] | None = None) -> pytest.RunResult:
        pytester.makepyfile(PRELUDE + body)
        for name, text in (files or {}).items():
            pytester.path.joinpath(name).write_text(text, encoding="utf-8")
        quiet = ("-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:xdist")
        return pytester.runpytest_inprocess(*quiet, *arguments)

    return run
