"""Which check of a run is which of a baseline, and whether the two may be compared at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pytest_ragshortcut.baselines.schema import (
    Baseline,
    BaselineModel,
    EntryRecord,
    IdentityRecord,
    SettingsRecord,
)
from pytest_ragshortcut.core.words import counted
from pytest_ragshortcut.errors import StoredFileError, listed
from pytest_ragshortcut.stored.readings import Key, keys_of

_WHERE = "--rag-compare"
_PARTS: tuple[Literal["device", "dtype", "quantization", "attention", "executor"], ...] = (
    "device", "dtype", "quantization", "attention", "executor"
)  # fmt: skip


@dataclass(frozen=True)
class Paired:
    """What a run and a baseline have in common, and what only one of them has."""

    old: Mapping[Key, EntryRecord]
    """Every check of both."""
    only_here: Sequence[Key]
    only_there: Sequence[Key]


def keyed(tests: Mapping[str, Sequence[EntryRecord]]) -> dict[Key, EntryRecord]:
    """Name every check by its test, its case and its kind; those made twice by their turn.

    Example:
        >>> entry = {"case": "RagCase('q', 'c')", "kind": "context", "reading": {}}
        >>> [key[-1] for key in keyed({"test_a": [entry, entry]})]
        [1, 2]
    """
    every = [(test, entry) for test, entries in tests.items() for entry in entries]
    names = ((test, entry["case"], entry["kind"]) for test, entry in every)
    return {key: entry for key, (_, entry) in zip(keys_of(names), every, strict=True)}


def pair_up(
    here: Mapping[str, Sequence[EntryRecord]], there: Mapping[str, Sequence[EntryRecord]]
) -> Paired:
    """Match the checks of a run with those of a baseline.

    Example:
        >>> entry = {"case": "RagCase('q', 'c')", "kind": "context", "reading": {}}
        >>> pair_up({"test_a": [entry]}, {"test_b": [entry]}).only_there
        [('test_b', "RagCase('q', 'c')", 'context', 1)]
    """
    new, old = keyed(here), keyed(there)
    return Paired(
        old={key: old[key] for key in new if key in old},
        only_here=[key for key in new if key not in old],
        only_there=[key for key in old if key not in new],
    )


def counterpart(baseline: Baseline, model: str, path: Path) -> str:
    """Choose which model of a baseline a model is compared with: its namesake, or the only one.

    Raises:
        StoredFileError: if the baseline holds several, and none of this name.
    """
    names = list(baseline["models"])
    if model in names:
        return model
    if len(names) == 1:
        return names[0]
    raise unusable(
        path,
        f"it holds {listed(names) or 'no model'}, and none is {model!r}",
        expected="A baseline of one model, or one that holds every model of the run by name",
        action="Save one with the released model alone: --rag-save",
    )


def require_same_cases(paired: Paired, path: Path, *, n_models: int = 1) -> None:
    """Refuse to decide on another set of cases than the baseline's.

    Args:
        paired: the checks of a run and of the baseline.
        path: the baseline's file.
        n_models: how many models the run asked.

    Raises:
        StoredFileError: if either has a check that the other has not.
    """
    if not paired.only_here and not paired.only_there:
        return
    sides = (
        (paired.only_there, "in the baseline alone"),
        (paired.only_here, "in this run alone"),
    )
    counts = "; ".join(
        f"{_checks_are(len(keys))} {where}, the first {title(keys[0])}"
        for keys, where in sides
        if keys
    )
    action = (
        "Run the whole suite, and see that no test fails before its check; if cases are gone or "
        "altered for good, run the released model with --rag-update"
    )
    if not paired.only_there:
        action = "Add the new cases with the released model: --rag-update-new-only"
    elif not paired.old and n_models > 1:
        action = (
            "Compare one candidate at a time: of several models in --rag-model, each test has the "
            "model's name in its own"
        )
    raise unusable(
        path,
        f"its cases are not this run's: {counts}",
        expected="A gate decides on the same cases for both models",
        action=action,
    )


def require_same_settings(old: SettingsRecord | None, new: SettingsRecord, path: Path) -> None:
    """Refuse to compare what was asked for in another way.

    Raises:
        StoredFileError: if the template, the probes or the seed differ.
    """
    if old is None:
        return
    values = (
        ("template", old["template"], new["template"]),
        ("probes", old["probes"], new["probes"]),
        ("seed", str(old["seed"]), str(new["seed"])),
    )
    for name, before, now in values:
        if before != now:
            raise unusable(
                path,
                f"it was made with --rag-{name}={before}, and this run with {now}",
                expected="The same probe settings on both sides",
                action=f"Run with --rag-{name}={before}, or save the released model again",
            )


def require_same_asking(
    here: Mapping[str, Sequence[EntryRecord]], paired: Paired, path: Path
) -> None:
    """Refuse to compare what was asked in other words, or read with other probes or limits.

    A test's marker may name them, or its call, and a hook may write the prompt.

    Raises:
        StoredFileError: naming the first check.
    """
    new = keyed(here)
    for key, old in paired.old.items():
        # Of schema 1 nothing but the score is known.
        if old["asking"] and new[key]["asking"] and old["asking"] != new[key]["asking"]:
            raise unusable(
                path,
                f"{title(key)} was asked with another prompt, or read with other limits",
                expected="The same template, rendering and limits on both sides",
                action="Ask as the baseline was asked, or save the released model again",
            )
        before, now = _probes(old), _probes(new[key])
        if old["reading"]["readings"] and before != now:
            raise unusable(
                path,
                f"{title(key)} was read with {before}, and in this run with {now}",
                expected="The same probe settings on both sides",
                action="Ask for the same probes, or save the released model again",
            )


def _probes(entry: EntryRecord) -> str:
    """List the kinds of probes that a check was read with: the first words of their names."""
    kinds = {name.partition(" ")[0].rstrip("s:") for name in entry["reading"]["readings"]}
    return ", ".join(sorted(kinds)) or "none"


def differences(old: BaselineModel, new: IdentityRecord | None) -> list[str]:
    """Say in what two models were run differently, though they may be compared.

    Example:
        >>> differences({"identity": None, "settings": None, "spread": None, "tests": {}}, None)
        ['how the baseline was made is not known: it is of an older schema, or of a model without \
an identity']
    """
    before = old["identity"]
    if before is None or new is None:
        side = "the baseline was made" if before is None else "this model was run"
        end = ": it is of an older schema, or of a model without an identity" if not before else ""
        return [f"how {side} is not known{end}"]
    pairs: list[tuple[str, str, str]] = [
        (part, str(before[part]), str(new[part])) for part in _PARTS
    ]
    pairs += [
        (f"version of {name}", version, new["libraries"].get(name, "none"))
        for name, version in before["libraries"].items()
    ]
    said = [
        f"the {name} was {was or 'none'} and is {now or 'none'}"
        for name, was, now in pairs
        if was != now
    ]
    contents = (
        ("tokenizer", before["tokenizer"], new["tokenizer"]),
        ("chat template", before["chat_template"], new["chat_template"]),
        ("configuration", before["config"], new["config"]),
    )
    said += [f"the {name} is another one" for name, was, now in contents if was != now]
    if before["weights"] and before["weights"] == new["weights"]:
        said.append("the weights are the baseline's own")
    return said


def turned(here: Mapping[str, Sequence[EntryRecord]], paired: Paired) -> list[str]:
    """Name the checks whose claims go another way than the baseline's, which decides."""
    new = keyed(here)
    other = [key for key, old in paired.old.items() if new[key]["better"] != old["better"]]
    if not other:
        return []
    better = paired.old[other[0]]["better"]
    first = f"the first {title(other[0])}, where {better} is better"
    return [f"{_checks_are(len(other))} compared as the baseline's claims go: {first}"]


