"""The pytest plugin: options, fixtures, the table of checks. Loaded by every run of every project.

Nothing here imports numpy, torch, transformers or hypothesis; what needs them is imported when a
test asks for a model.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_ragshortcut.config import OPTIONS, Settings
from pytest_ragshortcut.core.ledger import Ledger, recording
from pytest_ragshortcut.errors import RagShortcutError
from pytest_ragshortcut.fixtures import FIXTURES, rag_model, rag_probe
from pytest_ragshortcut.session import SESSION, RagSession, load_model

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from pytest_ragshortcut.baselines.store import Baseline
    from pytest_ragshortcut.core.ports import ProbeModel

__all__ = ["rag_model", "rag_probe"]

_PROPERTY = "rag_checks"
_NOTES = "rag_notes"
_BASELINE = pytest.StashKey["Baseline | None"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add every option of the table."""
    group = parser.getgroup("ragshortcut", "RAG faithfulness probes")
    for option in OPTIONS:
        text = option.help + (f" (default: {option.default})" if option.default else "")
        group.addoption(
            option.flag, dest=option.ini, metavar=option.metavar, default=None, help=text
        )
        parser.addini(option.ini, text, default="")


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks that users may implement."""
    from pytest_ragshortcut import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Settle the options; wrong values and missing baselines are usage errors."""
    config.addinivalue_line("markers", "rag: a test that asks a model (added by itself)")
    try:
        config.stash[SESSION] = RagSession(config)
        config.stash[_BASELINE] = _load_baseline(config.stash[SESSION].settings)
    except RagShortcutError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests that ask a model, so that -m rag selects them; lift their default deadline."""
    if FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
        return
    item.add_marker("rag")
    if "hypothesis" in sys.modules and isinstance(item, pytest.Function):
        from pytest_ragshortcut.strategies.deadlines import lift_default_deadline

        lift_default_deadline(item.obj)


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> str | None:
    """Say which model will be asked, where a test asks one."""
    if not any(item.get_closest_marker("rag") for item in items):
        return None
    chosen = config.stash[SESSION].settings
    return (
        f"rag: model {chosen.model}, device {chosen.device}, dtype {chosen.dtype}, "
        f"template {chosen.template}"
    )


@pytest.hookimpl(trylast=True)
def pytest_ragshortcut_load_model(settings: Settings) -> ProbeModel:
    """Load what the options name, where no conftest.py loads a model its own way."""
    return load_model(settings)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Keep the test's checks, and fail it if one of them was never compared."""
    with recording(_typed(item)) as ledger:
        try:
            yield
            ledger.require_compared()
        finally:
            _attach(item, ledger)


def _typed(item: pytest.Item) -> str:
    """Name a test as it can be typed where pytest was started, which need not be its root."""
    path = os.path.relpath(item.path, item.config.invocation_params.dir)
    return "::".join([Path(path).as_posix(), *item.nodeid.split("::")[1:]])


def _attach(item: pytest.Item, ledger: Ledger) -> None:
    """Leave the checks where every report of the test finds them, as text that travels."""
    # A test that is run again replaces what it said before.
    item.user_properties[:] = [kept for kept in item.user_properties if kept[0] != _PROPERTY]
    if ledger.entries:
        checks = [
            {"record": entry.record, "claims": entry.claims, "held": entry.held}
            for entry in ledger.entries
        ]
        item.user_properties.append((_PROPERTY, json.dumps(checks)))


@pytest.hookimpl(tryfirst=True)
def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Explain a bare 'assert context_reliance(...) > 0.8'."""
    if "pytest_ragshortcut.core.reliance" not in sys.modules:
        return None
    from pytest_ragshortcut.core.reliance import Reliance
    from pytest_ragshortcut.reporting.text import explain

    if isinstance(left, Reliance) and isinstance(right, int | float):
        return explain(left, claim=(op, float(right))).splitlines()
    return None


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that started this one, if it is a worker of pytest-xdist, of the model."""
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_NOTES] = sorted(session.config.stash[SESSION].notes)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take a worker's word; one that crashed left none."""
    node.config.stash[SESSION].notes.update(getattr(node, "workeroutput", {}).get(_NOTES, ()))


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Print the table of all checks and its changes, and why a model ran slowly."""
    if checks := _collected(terminalreporter):
        _summarise(terminalreporter, config, checks)
    for note in sorted(config.stash[SESSION].notes):
        terminalreporter.ensure_newline()
        terminalreporter.write_line(f"rag: {note}")


def _summarise(
    terminalreporter: TerminalReporter,
    config: pytest.Config,
    checks: dict[str, list[dict[str, Any]]],
) -> None:
    from pytest_ragshortcut.reporting.table import rows_of, table

    scores = _scores(checks)
    baseline = config.stash[_BASELINE]
    changes = baseline.changes(scores) if baseline else {}
    rows = [row for test, made in checks.items() for row in rows_of(test, made, changes)]
    model = str(rows[0].record["model"])
    terminalreporter.section(f"reliance: {model}")
    for line in table(rows, width=shutil.get_terminal_size().columns):
        terminalreporter.write_line(line)
    if baseline:
        terminalreporter.write_line(_coverage(baseline, scores))
    if save := config.stash[SESSION].settings.save:
        terminalreporter.write_line(_saved(Path(save), model, scores))


def _collected(terminalreporter: TerminalReporter) -> dict[str, list[dict[str, Any]]]:
    """Read the checks off the reports, those of other processes included."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if getattr(report, "when", None) == "call"
    ]
    return {
        report.nodeid: json.loads(value)
        for report in sorted(reports, key=lambda report: str(report.nodeid))
        for name, value in report.user_properties
        if name == _PROPERTY
    }


def _scores(checks: dict[str, list[dict[str, Any]]]) -> dict[str, float | None]:
    from pytest_ragshortcut.reporting.records import key_of

    return {
        key_of(test, check["record"]): check["record"]["score"]
        for test, made in checks.items()
        for check in made
    }


def _load_baseline(settings: Settings) -> Baseline | None:
    if not settings.compare:
        return None
    from pytest_ragshortcut.baselines.store import load

    return load(Path(settings.compare))


def _coverage(baseline: Baseline, scores: dict[str, float | None]) -> str:
    shared = len(baseline.scores.keys() & scores.keys())
    return (
        f"compared with {baseline.model}: {shared} checks in both, "
        f"{len(scores) - shared} only here, {len(baseline.scores) - shared} only there"
    )


def _saved(path: Path, model: str, scores: dict[str, float | None]) -> str:
    from pytest_ragshortcut.baselines.store import Baseline, save

    try:
        save(path, Baseline(model, scores))
    except RagShortcutError as error:
        return str(error)
    return f"saved {len(scores)} scores to {path}"
