"""The table and the lines beneath it, and the order of what is worst."""

from __future__ import annotations

import doctest
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reporting import drawn, samples

from pytest_ragshortcut.reporting import schema, table, totals, worst
from pytest_ragshortcut.reporting.cells import width_of
from pytest_ragshortcut.reporting.records import key_of
from pytest_ragshortcut.reporting.table import rows_of, summary_lines
from pytest_ragshortcut.reporting.worst import failed, margin_of, rank_of, worst_first

LONG = "tests/test_a_very_long_name.py::test_" + "x" * 80


@pytest.mark.parametrize("module", [table, totals, worst])
def test_the_examples_hold(module: object) -> None:
    results = doctest.testmod(module)
    assert results.attempted
    assert not results.failed


def _check(
    score: float | None, *claims: str, held: bool = True, evidence: float | None = None
) -> schema.CheckRecord:
    made = samples.check(score=score, claims=claims or ("> 0.8",), held=held)
    made["evidence"] = []
    if evidence is not None:
        probe = "knockout attribute -> answer"
        made["evidence"] = [{"probe": probe, "value": evidence, "reading": ""}]
    return made


LIMITS = st.floats(0, 1).map(lambda limit: float(f"{limit:g}"))


@given(score=st.floats(0, 1), limits=st.lists(st.tuples(st.sampled_from("<>"), LIMITS), min_size=1))
def test_a_margin_is_that_of_the_tightest_limit(
    score: float, limits: list[tuple[str, float]]
) -> None:
    claims = [f"{sign}{'=' * (n % 2)} {limit:g}" for n, (sign, limit) in enumerate(limits)]
    margin = margin_of(_check(score, *claims))
    assert margin is not None
    for sign, limit in limits:
        assert margin <= (score - limit if sign == ">" else limit - score)
    assert (margin < 0) == any(score < at if sign == ">" else score > at for sign, at in limits)
    assert abs(margin) in {abs(score - limit) for _, limit in limits}


def test_no_margin_without_a_score_or_a_limit() -> None:
    assert margin_of(_check(None)) is None
    assert margin_of(samples.check(claims=())) is None
    assert margin_of(samples.check(claims=("about 0.8", "> much"))) is None


# Worst first, by what the order is said to be.
ORDERED = [
    _check(None, held=False),
    samples.check(score=0.9, claims=(), held=True),
    _check(0.3, held=False),
    _check(0.5, "< 0.2", held=False),
    _check(0.79, ">= 0.8", held=False),
    _check(None),
    _check(0.81, "<= 0.9", "> 0.8"),
    _check(0.1, "< 0.2"),
    _check(0.9, "> 0.5"),
]


@given(st.permutations(range(len(ORDERED))))
def test_worst_first(order: list[int]) -> None:
    split = len(order) // 2
    tests = [
        samples.of_test("a", *(ORDERED[i] for i in order[:split])),
        samples.of_test("b", *(ORDERED[i] for i in order[split:])),
    ]
    pairs = worst_first(tests)
    # The first two are as bad as each other.
    ranked = [ORDERED.index(check) for _, check in pairs]
    assert sorted(ranked[:2]) == [0, 1]
    assert ranked[2:] == list(range(2, len(ORDERED)))
    assert all(check in test["checks"] for test, check in pairs)


@settings(max_examples=30)
@given(tests=st.lists(drawn.of_type(schema.TestRecord), max_size=3))
def test_the_order_loses_nothing_and_keeps_that_of_equals(tests: list[schema.TestRecord]) -> None:
    pairs = worst_first(tests)
    made = [(test, check) for test in tests for check in test["checks"]]
    assert len(pairs) == len(made)
    places = [
        next(i for i, each in enumerate(made) if each[1] is check and each[0] is test)
        for test, check in pairs
    ]
    assert sorted(places) == list(range(len(made)))
    for (a, left), (b, right) in itertools.pairwise(zip(places, pairs, strict=True)):
        assert failed(left[1]) >= failed(right[1])
        assert rank_of(left[1]) < rank_of(right[1]) or a < b


def test_few_checks_have_a_row_each_and_many_the_worst_alone() -> None:
    three = samples.of_test("t", _check(0.9), _check(0.3, held=False), _check(0.85))
    assert [row.check["score"] for row in rows_of(three)] == [0.9, 0.3, 0.85]
    four = samples.of_test(
        "t", _check(0.9), _check(0.1, "< 0.2"), _check(0.3, held=False), _check(0.85)
    )
    (row,) = rows_of(four)
    assert (row.check["score"], row.n_checks) == (0.3, 4)
    assert "(worst of 4)" in table.table([row], width=200)[1]
    assert "> 0.8  FAILS" in table.table([row], width=200)[1]


