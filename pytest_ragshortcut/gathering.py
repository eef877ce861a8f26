"""From the checks that a test made to its record, and from the tests' records to a run's report."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_ragshortcut.config import OPTIONS
from pytest_ragshortcut.core.ledger import Entry, Ledger
from pytest_ragshortcut.errors import RagShortcutError
from pytest_ragshortcut.hunting import hunt_of, hunt_record
from pytest_ragshortcut.reporting.worst import rank_of
from pytest_ragshortcut.session import N_SPREADS, SESSION, RagSession

if TYPE_CHECKING:
    from pytest_ragshortcut.core.work import Identity
    from pytest_ragshortcut.reporting.schema import CheckRecord, ModelRecord, Report, TestRecord

N_EXPLAINED = 3
"""Of how many of a test's checks a report says where the answer came from: the worst."""
N_KEPT = 1000
"""How many of a test's checks a report holds: the worst."""
_PRUNE_EVERY = 64
_FELT = ("memory", "seed")
"""Options of a run that a test may not have its own of, and that what it finds depends on."""


def ledger_of(
    item: pytest.Item, session: RagSession, on_check: Callable[[Mapping[str, Any]], None]
) -> Ledger:
    """Open the book of a test's checks; what is called at each of them gets its record."""
    settings = session.settings_of(item)
    hunt = hunt_of(item, settings.budget)

    def checked(ledger: Ledger) -> None:
        _prune(ledger)
        on_check(ledger.entries[-1].record)

    return Ledger(
        typed(item),
        lambda: command_of(item),
        limits=settings.limits,
        options={"probes": settings.probe_names},
        # What strategies draw is in no baseline, so that no gate compares it.
        awaits_gate=bool(settings.compare_fail) and hunt is None,
        hunt=hunt,
        on_check=checked,
    )


def typed(item: pytest.Item) -> str:
    """Name a test as it can be typed where pytest was started, which need not be its root."""
    return "::".join([_file(item), *item.nodeid.split("::")[1:]])


def command_of(item: pytest.Item) -> str:
    """Return what runs a test alone, and as it was run: with the options given for this run."""
    felt = (option for option in OPTIONS if option.in_marker or option.name in _FELT)
    given = ((option.flag, item.config.getoption(option.ini)) for option in felt)
    flags = [f"{flag}={shlex.quote(value)}" for flag, value in given if value]
    return " ".join([f'pytest "{typed(item)}"', *flags])


def _file(item: pytest.Item) -> str:
    path = os.path.relpath(item.path, item.config.invocation_params.dir)
    return Path(path).as_posix()


def _prune(ledger: Ledger) -> None:
    """Let go of what could explain checks that nobody will ask about: it holds whole results."""
    if len(ledger.entries) % _PRUNE_EVERY == 0:
        kept = {id(entry) for entry in _worth_explaining(ledger.entries, all_of_them=True)}
        # The newest has not been compared yet.
        for entry in ledger.entries[:-1]:
            if id(entry) not in kept:
                entry.explain = None


def _worth_explaining(entries: Sequence[Entry], *, all_of_them: bool) -> list[Entry]:
    """Choose the last check that failed, which Hypothesis has shrunk; and the worst few."""
    failed = [entry for entry in entries if not entry.record["held"]][-1:]
    if not all_of_them:
        return failed
    others = [entry for entry in entries if entry is not failed[-1]] if failed else [*entries]
    others.sort(key=lambda entry: rank_of(cast("CheckRecord", entry.record)))
    return [*failed, *others[: N_EXPLAINED - len(failed)]]


def record_of_test(item: pytest.Item, ledger: Ledger, *, explain_all: bool) -> TestRecord:
    """Write down what a test checked, asking the model where the answers came from.

    Args:
        item: the test.
        ledger: its checks.
        explain_all: whether to explain checks that hold too.
    """
    for entry in _worth_explaining(ledger.entries, all_of_them=explain_all):
        _explain(entry)
    if ledger.hunt is None:
        _measure_spreads(ledger.entries, item.config.stash[SESSION])
    for entry in ledger.entries:
        item.config.hook.pytest_ragshortcut_update_record(
            config=item.config, item=item, record=entry.record
        )
    _, line, _ = item.reportinfo()
    return {
        "id": item.nodeid,
        "command": ledger.command(),
        "file": _file(item),
        "line": (line or 0) + 1,
        "outcome": "passed",
        "seconds": 0.0,
        "n_checks": len(ledger.entries),
        "checks": _kept([cast("CheckRecord", entry.record) for entry in ledger.entries]),
        "hunt": hunt_record(ledger.hunt) if ledger.hunt else None,
    }


def _explain(entry: Entry) -> None:
    if entry.explain is None or entry.record["explanation"] is not None:
        return
    try:
        entry.record["explanation"] = entry.explain()
    except RagShortcutError as error:
        entry.record["unexplained"] = str(error)
    except (RuntimeError, MemoryError) as error:
        # Out of memory, mostly: the claim's own message must not be lost for want of a drawing.
        entry.record["unexplained"] = f"{type(error).__name__}: {error}".splitlines()[0]


def _measure_spreads(entries: Sequence[Entry], session: RagSession) -> None:
    """Measure again, of a model's first few checks, how much of a score is rounding."""
    if not session.settings.keeps_values:
        return
    for entry in entries:
        score, model = entry.record["score"], entry.record["model"]
        if score is None or session.n_spreads[model] >= N_SPREADS:
            continue
        session.n_spreads[model] += 1
        if scores := entry.again():
            entry.record["spread"] = max(score, *scores) - min(score, *scores)


def _kept(checks: list[CheckRecord]) -> list[CheckRecord]:
    if len(checks) <= N_KEPT:
        return checks
    worst = {id(check) for check in sorted(checks, key=rank_of)[:N_KEPT]}
    return [check for check in checks if id(check) in worst]


def report_of(
    tests: Iterable[TestRecord], models: Sequence[ModelRecord], notes: Iterable[str], *, seed: int
) -> Report:
    """Put a run's report together."""
    from pytest_ragshortcut import __version__
    from pytest_ragshortcut.reporting.schema import SCHEMA

    return {
        "schema": SCHEMA,
        "plugin": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "models": list(models),
        "tests": sorted(tests, key=lambda test: test["id"]),
        "notes": sorted(notes),
        "gate": None,
    }


def model_record(identity: Identity) -> ModelRecord:
    """Write down one copy of a model."""
    return cast("ModelRecord", {**vars(identity), "n_copies": 1})


def merged(models: Iterable[Mapping[str, Any]]) -> list[ModelRecord]:
    """Count the copies of each model that all processes together held.

    Example:
        >>> [(m["name"], m["n_copies"]) for m in merged([{"name": "a", "n_copies": 1}] * 3)]
        [('a', 3)]
    """
    found: dict[str, dict[str, Any]] = {}
    for model in models:
        key = json.dumps({**model, "n_copies": 0}, sort_keys=True)
        if key in found:
            found[key]["n_copies"] += model["n_copies"]
        else:
            found[key] = dict(model)
    return cast("list[ModelRecord]", list(found.values()))
