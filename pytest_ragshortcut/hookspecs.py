"""The hooks that a user's conftest.py may implement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from pytest_ragshortcut.config import Settings
    from pytest_ragshortcut.core.cases import RagCase
    from pytest_ragshortcut.core.ports import ProbeModel


@pytest.hookspec(firstresult=True)
def pytest_ragshortcut_load_model(config: pytest.Config, settings: Settings) -> ProbeModel | None:
    """Load the model that rag_model gives, in your own way; return None to leave it to others."""


@pytest.hookspec(firstresult=True)
def pytest_ragshortcut_render_prompt(
    config: pytest.Config, case: RagCase, book: Literal["open", "closed"]
) -> str | None:
    """Write the whole prompt of a case, as your application does; None leaves it to the template.

    The passages (open book alone) and the question must stand in it as they are, so that the
    probes know where they are.
    """


@pytest.hookspec
def pytest_ragshortcut_update_record(
    config: pytest.Config, item: pytest.Item, record: dict[str, Any]
) -> None:
    """Add to a check's record before it is reported: record["notes"]["ticket"] = "RAG-17".

    Notes are texts. They travel into every report; the rest of the record is what was measured.
    """
