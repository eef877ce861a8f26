"""The baseline's side of a run: read at its start, and at its end compared, decided and written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_ragshortcut.config import OPTIONS, Settings
from pytest_ragshortcut.core.ledger import GATE
from pytest_ragshortcut.core.words import counted
from pytest_ragshortcut.errors import OptionError, RagShortcutError, StoredFileError

if TYPE_CHECKING:
    from pytest_ragshortcut.baselines.policy import Policy
    from pytest_ragshortcut.baselines.schema import Baseline
    from pytest_ragshortcut.gating import Compared
    from pytest_ragshortcut.keeping import Seen
    from pytest_ragshortcut.reporting.schema import Report

_WRITES = ("save", "update", "update_new_only")
# What nobody foresaw must not lose the reports of a run.
_UNFORESEEN = (RagShortcutError, RuntimeError, MemoryError)


@dataclass(frozen=True)
class Concluded:
    """What became of a run beside its baseline."""

    changes: Mapping[str, float]
    """Check -> change of its score; see reporting.records.key_of."""
    said: tuple[str, ...] = ()
    """What there is to say of it, below the table."""
    problem: str = ""
    """Why nothing could be decided or written; empty where all was."""
    status: int = 0
    """The exit status that it asks for: 1 where the gate does not pass, 4 where it cannot say."""


class Release:
    """A run's baseline and what is tolerated.

    Args:
        config: pytest's.
        settings: the run's.
        environment: the environment variables.

    Raises:
        StoredFileError: if the baseline that is asked for cannot be read.
        OptionError: if options do not go together, or the policy means nothing.
    """

    def __init__(
        self, config: pytest.Config, settings: Settings, environment: Mapping[str, str]
    ) -> None:
        self._config, self._root = config, Path(config.rootpath)
        self._settings, self._notes = _allowed(config, settings, environment)
        self._policy = _policy_of(config, self._settings)
        _require_together(config, self._settings)
        self._path: Path | None = None
        self._baseline: Baseline | None = None
        self._tests: set[str] = set()
        if self._settings.compare and not _only_looks(config):
            self._read()

    @property
    def decides(self) -> bool:
        """Whether this run is a gate: it compares, tolerates so much, and accepts nothing new."""
        return bool(self._policy and self._baseline and not self._updates)

    @property
    def tests(self) -> frozenset[str]:
        """The ids of all tests that were collected."""
        return frozenset(self._tests)

    def collected(self, tests: Iterable[str]) -> None:
        """Take the ids of tests that were collected, here or by a worker, to know what is gone."""
        if self._settings.compare:
            self._tests.update(tests)

    def conclude(self, report: Report, *, today: date | None = None) -> Concluded:
        """Compare a run with its baseline, decide, and write what is to be kept.

        Args:
            report: the run; its gate is filled in, or a note says why there is none.
            today: the day, for waivers; in UTC where none is given.
        """
        changes: Mapping[str, float] = {}
        problems: list[str] = []
        said, status = list(self._notes), 0
        try:
            compared = self._compared(report)
            changes = _changes(compared)
            said += self._coverage(report, compared)
            if self.decides:
                status = self._decided(report, compared, today or datetime.now(UTC).date())
        except _UNFORESEEN as error:
            problems.append(_told(error, report, said))
        try:
            said += self._written(report)
        except _UNFORESEEN as error:
            problems.append(_told(error, report, said))
        if problems:
            status = int(pytest.ExitCode.USAGE_ERROR)
        return Concluded(changes, tuple(said), "\n".join(problems), status)

    def _read(self) -> None:
        from pytest_ragshortcut.baselines.store import baseline_file, load

        path = baseline_file(self._settings.compare, self._root)
        if self._saves_into(path) and not path.exists():
            self._notes.append(f"nothing to compare with yet: {_shown(path)} is saved by this run")
            return
        self._path, self._baseline = path, load(path)
        if not self._settings.save:
            _require_same_settings(self._baseline, self._settings, path)

    def _saves_into(self, path: Path) -> bool:
        from pytest_ragshortcut.baselines.store import baseline_file

        name = self._settings.save
        return bool(name) and baseline_file(name, self._root).resolve() == path.resolve()

    @property
    def _updates(self) -> bool:
        return "yes" in (self._settings.update, self._settings.update_new_only)

    def _decided(self, report: Report, compared: Sequence[Compared], today: date) -> int:
        from pytest_ragshortcut.gating import gate_of

        assert self._baseline is not None
        assert self._path is not None
        assert self._policy is not None
        report["gate"] = gate = gate_of(
            report,
            compared,
            self._baseline,
            _shown(self._path),
            policy=self._policy,
            today=today,
        )
        if gate["passes"]:
            return 0
        if not any(each["decides"] for each in gate["properties"]):
            return int(pytest.ExitCode.USAGE_ERROR)
        return int(pytest.ExitCode.TESTS_FAILED)

    def _compared(self, report: Report) -> list[Compared]:
        if self._baseline is None or self._path is None:
            return []
        from pytest_ragshortcut.gating import compare

        return list(compare(report, self._baseline, self._path, self._settings))

    def _coverage(self, report: Report, compared: Sequence[Compared]) -> list[str]:
        if self._baseline is None:
            return _waiting(report)
        if self._updates:
            return ["no gate: an update takes the run as it is"] if self._policy else []
        if self.decides:
            return []
        from pytest_ragshortcut.gating import coverage

        return coverage(compared, self._seen())

    def _written(self, report: Report) -> list[str]:
        from pytest_ragshortcut.keeping import write_baselines

        settings, gate = self._settings, report["gate"]
        if not settings.save and not (self._path and self._updates):
            return []
        said = []
        is_compared = self._path is not None and self._saves_into(self._path)
        if is_compared and self.decides and not (gate and gate["passes"]):
            said.append(f"not saved: {settings.save} is what the gate compares with")
            settings = replace(settings, save="")
        seen = self._seen()
        return said + write_baselines(report, settings, self._path, root=self._root, seen=seen)

    def _seen(self) -> Seen:
        from pytest_ragshortcut.keeping import Seen

        named = any("::" in argument for argument in self._config.args)
        return Seen(self._root, self.tests, named)


def _changes(compared: Sequence[Compared]) -> Mapping[str, float]:
    if not compared:
        return {}
    from pytest_ragshortcut.gating import changes_of

    return changes_of(compared)


def _told(error: Exception, report: Report, said: list[str]) -> str:
    """Say why nothing could be decided or written, here and in every report."""
    text = str(error) or type(error).__name__
    said += text.splitlines()
    report["notes"] = sorted([*report["notes"], " ".join(text.split())])
    return text


def _allowed(
    config: pytest.Config, settings: Settings, environment: Mapping[str, str]
) -> tuple[Settings, list[str]]:
    """Leave writing out in continuous integration, where the command line does not ask for it."""
    if environment.get("CI", "").lower() in ("", "0", "false"):
        return settings, []
    notes = []
    for option in OPTIONS:
        value = getattr(settings, option.name)
        if option.name in _WRITES and value != option.default and not config.getoption(option.ini):
            settings = replace(settings, **{option.name: option.default})
            notes.append(
                f"no baseline is written in CI unless the command line says so: {option.flag}"
            )
    return settings, notes


def _only_looks(config: pytest.Config) -> bool:
    """Say whether no baseline is needed: nothing is run here, or by a process that asks others."""
    plans = ("help", "collectonly", "setupplan", "showfixtures", "markers")
    is_worker = hasattr(config, "workerinput")
    return is_worker or any(getattr(config.option, plan, False) for plan in plans)


def _policy_of(config: pytest.Config, settings: Settings) -> Policy | None:
    if not settings.compare_fail:
        return None
    from pytest_ragshortcut.baselines.policy import parse_policy

    on_line = config.getoption("rag_compare_fail")
    option = "--rag-compare-fail" if on_line else "rag_compare_fail of the ini or the environment"
    return parse_policy(settings.compare_fail, option=option)


def _require_together(config: pytest.Config, settings: Settings) -> None:
    """Refuse options that say nothing without a baseline to compare with, or without a gate."""
    updates = [name for name in ("update", "update_new_only") if getattr(settings, name) == "yes"]
    is_gate = bool(config.getoption("rag_compare_fail"))
    needed = "a baseline to compare with, which --rag-compare NAME names"
    wrong = [*updates, *(["compare_fail"] if is_gate else [])] if not settings.compare else []
    if updates and is_gate:
        wrong, needed = updates[:1], "a run without --rag-compare-fail: an update decides nothing"
    for option in OPTIONS:
        if option.name in wrong:
            value = str(getattr(settings, option.name))
            raise OptionError(option=option.flag, value=value, expected=needed)


def _require_same_settings(baseline: Baseline, settings: Settings, path: Path) -> None:
    """Refuse other probe settings before anything runs, where they are those of no model.

    Raises:
        StoredFileError: naming the first that differs.
    """
    from pytest_ragshortcut.baselines.pairing import require_same_settings
    from pytest_ragshortcut.keeping import asked

    wrong = []
    for model in baseline["models"].values():
        try:
            require_same_settings(model["settings"], asked(settings), path)
        except StoredFileError as error:
            wrong.append(error)
    if wrong and len(wrong) == len(baseline["models"]):
        raise wrong[0]


def _waiting(report: Report) -> list[str]:
    """Say how many checks only a gate would compare, in a run that is none."""
    checks = (check for test in report["tests"] for check in test["checks"])
    n = sum(check["claims"] == [GATE] for check in checks)
    waits = "waits" if n == 1 else "wait"
    return [f"{counted(n, 'check')} {waits} for the gate: --rag-compare NAME"] if n else []


def _shown(path: Path) -> Path:
    """Name a file from where pytest was started, if it is below."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path
