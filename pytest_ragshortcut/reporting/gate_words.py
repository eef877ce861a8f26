"""The words that all forms of a release gate share: a terminal, a page, Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytest_ragshortcut.core.words import counted
from pytest_ragshortcut.reporting.gate_schema import GateRecord, PropertyRecord, WaiverRecord
from pytest_ragshortcut.reporting.text import exact, number
from pytest_ragshortcut.stored.readings import ReadingRecord

Compared = tuple[str, str, str]
"""What it is, what the baseline says, what the candidate says."""


def outcome_of(gate: GateRecord) -> str:
    """Write what became of a gate; where the outcome does not say it, whether that passes.

    Example:
        >>> outcome_of({"outcome": "FAIL", "passes": False})
        'FAIL'
        >>> outcome_of({"outcome": "INCONCLUSIVE", "passes": False})
        'INCONCLUSIVE, which does not pass'
    """
    if {"PASS": True, "FAIL": False}.get(gate["outcome"]) is gate["passes"]:
        return gate["outcome"]
    return f"{gate['outcome']}, which {'passes' if gate['passes'] else 'does not pass'}"


def models_of(gate: GateRecord) -> str:
    """Say which models were compared; nothing where there is no property.

    Example:
        >>> models_of({"properties": [{"model": "a", "baseline_model": "b"}]})
        'a against b'
    """
    sides = (
        ", ".join(dict.fromkeys(each[side] for each in gate["properties"]))
        for side in ("model", "baseline_model")
    )
    return " against ".join(sides) if gate["properties"] else ""


def name_of(each: PropertyRecord, gate: GateRecord) -> str:
    """Name a property: with its model, where the gate has several.

    Example:
        >>> one, other = ({"name": "test_it, context", "model": model} for model in "ab")
        >>> name_of(one, {"properties": [one]}), name_of(one, {"properties": [one, other]})
        ('test_it, context', 'test_it, context (a)')
    """
    is_one = len({other["model"] for other in gate["properties"]}) == 1
    return each["name"] if is_one else f"{each['name']} ({each['model']})"


def standing(each: PropertyRecord) -> str:
    """Write what became of a property, and whether the gate depends on it.

    Example:
        >>> standing({"outcome": "PASS", "decides": False})
        'PASS (not deciding)'
    """
    return each["outcome"] + ("" if each["decides"] else " (not deciding)")


def signed(value: float | None, limits: Sequence[float] = ()) -> str:
    """Write a change, on its own side of limits.

    Example:
        >>> signed(0.25), signed(-0.001), signed(-0.0501, [-0.05]), signed(None)
        ('+0.25', '0.00', '-0.0501', 'undefined')
    """
    text = exact(value, limits)
    if value is None:
        return text
    if float(text) == 0.0:
        return number(0.0)
    return f"+{text}" if value > 0.0 else text


def bounds_of(interval: Sequence[float | None], limits: Sequence[float] = ()) -> str:
    """Write an interval of changes.

    Example:
        >>> bounds_of([-0.25, 0.0]), bounds_of([None, None])
        ('[-0.25, 0.00]', 'undefined')
    """
    if not interval or None in interval:
        return number(None)
    return f"[{', '.join(signed(end, limits) for end in interval)}]"


def shares_of(interval: Sequence[float | None]) -> str:
    """Write which shares an interval allows; nothing where it is undefined.

    Example:
        >>> shares_of([0.0, 0.036])
        '0.0 % to 3.6 %'
    """
    ends = [end for end in interval if end is not None]
    return " to ".join(f"{100.0 * end:.1f} %" for end in ends)


def compared(old: ReadingRecord, new: ReadingRecord) -> list[Compared]:
    """Lay two readings of a case side by side, without what each probe reads.

    Example:
        >>> a = {"score": 1.0, "interval": [0.75, 1.0], "verdict": "CONTEXT", "answer": "Cork",
        ...      "context_answer": "Cork", "memory_answer": "", "readings": {}}
        >>> compared(a, a | {"score": None, "interval": [None, None]})[1]
        ('score', '1.00 [0.75, 1.00]', 'undefined')
    """
    fields: dict[str, Callable[[ReadingRecord], str]] = {
        "verdict": lambda reading: reading["verdict"],
        "score": _score_of,
        "it says": lambda reading: reading["answer"] or "(nothing)",
        "the context says": lambda reading: reading["context_answer"] or "(nothing)",
        "without context": lambda reading: reading["memory_answer"] or "(nothing)",
    }
    return [(title, write(old), write(new)) for title, write in fields.items()]


def probes_of(old: ReadingRecord, new: ReadingRecord) -> list[Compared]:
    """Lay what each probe reads side by side.

    Example:
        >>> probes_of({"readings": {"swap": 0.5, "cut": None}}, {"readings": {"swap": 1.0}})
        [('swap', '0.50', '1.00'), ('cut', 'undefined', 'not read')]
    """

    def read(reading: ReadingRecord, probe: str) -> str:
        known = reading["readings"]
        return number(known[probe]) if probe in known else "not read"

    probes = dict.fromkeys([*old["readings"], *new["readings"]])
    return [(probe, read(old, probe), read(new, probe)) for probe in probes]


def term_of(waiver: WaiverRecord) -> str:
    """Say how long a waiver holds, and for how many cases.

    Example:
        >>> term_of({"expires": "2027-01-31", "is_expired": False, "n_cases": 2})
        'holds until 2027-01-31, leaves out 2 cases'
        >>> term_of({"expires": "2026-01-31", "is_expired": True, "n_cases": 1})
        'EXPIRED, held until 2026-01-31; 1 case counts again'
    """
    cases = counted(waiver["n_cases"], "case")
    if waiver["is_expired"]:
        again = "counts again" if waiver["n_cases"] == 1 else "count again"
        return f"EXPIRED, held until {waiver['expires']}; {cases} {again}"
    return f"holds until {waiver['expires']}, leaves out {cases}"


def _score_of(reading: ReadingRecord) -> str:
    ends = [number(end) for end in reading["interval"] if end is not None]
    return number(reading["score"]) + (f" [{', '.join(ends)}]" if ends else "")
