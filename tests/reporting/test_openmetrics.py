"""OpenMetrics text, read back by a parser of the exposition format and as GitLab reads it."""

from __future__ import annotations

import doctest
import re
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reporting import drawn, samples

from pytest_ragshortcut.reporting import openmetrics, schema
from pytest_ragshortcut.reporting.openmetrics import metrics

_NAME = r"[a-zA-Z_][a-zA-Z0-9_]*"
_LABEL = rf'({_NAME})="((?:[^"\\\n]|\\["\\n])*)"'
_SAMPLE = re.compile(rf"({_NAME})(?:{{((?:{_LABEL}(?:,(?!}})|(?=}})))+)}})? (\S+)")
Samples = dict[tuple[tuple[str, str], ...], float]


def parsed(text: str) -> dict[str, Samples]:
    """Read gauges as the specification of OpenMetrics 1.0 writes them."""
    lines = text.split("\n")
    assert lines[-2:] == ["# EOF", ""]
    families: dict[str, Samples] = {}
    described: set[tuple[str, str]] = set()
    for line in lines[:-2]:
        if line.startswith("# "):
            keyword, name, rest = line[2:].split(" ", 2)
            assert (keyword, name) not in described
            described.add((keyword, name))
            assert keyword in {"TYPE", "UNIT", "HELP"}
            assert keyword != "TYPE" or rest == "gauge"
            assert keyword != "UNIT" or name.endswith(f"_{rest}")
            families.setdefault(name, {})
        else:
            found = _SAMPLE.fullmatch(line)
            assert found, line
            assert found[1] == list(families)[-1], "a family is of one piece, its description first"
            labels = tuple(
                (key, _unescaped(value)) for key, value in re.findall(_LABEL, found[2] or "")
            )
            assert len(dict(labels)) == len(labels)
            assert labels not in families[found[1]], "the same labels twice"
            families[found[1]][labels] = float(found[5])
    assert all(("TYPE", name) in described for name in families)
    return families


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], text)


def _all(report: schema.Report) -> list[schema.CheckRecord]:
    return [check for test in report["tests"] for check in test["checks"]]


def test_the_examples_hold() -> None:
    assert not doctest.testmod(openmetrics).failed


@settings(max_examples=40)
@given(report=drawn.REPORTS)
def test_every_report_is_openmetrics(report: schema.Report) -> None:
    text = metrics(report)
    text.encode("utf-8")
    families = parsed(text)
    checks = _all(report)
    defined = [check["score"] for check in checks if check["score"] is not None]
    assert sorted(families.get("rag_reliance_score", {}).values()) == sorted(defined)
    assert families["rag_checks_undefined"] == {(): len(checks) - len(defined)}
    assert sum(families.get("rag_checks", {}).values()) == len(checks)
    failed = sum(1 for check in checks if not check["held"] or not check["claims"])
    assert families["rag_checks_failed"] == {(): failed}
    gate = report["gate"]
    assert ("rag_gate_passes" in families) == (gate is not None)
    if gate:
        assert families["rag_gate_passes"] == {(): gate["passes"]}
        for name, key in (("rag_gate_change", "change"), ("rag_gate_candidate", "candidate")):
            read = [each[key] for each in gate["properties"] if each[key] is not None]
            assert sorted(families.get(name, {}).values()) == sorted(read)
        counts = [families[f"rag_gate_{name}"][()] for name in ("regressions", "waived")]
        assert sum(counts) == len(gate["regressions"])


@settings(max_examples=40)
@given(report=drawn.REPORTS)
def test_gitlab_reads_the_same(report: schema.Report) -> None:
    """Its parser cuts a line at a hash sign, splits what is left as a shell does, and takes two."""
    text = metrics(report)
    read = [shlex.split(re.sub(r"#.*", "", line)) for line in text.split("\n")]
    named = [parts for parts in read if parts]
    assert all(len(parts) == 2 for parts in named)
    values = [value for samples in parsed(text).values() for value in samples.values()]
    assert [float(value) for _, value in named] == values
    assert len({name for name, _ in named}) == len(named)


@given(name=st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])) | st.just('a\\"\n'))
def test_labels_say_what_they_were_given(name: str) -> None:
    """But for the hash sign, and for what is no character of XML."""
    assert_clean = re.sub("[\ufffe\uffff]", "\ufffd", name).replace("#", "＃")
    report = samples.report(samples.of_test() | {"id": name})
    (labels,) = parsed(metrics(report))["rag_reliance_score"]
    assert labels == (
        ("test", assert_clean),
        ("check", "1"),
        ("kind", "context"),
        ("verdict", "MIXED"),
        ("model", "embedded:reader"),
    )


