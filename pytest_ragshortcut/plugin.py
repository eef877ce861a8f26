"""The pytest plugin: its hooks, and nothing else. Loaded by every run of every project.

Nothing here imports numpy, torch, transformers or hypothesis; what needs them is imported when a
test asks for a model.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_ragshortcut import collection
from pytest_ragshortcut.config import OPTIONS, Settings
from pytest_ragshortcut.core.ledger import recording
from pytest_ragshortcut.errors import RagShortcutError
from pytest_ragshortcut.fixtures import rag_model, rag_models, rag_probe
from pytest_ragshortcut.gathering import ledger_of, model_record, record_of_test
from pytest_ragshortcut.hunting import prepared
from pytest_ragshortcut.outputs import wants_explanations
from pytest_ragshortcut.session import SESSION, RagSession, load_model
from pytest_ragshortcut.terminal import RUN, Run, is_worker

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from pytest_ragshortcut.core.ports import ProbeModel
    from pytest_ragshortcut.reporting.schema import TestRecord

__all__ = ["rag_model", "rag_models", "rag_probe"]

_NOTES, _MODELS, _TESTS = "rag_notes", "rag_models", "rag_tests"
_BROKEN_OFF = (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
_TEST: pytest.StashKey[TestRecord] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add every option of the table."""
    group = parser.getgroup("ragshortcut", "RAG faithfulness probes")
    for option in OPTIONS:
        text = option.help + (f" (default: {option.default})" if option.default else "")
        takes: dict[str, Any] = {"metavar": option.metavar}
        if option.is_switch:
            takes = {"action": "store_const", "const": "yes"}
        group.addoption(option.flag, dest=option.ini, default=None, help=text, **takes)
        parser.addini(option.ini, text, default="")


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks that users may implement."""
    from pytest_ragshortcut import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Settle the options; wrong values and missing baselines are usage errors."""
    for marker in collection.MARKERS:
        config.addinivalue_line("markers", marker)
    try:
        session = config.stash[SESSION] = RagSession(config)
        config.stash[RUN] = Run(config, session)
    except RagShortcutError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each model and each case of a file."""
    collection.parametrize(metafunc, metafunc.config.stash[SESSION])


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests that ask a model."""
    collection.mark(item)
    # Before any plugin deselects it: it is not gone.
    item.config.stash[RUN].collected([item.nodeid])


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Say which models will be asked, by content."""
    return config.stash[RUN].header(items)


@pytest.hookimpl(trylast=True)
def pytest_ragshortcut_load_model(settings: Settings) -> ProbeModel:
    """Load what the options name, where no conftest.py loads a model its own way."""
    return load_model(settings)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Keep the test's checks, and fail it if one of them was never compared."""
    __tracebackhide__ = True
    session, run = item.config.stash[SESSION], item.config.stash[RUN]
    ledger = ledger_of(item, session, run.on_check)
    with recording(ledger):
        try:
            yield
            ledger.settle()
        finally:
            if ledger.entries:
                explain_all = wants_explanations(session.settings)
                item.stash[_TEST] = record_of_test(item, ledger, explain_all=explain_all)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """Let a property-based test draw its examples ahead."""
    __tracebackhide__ = True
    with prepared(pyfuncitem):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Leave the checks on the report, as builtins that travel between processes."""
    report = yield
    test = item.stash.get(_TEST, None)
    if report.when == "call":
        # A test that is run again replaces what it said before.
        item.user_properties[:] = [p for p in item.user_properties if not p[0].startswith("rag_")]
        if test is not None:
            item.config.stash[RUN].attach(test, item, report)
            del item.stash[_TEST]
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Explain a bare 'assert context_reliance(...) > 0.8'."""
    if "pytest_ragshortcut.core.reliance" not in sys.modules:
        return None
    from pytest_ragshortcut.core.reliance import Reliance
    from pytest_ragshortcut.reporting.records import record_of
    from pytest_ragshortcut.reporting.text import explain

    if isinstance(left, Reliance) and isinstance(right, int | float):
        record = record_of(left, check=f"{left.kind}_reliance")
        return explain(record, claim=(op, float(right))).splitlines()
    return None


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was asked for; a worker of pytest-xdist tells the process that started it."""
    known = session.config.stash[SESSION]
    if is_worker(session.config):
        output: dict[str, object] = session.config.workeroutput  # type: ignore[attr-defined]
        output[_NOTES] = sorted(known.notes)
        output[_TESTS] = sorted(session.config.stash[RUN].known_tests)
        output[_MODELS] = [dict(model_record(identity)) for identity in known.identities]
        return
    # A pipeline that goes on to upload a report must not take a run without one for a success.
    is_whole = session.exitstatus not in _BROKEN_OFF
    status = session.config.stash[RUN].finish(os.environ, is_whole=is_whole)
    if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        session.exitstatus = max(status, session.exitstatus)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker what the terminal can show, which only this process sees."""
    node.workerinput["rag_look"] = node.config.stash[RUN].looks()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take a worker's word; one that crashed left none."""
    said = getattr(node, "workeroutput", {})
    node.config.stash[SESSION].notes.update(said.get(_NOTES, ()))
    node.config.stash[RUN].models += said.get(_MODELS, ())
    node.config.stash[RUN].collected(said.get(_TESTS, ()))


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Print the table of all checks, what they cost, and where the reports are."""
    config.stash[RUN].summarise(terminalreporter)
