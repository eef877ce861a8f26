"""The release gate as Markdown: what a job summary begins with."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_ragshortcut.core.words import counted
from pytest_ragshortcut.reporting.gate_schema import (
    GateRecord,
    PropertyRecord,
    RegressionRecord,
    WaiverRecord,
)
from pytest_ragshortcut.reporting.gate_words import (
    bounds_of,
    compared,
    models_of,
    name_of,
    outcome_of,
    probes_of,
    shares_of,
    signed,
    standing,
    term_of,
)
from pytest_ragshortcut.reporting.markdown import (
    IN_CELL,
    IN_DETAILS,
    code,
    escaped,
    html_table,
    row,
    shortened,
)
from pytest_ragshortcut.reporting.text import exact, number

PROPERTIES = (
    "\n| property | cases | baseline | candidate | change | interval | fell | outcome | why |\n"
    "|---|---:|---:|---:|---:|---|---:|---|---|\n"
)
"""What stands above the rows of properties."""
_MAX_REGRESSIONS = 10
_MAX_ALLOWED = 100
"""Waivers, and warnings."""


def head_of(gate: GateRecord) -> str:
    """Write what became of a gate, why, and what to do.

    Example:
        >>> print(head_of({"outcome": "PASS", "passes": True, "properties": [],
        ...                "sentence": "No worse", "action": "Release it"}), end="")
        ## Release gate: PASS
        <BLANKLINE>
        <p>No worse</p>
        <p>To do: Release it</p>
    """
    models = models_of(gate)
    of = f", {code(shortened(models, IN_CELL))}" if models else ""
    said = (gate["sentence"], f"To do: {gate['action']}")
    paragraphs = "".join(f"<p>{escaped(shortened(each, IN_DETAILS))}</p>\n" for each in said)
    return f"## Release gate: {outcome_of(gate)}{of}\n\n{paragraphs}"


def property_row(each: PropertyRecord, gate: GateRecord) -> str:
    r"""Write a property as a row of the table.

    Example:
        >>> one = {"name": "a", "model": "m", "outcome": "PASS", "decides": True, "sentence": "so",
        ...        "n_cases": 40, "n_left_out": 0, "baseline": 1.0, "candidate": 1.0,
        ...        "change": 0.0, "change_interval": [0.0, 0.0], "n_regressed": 0,
        ...        "regressed_interval": [0.0, 0.088]}
        >>> cells = property_row(one, {"margin": 0.05, "floor": None, "properties": [one]})
        >>> cells.split(" | ")[6:]
        ['0, allows 0.0 % to 8.8 %', 'PASS', 'so |\n']
    """
    limits = [-gate["margin"]]
    floors = [] if gate["floor"] is None else [gate["floor"]]
    shares = shares_of(each["regressed_interval"])
    fell = f"{each['n_regressed']:,}" + (f", allows {shares}" if shares else "")
    why = [each["sentence"]]
    if each["n_left_out"]:
        why.append(f"{counted(each['n_left_out'], 'case')} left out")
    bare = (
        f"{each['n_cases']:,}",
        number(each["baseline"]),
        exact(each["candidate"], floors),
        signed(each["change"], limits),
        bounds_of(each["change_interval"], limits),
        fell,
        standing(each),
        shortened("; ".join(why), 4 * IN_CELL),
    )
    return row([code(name_of(each, gate)), *map(escaped, bare)])


def regressions_of(gate: GateRecord) -> list[str]:
    """Write the worst cases that fell, each as a block, and how many there are besides.

    Example:
        >>> regressions_of({"regressions": []})
        []
    """
    fell = [each for each in gate["regressions"] if not each["waived"]]
    blocks = [_details(each, -gate["margin"]) for each in fell[:_MAX_REGRESSIONS]]
    rest = len(fell) - len(blocks)
    more = f"\n<p>{counted(rest, 'more case')} fell: --rag-report report.html shows all.</p>\n"
    return [*blocks, more] if rest else blocks


def notes_of(gate: GateRecord) -> list[str]:
    """Write what was asked, each waiver, and each warning.

    Example:
        >>> gate = {"policy": "a", "tolerance": 0.0001, "baseline": "b", "waivers": []}
        >>> notes_of(gate | {"warnings": ["the seed was 0 and is 1"]})[-1].strip()
        '<p>Warning: the seed was 0 and is 1</p>'
    """
    asked = f"Policy: {code(gate['policy'])}, baseline {code(gate['baseline'])}"
    said = [f"{asked}; changes up to {gate['tolerance']:g} are rounding."]
    said += map(_waiver, gate["waivers"][:_MAX_ALLOWED])
    warnings = gate["warnings"][:_MAX_ALLOWED]
    said += [f"Warning: {escaped(shortened(each, IN_DETAILS))}" for each in warnings]
    return [f"\n<p>{each}</p>\n" for each in said]


def _waiver(waiver: WaiverRecord) -> str:
    case = f", {code(shortened(waiver['case'], IN_CELL))}" if waiver["case"] else ""
    reason = escaped(shortened(waiver["reason"], IN_DETAILS))
    return f"Waiver: {code(waiver['test'])}{case}: {reason}; {escaped(term_of(waiver))}."


def _details(each: RegressionRecord, limit: float) -> str:
    """Write a block of HTML, which Markdown leaves alone up to the first empty line."""
    titles = ("", "baseline", "candidate")
    change = signed(each["change"], [limit])
    lines = [
        f"\n<details><summary>{code(each['test'])}: {escaped(change)}</summary>",
        f"<p>{escaped(shortened(each['question'], IN_DETAILS))}</p>",
        *html_table(titles, _sides(each)),
        f"<p>{code(each['command'])}</p>",
        "</details>",
    ]
    return "\n".join(lines) + "\n"


def _sides(each: RegressionRecord) -> Iterator[list[str]]:
    for cells in [*compared(each["old"], each["new"]), *probes_of(each["old"], each["new"])]:
        yield [escaped(shortened(cell, IN_DETAILS)) for cell in cells]
