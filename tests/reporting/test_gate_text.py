"""The gate in a terminal: what it says, in which order, and that no line is too wide."""

from __future__ import annotations

import copy
import doctest
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reporting import drawn, samples

from pytest_ragshortcut.reporting import gate_text, gate_words
from pytest_ragshortcut.reporting.cells import width_of
from pytest_ragshortcut.reporting.gate_schema import GateRecord
from pytest_ragshortcut.reporting.gate_text import gate_lines, gate_title
from pytest_ragshortcut.reporting.gate_words import bounds_of, compared, probes_of, signed

GATES = drawn.of_type(GateRecord)
WIDTHS = st.integers(40, 200)


@pytest.mark.parametrize("module", [gate_text, gate_words])
def test_the_examples_hold(module: Any) -> None:
    results = doctest.testmod(module)
    assert results.attempted
    assert not results.failed


def _words(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())


def _places(text: str, *parts: str) -> list[int]:
    places = [text.index(part) for part in parts]
    assert all(text.count(part) == 1 for part in parts)
    return places


# --- Any gate at all


@settings(max_examples=25)
@given(gate=GATES, width=WIDTHS)
def test_no_line_is_too_wide_or_moves_the_cursor(gate: GateRecord, width: int) -> None:
    lines, title = gate_lines(gate, width=width), gate_title(gate)
    alone = [line for line in lines if line.startswith("      this case alone:")]
    assert len(alone) == min(5, sum(not each["waived"] for each in gate["regressions"]))
    assert all(line.isprintable() for line in [*lines, title])
    for line in set(lines) - set(alone):
        assert line == line.rstrip()
        assert width_of(line) <= width
    assert title.startswith(f"gate: {gate['outcome']}")
    assert ("does not pass" in title) >= (gate["outcome"] == "INCONCLUSIVE" and not gate["passes"])
    # The outcome is last, and no property or waiver is left out.
    last = "\n".join(["", *lines]).rpartition("\n\n")[2].split("\n")
    assert last[0].startswith(f"gate: {gate['outcome']}")
    assert any(line.startswith("to do:") for line in last)
    assert ("waivers:" in lines) >= bool(gate["waivers"])
    assert sum(line.startswith("warning:") for line in lines) >= len(gate["warnings"])
    outcomes = [each["outcome"] for each in gate["properties"]]
    for outcome in ("FAIL", "INCONCLUSIVE"):
        assert "\n".join(lines).count(outcome) >= outcomes.count(outcome)


# --- What a person reads


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140, 200])
def test_the_parts_stand_in_order(width: int) -> None:
    text = _words(gate_lines(samples.gate(), width=width))
    places = _places(
        text,
        "property",
        "reads 0.19 less, at least 0.11 less with 95 % confidence: more than 0.05",
        "about 60 more cases like these would decide",
        "cases that fell by more than the margin, worst first:",
        "waivers: test_release.py::test_it[bob]: RAG-17: old name",
        "holds until 2027-01-31, leaves out 1 case",
        "warning: the device was cuda:0 and is cpu",
        "policy: margin:0.05, floor:0.8, confidence:0.95, inconclusive:fail",
        "changes up to 0.0001 are rounding",
        "gate: FAIL - 1 of 2 properties is shown to be worse: test_release.py::test_it, context",
        "to do: Look at the regressions below, the worst first",
    )
    assert places == sorted(places)
    for said in ("-0.19", "[-0.31, -0.11]", "0.79", "INCONCLUSIVE (not deciding)", "undefined"):
        assert said in text


def test_a_wide_table_has_a_column_for_everything() -> None:
    header, fell, _, _, unclear, *_ = gate_lines(samples.gate(), width=140)
    assert header.split() == [
        "property", "cases", "baseline", "candidate", "change", "interval", "fell", "outcome",
    ]  # fmt: skip
    assert fell.startswith("test_release.py::test_it, context ")
    assert fell.split()[2:] == ["40", "0.98", "0.79", "-0.19", "[-0.31,", "-0.11]", "9", "FAIL"]
    assert unclear.index("INCONCLUSIVE (not deciding)") == fell.index("FAIL")
    assert fell.index("9  FAIL") + 1 == header.index("fell") + len("fell")


def test_a_narrow_table_says_beneath_what_it_has_no_room_for() -> None:
    header, first, below, then, *_ = gate_lines(samples.gate(), width=60)
    assert header.split() == ["property", "outcome"]
    assert first == "…t_release.py::test_it, context  FAIL"
    assert below == "    cases 40  baseline 0.98  candidate 0.79  change -0.19"
    assert then == "    interval [-0.31, -0.11]  fell 9"


def test_a_property_that_passes_says_what_its_cases_still_allow() -> None:
    text = _words(gate_lines(samples.gate(passes=True), width=140))
    assert "0 of 40 cases fell by more than 0.05, which still allows 8.8 %" in text
    assert "reads 0.19 less" not in text
    assert "cases that fell" not in text, "waived ones are told of with their waivers alone"
    assert text.endswith("gate: PASS - 2 properties are no worse to do: Release it")


def test_old_and_new_stand_beside_each_other_where_there_is_room() -> None:
    lines = gate_lines(samples.gate(), width=100)
    heads = [line for line in lines if line.split() == ["baseline", "candidate"]]
    assert len(heads) == 2
    at = heads[0].index("candidate")
    rows = [line for line in lines if line.startswith("      verdict")]
    assert [row[at:] for row in rows] == ["UNGROUNDED", "MEMORY"]
    assert [row[heads[0].index("baseline") : at].strip() for row in rows] == ["SHORTCUT"] * 2
    assert "      swap: follow                   1.00 ->  0.25" in lines