def function_of(test: str) -> str:
    """Name a test's function: without its parameters.

    Example:
        >>> function_of("some[1]/test_a.py::test_it[a::b]"), function_of("a.py::Test::test_it")
        ('some[1]/test_a.py::test_it', 'a.py::Test::test_it')
    """
    file, colons, name = test.partition("::")
    return f"{file}{colons}{name.partition('[')[0]}"


def title(key: Key) -> str:
    """Name a check for a person.

    Example:
        >>> title(("test_a", "RagCase('q', 'c')", "parametric", 2))
        "test_a: RagCase('q', 'c'), parametric, number 2"
    """
    test, case, kind, turn = key
    short = case if len(case) <= 60 else f"{case[:59]}…"
    again = "" if turn == 1 else f", number {turn}"
    return f"{test}: {short}" + ("" if kind == "context" else f", {kind}") + again


def _checks_are(n: int) -> str:
    return f"{counted(n, 'check')} {'is' if n == 1 else 'are'}"


def unusable(path: Path, problem: str, *, expected: str, action: str) -> StoredFileError:
    """Say why a baseline cannot be compared with."""
    return StoredFileError(
        f"the baseline {str(path)!r} cannot be compared with: {problem}",
        where=_WHERE,
        expected=expected,
        action=action,
    )
