"""The release gate of a run: its checks beside a baseline's, decided, and written down."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pytest_ragshortcut.baselines import pairing
from pytest_ragshortcut.baselines.claims import Pair, fell
from pytest_ragshortcut.baselines.conclusion import conclude
from pytest_ragshortcut.baselines.decision import Judged, judge
from pytest_ragshortcut.baselines.pairing import Paired
from pytest_ragshortcut.baselines.policy import Policy
from pytest_ragshortcut.baselines.sentences import sentence_of
from pytest_ragshortcut.baselines.waivers import covers, is_expired, waived
from pytest_ragshortcut.keeping import (
    N_DECIMALS,
    Seen,
    asked,
    checks_of,
    models_of,
    reading_of,
    rounded,
)
from pytest_ragshortcut.reporting.records import key_of

if TYPE_CHECKING:
    from pytest_ragshortcut.baselines.schema import Baseline, EntryRecord, WaiverEntry
    from pytest_ragshortcut.config import Settings
    from pytest_ragshortcut.reporting.gate_schema import (
        GateRecord,
        PropertyRecord,
        RegressionRecord,
        WaiverRecord,
    )
    from pytest_ragshortcut.reporting.schema import CheckRecord, Report, TestRecord
    from pytest_ragshortcut.stored.readings import Key, ReadingRecord

_ROUNDED = 10.0**-N_DECIMALS
_N_NAMED = 3


@dataclass(frozen=True)
class Compared:
    """One model of a run beside a baseline's."""

    model: str
    baseline_model: str
    checks: Mapping[Key, tuple[TestRecord, CheckRecord]]
    paired: Paired
    tolerance: float
    warnings: Sequence[str]


def compare(
    report: Report, baseline: Baseline, path: Path, settings: Settings
) -> Iterator[Compared]:
    """Put each model of a run beside a baseline's.

    Raises:
        StoredFileError: if the two were asked in other ways, or a model has no counterpart.
    """
    for name, model in models_of(report, settings).items():
        other = pairing.counterpart(baseline, name, path)
        stored = baseline["models"][other]
        pairing.require_same_settings(stored["settings"], asked(settings), path)
        paired = pairing.pair_up(model["tests"], stored["tests"])
        pairing.require_same_asking(model["tests"], paired, path)
        mine = ((test, check) for test, check in checks_of(report) if check["model"] == name)
        yield Compared(
            model=name,
            baseline_model=other,
            checks=dict(zip(pairing.keyed(model["tests"]), mine, strict=True)),
            paired=paired,
            tolerance=_ROUNDED + (stored["spread"] or 0.0) + (model["spread"] or 0.0),
            warnings=[
                *pairing.differences(stored, model["identity"]),
                *pairing.turned(model["tests"], paired),
            ],
        )


def gate_of(
    report: Report,
    compared: Sequence[Compared],
    baseline: Baseline,
    path: Path,
    *,
    policy: Policy,
    today: date,
) -> GateRecord:
    """Decide whether a run's models may be released.

    Args:
        report: the run.
        compared: its models beside the baseline's.
        baseline: what it is compared with.
        path: the baseline's file.
        policy: what is tolerated.
        today: the day, for waivers.

    Raises:
        StoredFileError: if the two have not the same cases.
        OptionError: if the policy names a primary property that there is not.
    """
    for each in compared:
        pairing.require_same_cases(each.paired, path, n_models=len(compared))
    tolerance = max((each.tolerance for each in compared), default=_ROUNDED)
    properties: dict[str, list[Pair]] = {}
    sides: dict[str, tuple[str, Compared]] = {}
    regressions: list[RegressionRecord] = []
    for each in compared:
        for key, (test, check) in each.checks.items():
            reason = waived(baseline["waivers"], key[0], key[1], today)
            old = each.paired.old[key]
            pair = _pair(check, old, is_waived=bool(reason))
            name = _property(key, policy)
            of_model = f"{name} ({each.model})" if len(compared) > 1 else name
            properties.setdefault(of_model, []).append(pair)
            sides[of_model] = name, each
            if fell(pair, margin=policy.margin):
                regressions.append(_regression(name, test, check, old["reading"], pair, reason))
    judged = judge(properties, policy, tolerance=tolerance)
    waivers = [_waiver(entry, compared, today) for entry in baseline["waivers"]]
    expired = [waiver["test"] for waiver in waivers if waiver["is_expired"]]
    failed = [test["id"] for test in report["tests"] if test["outcome"] == "failed"]
    conclusion = conclude(judged, policy, failed=failed, expired=expired, path=path)
    return {
        "outcome": conclusion.outcome.value,
        "passes": conclusion.passes,
        "sentence": conclusion.sentence,
        "action": conclusion.action,
        "policy": policy.line,
        "baseline": str(path),
        "confidence": policy.confidence,
        "margin": policy.margin,
        "floor": policy.floor,
        "tolerance": float(f"{tolerance:.2g}"),
        "properties": _sorted([_record(each, *sides[each.name]) for each in judged]),
        "regressions": sorted(regressions, key=_badness),
        "waivers": waivers,
        "warnings": _warnings(compared, baseline, waivers)
        + [f"the margin of {policy.margin:g} is within rounding"] * (policy.margin <= tolerance),
    }