@pytest.mark.parametrize("width", [40, 60, 99])
def test_or_one_below_the_other(width: int) -> None:
    lines = gate_lines(samples.gate(), width=width)
    assert lines.count("      baseline") == lines.count("      candidate") == 2
    start = lines.index("      candidate")
    assert lines[start + 1].split() == ["verdict", "UNGROUNDED"]
    assert "swap: follow: 1.00 -> 0.25" in _words(lines) or "1.00 ->  0.25" in "\n".join(lines)


def test_long_answers_are_cut_to_a_few_lines_in_both_columns() -> None:
    gate = samples.gate()
    gate["regressions"] = gate["regressions"][1:2]
    gate["regressions"][0]["new"]["answer"] = "word " * 200
    for width in (60, 120):
        lines = gate_lines(gate, width=width)
        assert sum("word" in line for line in lines) == 4
        assert [line for line in lines if "word" in line][-1].endswith("…")


@pytest.mark.parametrize(("n", "rest"), [(3, None), (4, "1"), (1234, "1,231")])
def test_three_are_shown_and_the_rest_counted(n: int, rest: str | None) -> None:
    gate = samples.gate()
    one = gate["regressions"][1]
    waived = gate["regressions"][2]
    gate["regressions"] = [one | {"command": f"pytest -k {i}"} for i in range(n)] + [waived]
    text = "\n".join(gate_lines(gate, width=80))
    assert [f"pytest -k {i}\n" in text for i in range(4)] == [True] * 3 + [False]
    assert ("more: --rag-report report.html shows all" in text) == (rest is not None)
    assert rest is None or f"  ... and {rest} more: " in text
    assert "test_it[bob]\n" not in text


def test_a_waiver_that_has_expired_says_so() -> None:
    gate = samples.gate()
    gate["waivers"][0] |= {"is_expired": True, "expires": "2025-12-31", "n_cases": 3}
    gate["waivers"].append(gate["waivers"][0] | {"is_expired": False, "case": "RagCase('x', 'y')"})
    text = _words(gate_lines(gate, width=100))
    assert "EXPIRED, held until 2025-12-31; 3 cases count again" in text
    assert text.count("EXPIRED") == 1
    assert "test_it[bob], RagCase('x', 'y'): RAG-17" in text


def test_names_have_their_model_where_there_are_several() -> None:
    gate = samples.gate()
    assert "(./candidate)" not in _words(gate_lines(gate, width=160))
    gate["properties"].append(copy.deepcopy(gate["properties"][0]) | {"model": "./other"})
    text = _words(gate_lines(gate, width=160))
    assert text.count("test_it, context (./candidate)") == 1
    assert text.count("test_it, context (./other)") == 1
    assert gate_title(gate) == "gate: FAIL, ./candidate, ./other against ./released"


@pytest.mark.parametrize(
    ("outcome", "passes", "said"),
    [
        ("PASS", True, "PASS"),
        ("FAIL", False, "FAIL"),
        ("INCONCLUSIVE", True, "INCONCLUSIVE, which passes"),
        ("INCONCLUSIVE", False, "INCONCLUSIVE, which does not pass"),
    ],
)
def test_what_inconclusive_comes_to_is_said(outcome: Any, passes: bool, said: str) -> None:
    gate = samples.gate() | {"outcome": outcome, "passes": passes}
    assert gate_title(gate).split(", ./")[0] == f"gate: {said}"
    assert f"gate: {said} - 1 of 2" in _words(gate_lines(gate, width=120))


def test_what_is_undefined_is_never_a_number() -> None:
    gate = samples.gate()
    of_property = {"baseline": None, "candidate": None, "change": None}
    gate["properties"] = [
        gate["properties"][0] | of_property | {"change_interval": [None, None]},
    ]
    _, row, *_ = gate_lines(gate, width=160)
    assert row.split()[2:] == ["40", *["undefined"] * 4, "9", "FAIL"]
    undefined = samples.reading(None)
    assert compared(undefined, undefined)[1] == ("score", "undefined", "undefined")
    assert probes_of(undefined, samples.reading())[0] == ("swap: follow", "undefined", "1.00")


def test_a_hostile_answer_is_shown_and_not_obeyed() -> None:
    gate = samples.gate()
    gate["regressions"][0]["new"]["answer"] = "\x1b[31mred\u202e\nnext"
    gate["warnings"] = ["a\x07b"]
    text = "\n".join(gate_lines(gate, width=120))
    assert "\\x1b[31mred\\u202e␊next" in text
    assert "warning: a\\x07b" in text


# --- Numbers


@example(value=-0.00390625, limit=-0.0039)
@given(
    value=st.floats(-1, 1), limit=st.floats(0, 1).map(lambda limit: -float(f"{limit:.2g}") + 0.0)
)
def test_a_change_is_written_on_its_own_side_of_the_margin(value: float, limit: float) -> None:
    shown = float(signed(value, [limit]))
    assert abs(shown - value) <= 0.005 + 1e-12
    assert (shown < limit) <= (value < limit)
    assert (shown > limit) <= (value > limit)
    assert (shown == limit) == (value == limit)


@given(ends=st.lists(st.none() | st.floats(-1, 1), min_size=2, max_size=2))
def test_an_interval_is_defined_by_both_ends(ends: list[float | None]) -> None:
    shown = bounds_of(ends)
    if None in ends:
        assert shown == "undefined"
    else:
        low, high = shown.strip("[]").split(", ")
        assert float(low) == pytest.approx(ends[0], abs=0.00501)
        assert float(high) == pytest.approx(ends[1], abs=0.00501)
