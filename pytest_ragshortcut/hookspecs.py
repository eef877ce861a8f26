"""The hooks that a user's conftest.py may implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_ragshortcut.config import Settings
    from pytest_ragshortcut.core.ports import ProbeModel


@pytest.hookspec(firstresult=True)
def pytest_ragshortcut_load_model(config: pytest.Config, settings: Settings) -> ProbeModel | None:
    """Load the model that rag_model gives, in your own way; return None to leave it to others."""