def test_a_row_stands_for_the_checks_made_though_few_were_kept() -> None:
    test = samples.of_test("t", _check(0.9), _check(0.85)) | {"n_checks": 200}
    (row,) = rows_of(test)
    assert (row.check["score"], row.n_checks) == (0.85, 200)
    assert rows_of(test | {"checks": []}) == []


def test_an_undefined_score_is_worse_than_any() -> None:
    (row,) = rows_of(samples.of_test("t", _check(0.9), _check(None), _check(0.82), _check(0.85)))
    assert row.check["score"] is None
    assert "undefined" in table.table([row], width=100)[1]


def test_a_check_never_compared_fails() -> None:
    row = rows_of(samples.of_test("t", samples.check(claims=(), held=True)))
    assert "never compared  FAILS" in table.table(row, width=120)[1]


@pytest.mark.parametrize("width", [60, 80, 120, 240])
def test_lines_fit_and_the_numbers_stay(width: int) -> None:
    test = samples.of_test("it", _check(0.5)) | {"id": LONG}
    lines = table.table(rows_of(test), width=width)
    assert all(len(line) <= max(width, 80) for line in lines)
    assert "0.50" in lines[1]
    assert "MIXED" in lines[1]


@pytest.mark.parametrize("width", [80, 240])
def test_evidence_is_shown_at_any_width(width: int) -> None:
    test = samples.of_test("test_" + "x" * 40, _check(0.5, evidence=-0.75))
    lines = table.table(rows_of(test), width=width)
    assert len(lines) == (3 if width == 80 else 2)
    assert "-0.75" in lines[-1]
    assert "cut attr" in lines[0 if width == 240 else -1]


def test_evidence_without_a_value_is_undefined_and_without_a_reading_empty() -> None:
    made = _check(0.5, evidence=0.0)
    made["evidence"][0]["value"] = None
    line = table.table(rows_of(samples.of_test("t", made)), width=200)[1]
    assert line.endswith("undefined")


def test_changes_have_a_column_where_there_are_any() -> None:
    checks = [samples.check(score=0.5, question="A?"), samples.check(score=0.5, question="B?")]
    test = samples.of_test("t", *checks)
    assert "change" not in table.table(rows_of(test), width=200)[0]
    changed = rows_of(test, {key_of(test["id"], checks[1]): -0.25})
    header, first, second = table.table(changed, width=200)
    at = header.index("change")
    assert "-0.25" in second[at : at + 6]
    assert not first[at : at + 6].strip()


def _report(*checks: schema.CheckRecord) -> schema.Report:
    return samples.report(samples.of_test("t", *checks))


def test_counts_and_costs_in_two_lines() -> None:
    shortcut = samples.check(verdict="SHORTCUT", held=True)
    made = [samples.check(verdict="MEMORY"), *[shortcut] * 7]
    assert summary_lines(_report(*made), width=80) == [
        "8 checks, 1 failed: SHORTCUT 7, MEMORY 1",
        "41 forwards, 2.0 s; 16 of 88 readings remembered",  # 8 x 5.1, 8 x 0.25, 8 x (2 of 11)
    ]


def test_what_was_not_measured_is_not_said() -> None:
    check = samples.check()
    check["work"] = {"seconds": 0.25, "forwards": None, "remembered": 0, "computed": 0}
    assert summary_lines(_report(check), width=80)[1] == "0.2 s"
    assert summary_lines(samples.report() | {"tests": []}, width=80) == []


def test_checks_made_and_not_kept_are_counted() -> None:
    report = samples.report(samples.of_test("t") | {"n_checks": 1200})
    assert summary_lines(report, width=80)[0] == "1,200 checks (1 kept), 1 failed: MIXED 1"


def test_the_slowest_are_named_where_anything_took_over_a_second() -> None:
    assert len(summary_lines(_report(samples.check(seconds=1.0)), width=80)) == 2
    seconds = [0.5, 2.0, 30.0, 1.25, 5.0]
    made = [samples.check(seconds=s, question=f"How {s}?") for s in seconds]
    _, _, title, *slowest = summary_lines(_report(*made), width=80)
    assert title == "slowest:"
    assert [line.split()[0] for line in slowest] == ["30.0", "5.0", "2.0"]
    assert slowest[0].endswith("test_release.py::t: How 30.0?")
    assert len(summary_lines(_report(*made), width=80, n_slowest=1)) == 4


@given(text=drawn.TEXTS, verdict=drawn.TEXTS, width=st.integers(30, 120))
def test_lines_fit_and_hold_no_control_characters(text: str, verdict: str, width: int) -> None:
    slow = samples.check(question=text * 20, verdict=verdict, seconds=2.0)
    for line in summary_lines(_report(slow), width=width):
        assert line.isprintable()
        assert width_of(line) <= width