def changes_of(compared: Iterable[Compared]) -> dict[str, float]:
    """Return what changed since a baseline: check -> change, of scores that both define."""
    changes = {}
    for each in compared:
        old = each.paired.old
        for key, (test, check) in each.checks.items():
            before = old[key]["reading"]["score"] if key in old else None
            if before is not None and check["score"] is not None:
                score = rounded(check["score"]) or 0.0
                changes[key_of(test["id"], check)] = round(score - before, N_DECIMALS)
    return changes


def coverage(compared: Iterable[Compared], seen: Seen) -> list[str]:
    """Say how much of a run and its baseline was compared, and what in the baseline is unused."""
    lines = []
    for each in compared:
        paired = each.paired
        lines.append(
            f"compared with {each.baseline_model}: {len(paired.old)} checks in both, "
            f"{len(paired.only_here)} only here, {len(paired.only_there)} only there"
        )
        unused = [key for key in paired.only_there if seen.is_stale(key[0])]
        if unused:
            first = "; ".join(pairing.title(key) for key in unused[:_N_NAMED])
            lines.append(f"{len(unused)} unused, --rag-update drops them: {first}")
        lines += [f"not alike: {text}" for text in each.warnings]
    return lines


def _warnings(
    compared: Sequence[Compared], baseline: Baseline, waivers: Sequence[WaiverRecord]
) -> list[str]:
    """Say in what two runs differ, though they may be compared."""
    asked = {each.baseline_model for each in compared}
    return [
        *dict.fromkeys(text for each in compared for text in each.warnings),
        *(
            f"the baseline's {name} was compared with no model of this run"
            for name in baseline["models"]
            if name not in asked
        ),
        *(
            f"a waiver is of no case of this run: {waiver['test']}"
            for waiver in waivers
            if not waiver["n_cases"]
        ),
    ]


def _pair(check: CheckRecord, old: EntryRecord, *, is_waived: bool) -> Pair:
    """Turn two scores so that more is better, as the baseline has it."""

    def turned(score: float | None) -> float | None:
        return score if score is None or old["better"] == "more" else 1.0 - score

    return Pair(turned(old["reading"]["score"]), turned(check["score"]), is_waived)


def _property(key: Key, policy: Policy) -> str:
    test, _, kind, _ = key
    return kind if policy.by == "kind" else f"{pairing.function_of(test)}, {kind}"


def _regression(
    name: str,
    test: TestRecord,
    check: CheckRecord,
    old: ReadingRecord,
    pair: Pair,
    reason: str,
) -> RegressionRecord:
    is_defined = pair.candidate is not None and pair.baseline is not None
    return {
        "property": name,
        "model": check["model"],
        "test": test["id"],
        "command": test["command"],
        "case": check["case"],
        "kind": check["kind"],
        "question": check["question"],
        "change": rounded(pair.change(0.0)) if is_defined else None,
        "old": old,
        "new": reading_of(check),
        "waived": reason,
    }


def _badness(regression: RegressionRecord) -> tuple[bool, bool, float, str]:
    change = regression["change"]
    return bool(regression["waived"]), change is not None, change or 0.0, regression["test"]


def _waiver(waiver: WaiverEntry, compared: Iterable[Compared], today: date) -> WaiverRecord:
    keys = (key for each in compared for key in each.checks)
    return {
        "test": waiver["test"],
        "case": waiver["case"],
        "reason": waiver["reason"],
        "expires": waiver["expires"],
        "is_expired": is_expired(waiver, today),
        "n_cases": sum(covers(waiver, test, case) for test, case, *_ in keys),
    }


def _record(judged: Judged, name: str, compared: Compared) -> PropertyRecord:
    evidence, policy = judged.evidence, judged.evidence.policy
    n = len(evidence.counted)
    record: dict[str, Any] = {
        "name": name,
        "model": compared.model,
        "baseline_model": compared.baseline_model,
        "outcome": str(judged.outcome),
        "decides": judged.decides,
        "sentence": sentence_of(judged),
        "n_cases": n,
        "n_left_out": len(evidence.pairs) - n,
        "n_more": judged.n_more,
        "n_regressed": evidence.fell.most,
    }
    if not n:
        empty = dict.fromkeys(("baseline", "candidate", "change"))
        ends = ("change_interval", "candidate_interval", "regressed_interval")
        return cast("PropertyRecord", record | empty | {end: [None, None] for end in ends})
    low, high = judged.alpha_pass, judged.alpha_fail / len(evidence.claims)
    change, candidate = evidence.change, evidence.candidate
    floor = policy.floor if policy.floor is not None else 0.5
    before = [pair.baseline for pair in evidence.counted if pair.baseline is not None]
    is_defined = all(pair.candidate is not None for pair in evidence.counted)
    record |= {
        "baseline": rounded(sum(before) / n),
        "candidate": rounded(candidate.least.mean) if is_defined else None,
        "change": rounded(change.least.mean) if is_defined else None,
        "change_interval": [
            rounded(change.lower(alpha=low, first=-policy.margin)),
            rounded(change.upper(alpha=high, first=-policy.margin)),
        ],
        "candidate_interval": [
            rounded(candidate.lower(alpha=low, first=floor)),
            rounded(candidate.upper(alpha=high, first=floor)),
        ],
        "regressed_interval": [rounded(end) for end in evidence.fell.interval(low=high, high=low)],
    }
    return cast("PropertyRecord", record)


def _sorted(properties: Sequence[PropertyRecord]) -> list[PropertyRecord]:
    order = ["FAIL", "INCONCLUSIVE", "PASS"]
    return sorted(properties, key=lambda each: (not each["decides"], order.index(each["outcome"])))