def test_counts_and_costs() -> None:
    shortcut = samples.check(verdict="SHORTCUT", score=1.0, held=True, seconds=0.5)
    report = samples.report(
        samples.of_test("a", shortcut, shortcut, samples.check(score=None, seconds=2.0)),
        samples.of_test("b", samples.check(score=0.25)),
    )
    families = parsed(metrics(report))
    assert families["rag_checks"] == {(("verdict", "SHORTCUT"),): 2, (("verdict", "MIXED"),): 2}
    assert families["rag_checks_failed"] == {(): 2}
    assert families["rag_checks_undefined"] == {(): 1}
    assert families["rag_check_seconds"] == {(): 3.25}
    assert families["rag_forwards"][()] == pytest.approx(4 * 5.1)
    scores = {dict(key)["check"]: value for key, value in families["rag_reliance_score"].items()
              if dict(key)["test"].endswith("::a")}  # fmt: skip
    assert scores == {"1": 1.0, "2": 1.0}, "numbered within their test"


def test_a_gate_is_read_by_property() -> None:
    families = parsed(metrics(samples.report() | {"gate": samples.gate()}))
    fell = (
        ("property", "test_release.py::test_it, context"),
        ("model", "./candidate"),
        ("outcome", "FAIL"),
    )
    unclear = (
        ("property", "test_release.py::test_other, parametric"),
        ("model", "./candidate"),
        ("outcome", "INCONCLUSIVE"),
    )
    read = {name: values for name, values in families.items() if name.startswith("rag_gate")}
    assert read == {
        "rag_gate_passes": {(): 0},
        "rag_gate_change": {fell: -0.19, unclear: 0.0},
        "rag_gate_change_lower": {fell: -0.31, unclear: -0.27},
        "rag_gate_change_upper": {fell: -0.11, unclear: 0.27},
        "rag_gate_candidate": {fell: 0.79, unclear: 0.98},
        "rag_gate_regressions": {(): 2},
        "rag_gate_waived": {(): 1},
    }
    passing = parsed(metrics(samples.report() | {"gate": samples.gate(passes=True)}))
    assert passing["rag_gate_passes"] == {(): 1}
    assert passing["rag_gate_regressions"] == {(): 0}


def test_properties_of_one_name_are_told_apart() -> None:
    gate = samples.gate()
    one = gate["properties"][0]
    names = ["a\ud800", "a\udc00", "a\ufffd (2)", "b", "b"]
    gate["properties"] = [one | {"name": name} for name in names]
    families = parsed(metrics(samples.report() | {"gate": gate}))
    read = [dict(labels)["property"] for labels in families["rag_gate_change"]]
    assert read == ["a\ufffd", "a\ufffd (2)", "a\ufffd (2) (2)", "b", "b (2)"]


def test_what_a_gate_has_not_is_no_sample() -> None:
    gate = samples.gate()
    undefined = {"change": None, "change_interval": [None, None], "candidate": None}
    gate["properties"] = [gate["properties"][0] | undefined]
    families = parsed(metrics(samples.report() | {"gate": gate}))
    assert [name for name in families if name.startswith("rag_gate")] == [
        "rag_gate_passes", "rag_gate_regressions", "rag_gate_waived",
    ]  # fmt: skip
    assert not [name for name in parsed(metrics(samples.report())) if "gate" in name]


def test_what_was_not_measured_is_no_sample() -> None:
    check = samples.check()
    check["work"]["forwards"] = None
    families = parsed(metrics(samples.report(samples.of_test("a", check))))
    assert "rag_forwards" not in families
    assert "rag_checks" not in parsed(metrics(samples.report() | {"tests": []}))


@pytest.mark.parametrize(
    "broken",
    ['a{b="c"d"} 1', 'a{b="c} 1', "a{} 1", 'a{b="c",} 1', "a 1 2 3", 'a{b="\\x"} 1', "a"],
)
def test_the_parser_of_this_test_refuses(broken: str) -> None:
    with pytest.raises(AssertionError):
        parsed(f"# TYPE a gauge\n{broken}\n# EOF\n")
