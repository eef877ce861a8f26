"""A run as OpenMetrics text: what GitLab shows of a merge request's metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from pytest_ragshortcut.reporting.characters import portable
from pytest_ragshortcut.reporting.schema import Report
from pytest_ragshortcut.reporting.totals import totals_of

# GitLab takes all of a line from a hash sign on for a comment, within quotes as well, and then
# refuses the whole file for the quote that never closes.
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": " ", "#": "\uff03"})

_Sample = tuple[Mapping[str, str], float]
"""Labels, escaped, and a value."""


def metrics(report: Report) -> str:
    """Write scores, counts and costs as OpenMetrics text; scores that are undefined are left out.

    A check is labelled with its test and its number in it, so no two have the same labels. A '#'
    in a label becomes the full-width one, and what UTF-8 cannot carry the replacement character.

    Example:
        >>> metrics({"tests": []}).splitlines()[-3:]
        ['# HELP rag_check_seconds Time that all checks took.', 'rag_check_seconds 0', '# EOF']
    """
    totals = totals_of(report)
    verdicts: Counter[str] = Counter()
    for verdict, count in totals.verdicts.items():
        verdicts[_escaped(verdict)] += count
    by_verdict = [({"verdict": verdict}, count) for verdict, count in verdicts.items()]
    forwards: list[_Sample] = [] if totals.forwards is None else [({}, totals.forwards)]
    lines = [
        *_family("rag_reliance_score", "Reliance score of one check.", _scores(report)),
        *_family("rag_checks", "Checks by verdict.", by_verdict),
        *_family("rag_checks_failed", "Checks that failed.", [({}, totals.n_failed)]),
        *_family("rag_checks_undefined", "Checks without a score.", [({}, totals.n_undefined)]),
        *_family("rag_forwards", "Plain forwards that all checks computed.", forwards),
        *_family("rag_check_seconds", "Time that all checks took.", [({}, totals.seconds)]),
        "# EOF",
    ]
    return "\n".join(lines) + "\n"


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
