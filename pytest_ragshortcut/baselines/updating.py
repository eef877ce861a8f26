"""What a baseline becomes once a run's values are kept: pure functions of values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pytest_ragshortcut.baselines.pairing import counterpart, keyed, unusable
from pytest_ragshortcut.baselines.schema import (
    Baseline,
    BaselineModel,
    EntryRecord,
    IdentityRecord,
    SettingsRecord,
)

_WITHOUT_CONTENT = "changing"
"""The fingerprint of a model that has no content to compare."""

Tests = dict[str, list[EntryRecord]]


def saved(baseline: Baseline, models: Mapping[str, BaselineModel]) -> Baseline:
    """Keep a run's values beside those of other tests and models.

    What the same model said before of other tests stays, unless it was other weights that said
    so, or it was run in another way.

    Example:
        >>> model = {"identity": None, "settings": None, "spread": None}
        >>> old = {"schema": 2, "plugin": "", "waivers": [],
        ...        "models": {"m": {**model, "tests": {"test_a": []}}}}
        >>> sorted(saved(old, {"m": {**model, "tests": {"test_b": []}}})["models"]["m"]["tests"])
        ['test_a', 'test_b']
    """
    kept = {}
    for name, model in models.items():
        before = baseline["models"].get(name)
        if before is None or not _is_same(before, model) or _made(before) != _made(model):
            kept[name] = model
        else:
            kept[name] = _with_tests(model, {**before["tests"], **model["tests"]}, before)
    return {**baseline, "models": {**baseline["models"], **kept}}


def updated(
    baseline: Baseline,
    models: Mapping[str, BaselineModel],
    path: Path,
    *,
    is_stale: Callable[[str], bool],
) -> Baseline:
    """Put a run's values in place of what it was compared with, and drop what is no longer asked.

    Args:
        baseline: what the run was compared with.
        models: the run's values.
        path: the baseline's file.
        is_stale: says of a test that is not in the run whether it is gone.

    Raises:
        StoredFileError: if values of other weights would stay beside the new ones.
    """
    others = {name: counterpart(baseline, name, path) for name in models}
    gone = set(others.values())
    result = {name: model for name, model in baseline["models"].items() if name not in gone}
    for name, model in models.items():
        before = baseline["models"][others[name]]
        rest = {
            test: entries
            for test, entries in before["tests"].items()
            if test not in model["tests"] and not is_stale(test)
        }
        if rest and not _is_same(before, model):
            raise unusable(
                path,
                f"this run has other weights, and no value of {next(iter(rest))!r}",
                expected="One model's values, all of the same weights",
                action="Run the whole suite with --rag-update, and see that every test passes",
            )
        tests = {**rest, **model["tests"]}
        result[name] = _with_tests(model, tests, before if rest else None)
    return {**baseline, "models": result}


def extended(baseline: Baseline, models: Mapping[str, BaselineModel], path: Path) -> Baseline:
    """Add the values of checks that a baseline does not have; what it has stays as it is.

    Raises:
        StoredFileError: if they are of other weights.
    """
    result = dict(baseline["models"])
    for name, model in models.items():
        other = counterpart(baseline, name, path)
        before = result[other]
        known = keyed(before["tests"])
        new = {key: entry for key, entry in keyed(model["tests"]).items() if key not in known}
        if not new:
            continue
        if before["identity"] is not None and not _is_same(before, model):
            raise unusable(
                path,
                f"{name!r} has other weights than its {other!r}",
                expected="New cases measured with the model that the others were measured with",
                action="Run --rag-update-new-only with the released model",
            )
        tests: Tests = {test: [*entries] for test, entries in before["tests"].items()}
        for (test, *_), entry in new.items():
            tests.setdefault(test, []).append(entry)
        result[other] = _with_tests(before, tests, model)
    return {**baseline, "models": result}


def _made(model: BaselineModel) -> tuple[IdentityRecord | None, SettingsRecord | None]:
    return model["identity"], model["settings"]


def _is_same(one: BaselineModel, other: BaselineModel) -> bool:
    """Say whether two models are one: the same content, or none that anybody knows of."""
    if one["identity"] is None or other["identity"] is None:
        return one["identity"] == other["identity"]
    mine, its = one["identity"]["fingerprint"], other["identity"]["fingerprint"]
    return mine == its != _WITHOUT_CONTENT


def _with_tests(model: BaselineModel, tests: Tests, other: BaselineModel | None) -> BaselineModel:
    """Return a model with some tests, and the larger of two spreads."""
    spreads = (each["spread"] for each in (model, other) if each is not None)
    spread = max((spread for spread in spreads if spread is not None), default=None)
    return {**model, "spread": spread, "tests": tests}
