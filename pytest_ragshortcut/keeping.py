"""A run as a baseline keeps it, and the files that it is written to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pytest_ragshortcut.errors import StoredFileError
from pytest_ragshortcut.reporting.worst import limits_of

if TYPE_CHECKING:
    from pytest_ragshortcut.baselines.schema import (
        Baseline,
        BaselineModel,
        EntryRecord,
        IdentityRecord,
        SettingsRecord,
    )
    from pytest_ragshortcut.config import Settings
    from pytest_ragshortcut.reporting.schema import CheckRecord, Report, TestRecord
    from pytest_ragshortcut.stored.readings import ReadingRecord

N_DECIMALS = 4
"""What is kept of a number: with more, another machine's last digits would fill every change."""
_NUMERIC_SPREAD = "numeric spread"


@dataclass(frozen=True)
class Seen:
    """Which tests a run knows of, so that others can be told from those that are gone."""

    root: Path
    tests: frozenset[str]
    """Every test that was collected, those that were then deselected among them."""
    is_partial: bool
    """Whether some tests of a file were not even collected, as others were named."""

    def is_stale(self, test: str) -> bool:
        """Say whether a test that made no check is gone, rather than left out, or failed."""
        file = test.partition("::")[0]
        if test in self.tests:
            return False
        if not (self.root / file).exists():
            return True
        return not self.is_partial and file in self._files

    @cached_property
    def _files(self) -> frozenset[str]:
        return frozenset(test.partition("::")[0] for test in self.tests)


def models_of(report: Report, settings: Settings) -> dict[str, BaselineModel]:
    """Write a run down as a baseline does: model -> its checks; what strategies draw is left out.

    A property-based test has no fixed cases, so that nothing could be compared with them.
    """
    found: dict[str, dict[str, list[EntryRecord]]] = {}
    for test, check in checks_of(report):
        tests = found.setdefault(check["model"], {})
        entry: EntryRecord = {
            "case": check["case"],
            "kind": check["kind"],
            "better": better_of(check),
            "asking": check["asking"],
            "reading": reading_of(check),
        }
        tests.setdefault(test["id"], []).append(entry)
    return {
        name: {
            "identity": _identity(report, name),
            "settings": asked(settings),
            "spread": _spread(report, name),
            "tests": tests,
        }
        for name, tests in found.items()
    }


def checks_of(report: Report) -> Iterator[tuple[TestRecord, CheckRecord]]:
    """Yield every check that a baseline keeps, with its test.

    Raises:
        StoredFileError: if a test made so many that the report does not hold them all.
    """
    for test in report["tests"]:
        if test["hunt"] is None:
            if len(test["checks"]) < test["n_checks"]:
                raise StoredFileError(
                    f"of {test['n_checks']:,} checks of {test['id']!r} the report holds the worst "
                    f"{len(test['checks']):,}",
                    where="a baseline's cases",
                    expected="Every check of a test",
                    action="Make several tests of it: @pytest.mark.parametrize, or rag_cases",
                )
            for check in test["checks"]:
                yield test, check


def better_of(check: CheckRecord) -> Literal["more", "less"]:
    """Say which way a check's claims go; without any, or with both, as its kind has it.

    Example:
        >>> better_of({"kind": "context", "claims": ["< 0.2"]})
        'less'
        >>> better_of({"kind": "parametric", "claims": []})
        'less'
    """
    signs = {sign for sign, _ in limits_of(check)}
    if len(signs) == 1:
        return "more" if signs == {">"} else "less"
    return "more" if check["kind"] == "context" else "less"


def reading_of(check: CheckRecord) -> ReadingRecord:
    """Write down a check's reading in short, rounded to what a baseline keeps."""
    return {
        "score": rounded(check["score"]),
        "interval": [rounded(end) for end in check["interval"]],
        "verdict": check["verdict"],
        "answer": check["answer"],
        "context_answer": check["context_answer"],
        "memory_answer": check["memory_answer"],
        "readings": {
            item["probe"]: rounded(item["value"])
            for item in check["evidence"]
            if item["probe"] != _NUMERIC_SPREAD
        },
    }


