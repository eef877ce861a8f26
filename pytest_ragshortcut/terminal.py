"""One run as a person sees it: lines while it goes on, drawings of failures, a table at the end."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import pytest

from pytest_ragshortcut.collection import models_of
from pytest_ragshortcut.gathering import merged, model_record, report_of
from pytest_ragshortcut.outputs import annotations_of, wants_files, write_all
from pytest_ragshortcut.release import Concluded, Release
from pytest_ragshortcut.reporting.progress import Progress
from pytest_ragshortcut.session import RagSession

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from pytest_ragshortcut.core.work import Identity
    from pytest_ragshortcut.reporting.look import Look
    from pytest_ragshortcut.reporting.schema import GateRecord, ModelRecord, Report, TestRecord

_ANNOTATOR = "pytest_github_actions_annotate_failures"
_SECTION = "where the answer came from"


def is_worker(config: pytest.Config) -> bool:
    """Say whether this process is a worker of pytest-xdist."""
    return hasattr(config, "workerinput")


class Run:
    """Collects the tests' records, and shows them.

    Args:
        config: pytest's.
        session: the run's models and settings.

    Raises:
        StoredFileError: if a baseline was asked for and cannot be read.
        OptionError: if what the release gate is to do means nothing.
    """

    def __init__(self, config: pytest.Config, session: RagSession) -> None:
        self._config, self._session = config, session
        self._progress = Progress(self._write_line)
        self._tests: dict[str, TestRecord] = {}
        self._report: Report | None = None
        self._said: list[str] = []
        self._header: list[str] | None = None
        self._release = Release(config, session.settings, os.environ)
        self._concluded = Concluded({})
        self.models: list[ModelRecord] = []
        """What workers said of the models that they held."""
        session.on_load = self._introduce
        config.pluginmanager.register(self, "ragshortcut-run")

    def header(self, items: Sequence[pytest.Item]) -> list[str]:
        """Load the models that the tests ask, as they would soon enough, and say which they are."""
        option = self._config.option
        plans = ("collectonly", "setuponly", "setupplan")
        if self._config.get_verbosity() < 0 or any(getattr(option, p, False) for p in plans):
            return []
        lines: list[str] = []
        self._header = lines
        for settings in dict.fromkeys(s for item in items for s in models_of(item, self._session)):
            # A model that cannot be loaded is told of by the tests that ask for it.
            with suppress(Exception):
                self._session.model(settings)
        self._header = None
        return lines

    def on_check(self, check: Mapping[str, Any]) -> None:
        """Count a check that was made in this process."""
        self._progress.count(check)

    def attach(self, test: TestRecord, item: pytest.Item, report: pytest.TestReport) -> None:
        """Leave a test's record, its properties and its drawing on its report."""
        from pytest_ragshortcut.reporting.properties import properties_of

        test["outcome"] = report.outcome
        if report.passed and test["hunt"] and test["hunt"]["share"]:
            _allow_misses(test)
        test["seconds"] = round(report.duration, 6)
        item.user_properties += properties_of(test)
        report.user_properties[:] = item.user_properties
        report.rag_test = test  # type: ignore[attr-defined]
        if report.failed and (drawing := self._drawing(test)):
            report.sections.append((_SECTION, drawing))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what a test says of itself, wherever it ran."""
        test: TestRecord | None = getattr(report, "rag_test", None)
        if test is None:
            return
        if test["id"] not in self._tests and self._has_workers:
            for check in test["checks"]:
                self._progress.count(check)
        self._tests[test["id"]] = test

    def finish(self, environment: Mapping[str, str], *, is_whole: bool) -> int:
        """Put the report together, compare it with a baseline, and write what was asked for.

        Args:
            environment: the environment variables.
            is_whole: whether the run came to its end; one that did not decides nothing.

        Returns:
            The exit status that this asks for: 0 if nothing went wrong.
        """
        settings = self._session.settings
        asked = self._tests or self._release.decides or wants_files(settings)
        if not asked or self._config.option.collectonly:
            return 0
        own = [model_record(identity) for identity in self._session.identities]
        self._report = report_of(
            self._tests.values(),
            merged([*own, *self.models]),
            self._session.notes,
            seed=int(settings.seed),
        )
        if is_whole:
            self._concluded = self._release.conclude(self._report)
        status = self._concluded.status
        self._said, is_complete = write_all(self._report, settings, environment)
        annotated = self._config.pluginmanager.hasplugin(_ANNOTATOR)
        self._said += annotations_of(
            self._report, environment, problem=self._concluded.problem, annotated=annotated
        )
        return status or int(not is_complete)

    def summarise(self, reporter: TerminalReporter) -> None:
        """Print the table, what it cost, and where the files are."""
        if self._report is not None and self._tests:
            self._print_table(reporter, self._report)
        if self._report is not None and self._report["gate"] is not None:
            self._print_gate(reporter, self._report["gate"])
        for line in (*self._concluded.said, *self._said):
            reporter.write_line(line)
        for note in sorted(self._session.notes):
            reporter.ensure_newline()
            reporter.write_line(f"rag: {note}")

    def _print_table(self, reporter: TerminalReporter, report: Report) -> None:
        from pytest_ragshortcut.reporting.table import rows_of, summary_lines, table, worth_showing

        width = shutil.get_terminal_size().columns
        changes = self._concluded.changes
        rows = [row for test in report["tests"] for row in rows_of(test, changes)]
        names = sorted({row.check["model"] for row in rows})
        reporter.write_sep("=", f"reliance: {', '.join(names)}")
        shown = rows if self._config.get_verbosity() > 0 else worth_showing(rows)
        lines = table(shown, width=width)
        if len(shown) < len(rows):
            lines.append(f"... and {len(rows) - len(shown)} more, none of them worse: -v shows all")
        lines += ["", *summary_lines(report, width=width)]
        if self._has_workers:
            lines += [copies(model) for model in report["models"]]
        for line in lines:
            reporter.write_line(line)

    def _print_gate(self, reporter: TerminalReporter, gate: GateRecord) -> None:
        from pytest_ragshortcut.reporting.gate_text import gate_lines, gate_title

        reporter.write_sep("=", gate_title(gate))
        for line in gate_lines(gate, width=shutil.get_terminal_size().columns):
            reporter.write_line(line)

    def collected(self, tests: Iterable[str]) -> None:
        """Take the ids of tests that were collected, here or by a worker."""
        self._release.collected(tests)

    @property
    def known_tests(self) -> frozenset[str]:
        """The ids of all tests that were collected."""
        return self._release.tests

    def looks(self) -> dict[str, Any]:
        """Return what the terminal can show, as builtins."""
        reporter = self._reporter
        return {
            "stream_encoding": getattr(sys.__stdout__, "encoding", None),
            "width": shutil.get_terminal_size().columns,
            "colour": bool(reporter and reporter.hasmarkup),
            "verbosity": self._config.get_verbosity(),
        }

    def _drawing(self, test: TestRecord) -> str:
        from pytest_ragshortcut.reporting.drawing import draw
        from pytest_ragshortcut.reporting.worst import failed

        explained = [
            c for c in test["checks"] if failed(c) and (c["explanation"] or c["unexplained"])
        ]
        return draw(explained[-1], self._look(), hints=self._hints()) if explained else ""

    def _look(self) -> Look:
        from pytest_ragshortcut.reporting.look import look_of

        given: dict[str, Any] = getattr(self._config, "workerinput", {}).get("rag_look", {})
        return look_of(**(given or self.looks()))

    def _hints(self) -> list[str]:
        if self._session.settings.report:
            return [f"the same as a page, with every value:  {self._session.settings.report}"]
        return ["as a page, with every value:  pytest --rag-report report.html"]

    def _introduce(self, identity: Identity) -> None:
        line = f"rag: {identity.line} · seed {self._session.settings.seed}"
        if self._header is not None:
            self._header.append(line)
        elif self._config.get_verbosity() >= 0:
            self._write_line(line)

    def _write_line(self, line: str) -> None:
        if (reporter := self._reporter) is None:
            return
        capture = self._config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            reporter.ensure_newline()
            reporter.write_line(line)

    @property
    def _reporter(self) -> TerminalReporter | None:
        found: TerminalReporter | None = self._config.pluginmanager.getplugin("terminalreporter")
        return found

    @property
    def _has_workers(self) -> bool:
        return self._config.pluginmanager.hasplugin("dsession")


RUN = pytest.StashKey[Run]()


def _allow_misses(test: TestRecord) -> None:
    """Take the misses of a share that holds for what they are: no failures."""
    for check in test["checks"]:
        if not check["held"]:
            check["held"] = True
            check["notes"] = {**check["notes"], "share": "a miss, which the share allows"}


def copies(model: ModelRecord) -> str:
    """Say which model several processes ran, and what their copies took.

    Example:
        >>> run = {"device": "cpu", "dtype": "float32", "attention": "sdpa"} | {
        ...     "executor": "reference"}
        >>> copies({"name": "m", "fingerprint": "0a", **run, "n_bytes": 2**30, "n_copies": 2})
        'rag: m · 0a · cpu · float32 · sdpa · reference executor; 2 copies of 1.00 GiB'
    """
    parts = (model[part] for part in ("name", "fingerprint", "device", "dtype", "attention"))
    n_copies = f"{model['n_copies']} copies" if model["n_copies"] > 1 else "1 copy"
    size = f"{model['n_bytes'] / 2**30:.2f} GiB"
    if model["n_bytes"] < 2**28:
        size = f"{model['n_bytes'] / 2**20:.1f} MiB"
    return f"rag: {' · '.join(parts)} · {model['executor']} executor; {n_copies} of {size}"
