"""A run as OpenMetrics text: what GitLab shows of a merge request's metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count

from pytest_ragshortcut.reporting.characters import portable
from pytest_ragshortcut.reporting.schema import GateRecord, PropertyRecord, Report
from pytest_ragshortcut.reporting.totals import totals_of

# GitLab takes all of a line from a hash sign on for a comment, within quotes as well, and then
# refuses the whole file for the quote that never closes.
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": " ", "#": "\uff03"})

_Sample = tuple[Mapping[str, str], float]
"""Labels, escaped, and a value."""


def metrics(report: Report) -> str:
    """Write scores, counts, costs and what the gate says; what is undefined is left out.

    A check is labelled with its test and its number in it, so no two have the same labels. A '#'
    in a label becomes the full-width one, and what UTF-8 cannot carry the replacement character.

    Example:
        >>> metrics({"tests": [], "gate": None}).splitlines()[-3:]
        ['# HELP rag_check_seconds Time that all checks took.', 'rag_check_seconds 0', '# EOF']
    """
    totals = totals_of(report)
    verdicts: Counter[str] = Counter()
    for verdict, n in totals.verdicts.items():
        verdicts[_escaped(verdict)] += n
    by_verdict = [({"verdict": verdict}, n) for verdict, n in verdicts.items()]
    lines = [
        *_family("rag_reliance_score", "Reliance score of one check.", _scores(report)),
        *_family("rag_checks", "Checks by verdict.", by_verdict),
        *_family("rag_checks_failed", "Checks that failed.", [({}, totals.n_failed)]),
        *_family("rag_checks_undefined", "Checks without a score.", [({}, totals.n_undefined)]),
        *_family("rag_forwards", "Plain forwards that all checks computed.", _one(totals.forwards)),
        *_family("rag_check_seconds", "Time that all checks took.", _one(totals.seconds)),
        *(_gate_families(report["gate"]) if report["gate"] else ()),
        "# EOF",
    ]
    return "\n".join(lines) + "\n"


def _one(value: float | None) -> list[_Sample]:
    return [] if value is None else [({}, value)]


def _scores(report: Report) -> list[_Sample]:
    made: Counter[str] = Counter()
    samples: list[_Sample] = []
    for test in report["tests"]:
        for check in test["checks"]:
            # Counted by what is written: two names may differ in what cannot be.
            made[name := _escaped(test["id"])] += 1
            labels = {
                "test": name,
                "check": str(made[name]),
                "kind": check["kind"],
                "verdict": _escaped(check["verdict"]),
                "model": _escaped(check["model"]),
            }
            if check["score"] is not None:
                samples.append((labels, check["score"]))
    return samples


def _gate_families(gate: GateRecord) -> Iterator[str]:
    properties, labels = gate["properties"], _labels_of(gate)
    lower, upper = ([_end(each, index) for each in properties] for index in (0, 1))
    numbers = {
        "rag_gate_change": ("Mean change since the baseline.", [p["change"] for p in properties]),
        "rag_gate_change_lower": ("Lower end of its interval.", lower),
        "rag_gate_change_upper": ("Upper end of its interval.", upper),
        "rag_gate_candidate": ("Candidate's mean score.", [p["candidate"] for p in properties]),
    }
    yield from _family("rag_gate_passes", "Whether it passes.", [({}, int(gate["passes"]))])
    for name, (text, values) in numbers.items():
        pairs = zip(labels, values, strict=True)
        yield from _family(name, text, [(of, value) for of, value in pairs if value is not None])
    n_waived = sum(bool(each["waived"]) for each in gate["regressions"])
    n_fell = len(gate["regressions"]) - n_waived
    yield from _family("rag_gate_regressions", "Cases that fell, none waived.", [({}, n_fell)])
    yield from _family("rag_gate_waived", "Cases that fell and are waived.", [({}, n_waived)])


def _labels_of(gate: GateRecord) -> list[dict[str, str]]:
    """Label each property; where its labels are taken, a number stands behind its name."""
    made: list[dict[str, str]] = []
    for each in gate["properties"]:
        name = _escaped(each["name"])
        labels = {"property": name, "model": _escaped(each["model"]), "outcome": each["outcome"]}
        for number in count(2):
            if labels not in made:
                break
            labels = labels | {"property": f"{name} ({number})"}
        made.append(labels)
    return made


def _end(each: PropertyRecord, index: int) -> float | None:
    interval = each["change_interval"]
    return interval[index] if len(interval) == 2 else None


def _family(name: str, text: str, samples: Sequence[_Sample]) -> Iterator[str]:
    if not samples:
        return
    yield f"# TYPE {name} gauge"
    if name.endswith("_seconds"):
        yield f"# UNIT {name} seconds"
    yield f"# HELP {name} {text}"
    for labels, value in samples:
        inside = ",".join(f'{label}="{escaped}"' for label, escaped in labels.items())
        yield f"{name}{{{inside}}} {value!r}" if labels else f"{name} {value!r}"


def _escaped(text: str) -> str:
    return portable(text).translate(_ESCAPES)
