"""Which tests ask a model: marked, run once a model or a case, and settled after each example."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_ragshortcut.errors import OptionError, RagShortcutError
from pytest_ragshortcut.fixtures import CASE_FIXTURE, FIXTURES
from pytest_ragshortcut.session import MARKER, RagSession

if TYPE_CHECKING:
    from pytest_ragshortcut.config import Settings

CASES_MARKER = "rag_cases"
_FIXTURES_MODULE = "pytest_ragshortcut.fixtures"
MARKERS = (
    f"{MARKER}(model=..., probes=..., min_context_reliance=...): settings of a test that asks a "
    "model; every such test has the marker, by itself",
    f"{CASES_MARKER}(path, columns=None): run a test for each case of a file, as {CASE_FIXTURE}",
)


def mark(item: pytest.Item) -> None:
    """Mark a test that asks a model, so that -m rag selects it, and prepare it for Hypothesis."""
    if FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
        return
    item.add_marker(MARKER)
    if "hypothesis" in sys.modules and isinstance(item, pytest.Function):
        from pytest_ragshortcut.strategies.examples import settle_each, suit_models

        suit_models(item.obj)
        settle_each(item.obj)


def models_of(item: pytest.Item, session: RagSession) -> tuple[Settings, ...]:
    """List the models that a test will ask of our own fixtures."""
    names = set(getattr(item, "fixturenames", ()))
    given = getattr(getattr(item, "callspec", None), "params", {})
    each: tuple[Settings, ...] = ()
    if "rag_model" in names and _is_ours(item, "rag_model"):
        each += (given.get("rag_model", session.settings),)
    if "rag_models" in names and _is_ours(item, "rag_models"):
        each += given.get("rag_models", session.settings.each_model)
    return each


def _is_ours(item: pytest.Item, name: str) -> bool:
    """Say whether a fixture is the plugin's, and no project's own of the same name."""
    known = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    return bool(known.get(name)) and known[name][-1].func.__module__ == _FIXTURES_MODULE


def parametrize(metafunc: pytest.Metafunc, session: RagSession) -> None:
    """Run a test once for each model and case that it is to be asked about.

    Raises:
        Collector.CollectError: if a marker or a case file cannot be used; the text says why.
    """
    try:
        _parametrize_models(metafunc, session)
        _parametrize_cases(metafunc)
    except RagShortcutError as error:
        raise pytest.Collector.CollectError(str(error)) from error


def _parametrize_models(metafunc: pytest.Metafunc, session: RagSession) -> None:
    if FIXTURES.isdisjoint(metafunc.fixturenames):
        return
    settings = session.settings_of(metafunc.definition)
    each = settings.each_model
    if len(each) == 1 and settings == session.settings:
        return
    if "rag_models" in metafunc.fixturenames:
        metafunc.parametrize(
            "rag_models", [each], ids=[pytest.HIDDEN_PARAM], indirect=True, scope="session"
        )
    if "rag_model" in metafunc.fixturenames:
        metafunc.parametrize("rag_model", each, ids=_ids(each), indirect=True, scope="session")


def _ids(each: tuple[Settings, ...]) -> list[Any]:
    """Name the models: one has no need of a name, several the last parts of their paths."""
    if len(each) == 1:
        return [pytest.HIDDEN_PARAM]
    names = [Path(settings.model).name or settings.model for settings in each]
    return names if len(set(names)) == len(names) else [settings.model for settings in each]


def _parametrize_cases(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker(CASES_MARKER)
    if marker is None:
        return
    from pytest_ragshortcut.core.casefiles import read_cases

    if CASE_FIXTURE not in metafunc.fixturenames:
        raise OptionError(
            option=f"@pytest.mark.{CASES_MARKER}",
            value=metafunc.function.__name__,
            expected=f"a test with an argument {CASE_FIXTURE}",
        )
    path, columns = _arguments(marker)
    beside = metafunc.definition.path.parent / path
    named = read_cases(beside if beside.exists() else metafunc.config.rootpath / path, columns)
    metafunc.parametrize(
        CASE_FIXTURE, [each.case for each in named], ids=[each.id for each in named]
    )


def _arguments(marker: pytest.Mark) -> tuple[Path, Any]:
    def asked(path: str | Path, columns: Any = None) -> tuple[Path, Any]:
        return Path(path), columns

    try:
        return asked(*marker.args, **marker.kwargs)
    except TypeError as error:
        raise OptionError(
            option=f"@pytest.mark.{CASES_MARKER}",
            value=", ".join(
                [*map(repr, marker.args), *(f"{k}={v!r}" for k, v in marker.kwargs.items())]
            ),
            expected="a file and, if its columns have other names, columns={...}",
        ) from error