def rounded(value: float | None) -> float | None:
    """Round to what a baseline keeps.

    Example:
        >>> rounded(0.123456), rounded(-0.00001), rounded(None)
        (0.1235, 0.0, None)
    """
    # Adding zero makes a negative zero a zero.
    return None if value is None else round(value, N_DECIMALS) + 0.0


def asked(settings: Settings) -> SettingsRecord:
    """Write down how a run asked."""
    return {
        "template": settings.template,
        "probes": settings.probes,
        "seed": int(settings.seed),
    }


def write_baselines(
    report: Report, settings: Settings, compared: Path | None, *, root: Path, seen: Seen
) -> list[str]:
    """Write what --rag-save, --rag-update and --rag-update-new-only ask for, and say so.

    Args:
        report: the run.
        settings: the options.
        compared: the baseline that the run was compared with.
        root: where baselines have their folder.
        seen: the tests that the run knows of.

    Raises:
        StoredFileError: if a file cannot be written, or must not be.
    """
    from pytest_ragshortcut.baselines import updating
    from pytest_ragshortcut.baselines.store import baseline_file

    passed = [test for test in report["tests"] if test["outcome"] == "passed"]
    n_others = len(report["tests"]) - len(passed)
    models = models_of({**report, "tests": passed}, settings)
    said = [f"not in a baseline: {n_others} tests that did not pass"] if n_others else []
    if settings.save:
        path = baseline_file(settings.save, root)
        said.append(_amended(path, lambda old: updating.saved(old, models), "saved"))
    if compared is not None and settings.update == "yes":
        said.append(
            _amended(
                compared,
                lambda old: updating.updated(old, models, compared, is_stale=seen.is_stale),
                "updated",
            )
        )
    elif compared is not None and settings.update_new_only == "yes":
        said.append(
            _amended(compared, lambda old: updating.extended(old, models, compared), "extended")
        )
    return said


def _amended(path: Path, change: Callable[[Baseline], Baseline], done: str) -> str:
    from pytest_ragshortcut.baselines.store import amend

    counts: list[int] = []

    def counting(old: Baseline) -> Baseline:
        new = change(old)
        counts[:] = _counts(old["models"], new["models"])
        return new

    amend(path, counting)
    added, changed, gone = counts
    return f"baseline {done}: {path}: {added} new, {changed} changed, {gone} dropped"


def _counts(old: Mapping[str, BaselineModel], new: Mapping[str, BaselineModel]) -> list[int]:
    """Count the checks that are new, changed and gone; a model that took another's place is it."""
    before, after = _flat(old), _flat(new)
    changed = [key for key in after if key in before and after[key] != before[key]]
    return [len(after.keys() - before.keys()), len(changed), len(before.keys() - after.keys())]


def _flat(models: Mapping[str, BaselineModel]) -> dict[tuple[Any, ...], EntryRecord]:
    from pytest_ragshortcut.baselines.pairing import keyed

    named = len(models) > 1
    return {
        (name if named else "", *key): entry
        for name, model in models.items()
        for key, entry in keyed(model["tests"]).items()
    }


def _identity(report: Report, name: str) -> IdentityRecord | None:
    from pytest_ragshortcut.baselines.schema import IdentityRecord

    models = [model for model in report["models"] if model["name"] == name]
    if not models:
        return None
    given = cast("dict[str, Any]", models[0])
    return cast("IdentityRecord", {key: given[key] for key in IdentityRecord.__annotations__})


def _spread(report: Report, name: str) -> float | None:
    spreads = (check["spread"] for _, check in checks_of(report) if check["model"] == name)
    known = [spread for spread in spreads if spread is not None]
    return float(f"{max(known):.1e}") if known else None
