"""The job summary and the annotations, read back as GitHub reads them."""

from __future__ import annotations

import doctest
import html
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reporting import drawn, samples

from pytest_ragshortcut.reporting import gate_markdown, github, markdown, schema
from pytest_ragshortcut.reporting.characters import portable
from pytest_ragshortcut.reporting.github import (
    failure_annotations,
    gate_annotations,
    step_summary,
)

OURS = {"details", "summary", "p", "table", "tr", "th", "td", "code"}


class _Tags(HTMLParser):
    """Every tag is one of ours, bare, and closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.seen: list[str] = []
        self.feed(text)
        self.close()
        assert not self.opened

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in OURS
        assert not attrs
        self.opened.append(tag)
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag


def _rows(text: str, header: str) -> list[list[str]]:
    """Read the rows of the table under a header, as GitHub splits them: at every bare pipe."""
    if header not in text:
        return []
    rule, *lines = text.split(f"{header}\n")[1].split("\n\n")[0].rstrip("\n").split("\n")
    assert rule.count("|") == header.count("|")
    for line in lines:
        assert line.startswith("| ")
        assert line.endswith(" |")
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    assert all(len(row) == header.count("|") - 1 for row in cells)
    return [[_text(cell) for cell in row] for row in cells]


def _text(cell: str) -> str:
    """Read a cell; where nothing is left that Markdown or HTML would read, its source is it."""
    bare = re.sub(r"</?code>", "", cell[1:-1])
    ours = " **FAILS**" if bare.endswith(" **FAILS**") else ""
    assert not re.search(r"[`\\*_~$\[\]<>\n\r]", bare.removesuffix(ours))
    return html.unescape(bare)


CHECKS = "| test | question | reliance | score | verdict | claim | model |"
MODELS = "| model | fingerprint | device | dtype | attention | executor | layers "
MODELS += "| parameters | copies |"


PROPERTIES = "| property | cases | baseline | candidate | change | interval | fell "
PROPERTIES += "| outcome | why |"


def _halves(text: str) -> tuple[str, str]:
    """What is said of the gate, and what of the checks."""
    gate, _, checks = f"\n{text}".rpartition("\n## Reliance\n\n")
    return gate, checks


def _fell(gate: schema.GateRecord | None) -> list[schema.RegressionRecord]:
    return [each for each in gate["regressions"] if not each["waived"]] if gate else []


def _all(report: schema.Report) -> list[tuple[schema.TestRecord, schema.CheckRecord]]:
    return [(test, check) for test in report["tests"] for check in test["checks"]]


def _fails(check: schema.CheckRecord) -> bool:
    return not check["held"] or not check["claims"]


@pytest.mark.parametrize("module", [github, gate_markdown, markdown])
def test_the_examples_hold(module: object) -> None:
    results = doctest.testmod(module)
    assert results.attempted
    assert not results.failed


@settings(max_examples=40)
@given(report=drawn.REPORTS)
def test_nothing_that_a_user_wrote_breaks_out_of_its_place(report: schema.Report) -> None:
    text = step_summary(report, limit=10**9)
    _Tags(text)
    text.encode("utf-8")
    assert all(re.match(r"$|## Rel|-?\d|\|[ -]|<[dpt/]", line) for line in text.split("\n"))
    shown = sorted((row[0], row[1], row[4], row[6]) for row in _rows(text, CHECKS))
    assert shown == sorted(
        tuple(
            portable(t) for t in (test["id"], check["question"], check["verdict"], check["model"])
        )
        for test, check in _all(report)
    )
    assert [row[0] for row in _rows(text, MODELS)] == [
        portable(m["name"]) for m in report["models"]
    ]
    properties = report["gate"]["properties"] if report["gate"] else []
    rows = _rows(text, PROPERTIES)
    assert len(rows) == len(properties)
    for each, row in zip(properties, rows, strict=True):
        assert row[0].startswith(portable(each["name"]))
        assert row[7].startswith(each["outcome"])
        assert row[8].startswith(portable(each["sentence"]))


@settings(max_examples=40)
@given(report=drawn.REPORTS)
def test_every_failed_check_is_explained_in_a_block_without_an_empty_line(
    report: schema.Report,
) -> None:
    """An empty line would end the HTML, and what follows would be read as Markdown."""
    of_gate, text = _halves(step_summary(report, limit=10**9))
    blocks = re.findall(r"(?<=\n\n)<details>.*?</details>\n", text, flags=re.DOTALL)
    failing = [check for _, check in _all(report) if _fails(check)]
    assert len(blocks) == _Tags(text).seen.count("details") == len(failing)
    fell = _fell(report["gate"])
    gates = re.findall(r"(?<=\n\n)<details>.*?</details>\n", of_gate, flags=re.DOTALL)
    assert len(gates) == _Tags(of_gate).seen.count("details") == len(fell)
    assert all("\n\n" not in block for block in gates)
    for each, block in zip(fell, gates, strict=True):
        said = [each["question"], each["new"]["answer"], *each["old"]["readings"], each["command"]]
        assert all(portable(part) in html.unescape(block) for part in said)
    assert all("\n\n" not in block for block in blocks)
    shown = html.unescape("".join(blocks))
    for check in failing:
        told = [check["reason"], check["answer"], *(e["reading"] for e in check["evidence"])]
        assert all(portable(part) in shown for part in told)


def test_failed_checks_come_first_and_say_so() -> None:
    report = samples.report(
        samples.of_test("held", samples.check(score=0.9, held=True)),
        samples.of_test("close", samples.check(score=0.7)),
        samples.of_test("far", samples.check(score=0.1)),
        samples.of_test("none", samples.check(score=None)),
        samples.of_test("bare", samples.check(score=0.9, held=True, claims=())),
    )
    rows = _rows(step_summary(report), CHECKS)
    names = [row[0].removeprefix("test_release.py::") for row in rows]
    assert names == ["none", "bare", "far", "close", "held"]
    assert [row[5].endswith(" **FAILS**") for row in rows] == [True] * 4 + [False]
    assert rows[0][3] == "undefined"
    assert rows[2][3] == "0.10 [0.10, 0.10]"
    assert "5 checks, 4 failed: MIXED 5." in step_summary(report)


def test_a_run_without_checks_has_no_tables_of_them() -> None:
    text = step_summary(samples.report(samples.of_test() | {"checks": [], "n_checks": 0}))
    assert "0 checks, 0 failed." in text
    assert CHECKS not in text


def _many(n_held: int, n_failed: int) -> schema.Report:
    bad = samples.check(score=0.1, question="Où est née Ada ?")
    failing = [samples.of_test(f"bad_{i}", bad) for i in range(n_failed)]
    held = [
        samples.of_test(f"good_{i}", samples.check(score=0.9, held=True)) for i in range(n_held)
    ]
    return samples.report() | {"tests": [*held, *failing]}


@given(n_held=st.integers(0, 6), n_failed=st.integers(0, 6), limit=st.integers(0, 20_000))
def test_what_is_left_out_is_counted_and_no_row_is_cut(
    n_held: int, n_failed: int, limit: int
) -> None:
    report = _many(n_held, n_failed)
    text = step_summary(report, limit=limit)
    assert len(text.encode()) <= limit
    n_explained = _Tags(text).seen.count("details")
    rows = _rows(text, CHECKS)
    left = re.search(
        r"\nLeft out, to stay within ([\d,]+) bytes: checks (\d+), explanations (\d+)\.", text
    )
    if left:
        assert left[1] == f"{limit:,}"
        assert len(rows) + int(left[2]) == n_held + n_failed
        assert n_explained + int(left[3]) == n_failed
        assert not n_explained or len(rows) >= n_failed, "no explanation of a check not named"
        assert n_explained == n_failed or len(rows) <= n_failed, "what held goes first"
    elif text:
        assert (len(rows), n_explained) == (n_held + n_failed, n_failed)
    else:
        assert limit < 300, "an empty summary where there was room to say something"


def test_as_much_is_shown_as_fits() -> None:
    report = _many(40, 3)
    whole = step_summary(report, limit=10**6)
    size = len(whole.encode())
    assert step_summary(report, limit=size) == whole
    # The closing sentence takes the room of one row or two.
    rows = _rows(step_summary(report, limit=size - 1), CHECKS)
    assert 40 <= len(rows) < 43


def test_a_megabyte_of_passages_still_fits_a_default_summary() -> None:
    long = "é|" * 400_000
    report = samples.report(
        samples.of_test("a", samples.check(question=long)), samples.of_test("b")
    )
    text = step_summary(report)
    assert len(text.encode()) < 100_000
    assert "…" in text
    assert len(_rows(text, CHECKS)) == _Tags(text).seen.count("details") == 2


# --- The gate


def _gated(*tests: schema.TestRecord, passes: bool = False) -> schema.Report:
    return samples.report(*tests) | {"gate": samples.gate(passes=passes)}


def test_the_gate_comes_first_and_reliance_is_a_heading_of_its_own() -> None:
    text = step_summary(_gated())
    assert text.startswith(
        "## Release gate: FAIL, <code>./candidate against ./released</code>\n\n<p>1 of 2 properties"
    )
    assert "</p>\n\n## Reliance\n\n1 check, 1 failed" in text
    assert step_summary(samples.report()).startswith("## Reliance\n\n1 check")


def test_a_gates_parts_stand_in_order() -> None:
    report = _gated()
    report["gate"]["waivers"].append(
        report["gate"]["waivers"][0] | {"is_expired": True, "expires": "2025-12-31"}
    )
    text = html.unescape(re.sub(r"<[^>]*>", "", step_summary(report)))
    parts = [
        "1 of 2 properties is shown to be worse: test_release.py::test_it, context",
        "To do: Look at the regressions below, the worst first",
        "| test_release.py::test_it, context | 40 | 0.98 | 0.79 | -0.19 | [-0.31, -0.11] "
        "| 9, allows 10.8 % to 38.5 % | FAIL | reads 0.19 less, at least 0.11 less with 95 % "
        "confidence: more than 0.05; 1 case left out |",
        "INCONCLUSIVE (not deciding) | unchanged on average",
        "Cases that fell by more than the margin, worst first:",
        "test_release.py::test_it[ada]: undefined",
        "test_release.py::test_it[ada]: -0.75",
        "Policy: margin:0.05, floor:0.8, confidence:0.95, inconclusive:fail, "
        "baseline rag-baselines/released.json; changes up to 0.0001 are rounding.",
        "Waiver: test_release.py::test_it[bob]: RAG-17: old name; holds until 2027-01-31",
        "EXPIRED, held until 2025-12-31; 1 case counts again.",
        "Warning: the device was cuda:0 and is cpu",
        "## Reliance",
    ]
    assert all(text.count(part) == 1 for part in parts)
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)


def test_old_and_new_stand_beside_each_other() -> None:
    blocks = re.findall(r"<details>.*?</details>", step_summary(_gated()), re.DOTALL)
    rows = re.findall(r"<tr>(.*?)</tr>", blocks[1])
    cells = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in rows]
    assert cells == [
        ["", "baseline", "candidate"],
        ["verdict", "SHORTCUT", "MEMORY"],
        ["score", "1.00 &#91;1.00, 1.00&#93;", "0.25 &#91;0.25, 0.25&#93;"],
        ["it says", "Cork", "Dublin"],
        ["the context says", "Cork", "Cork"],
        ["without context", "Dublin", "Dublin"],
        ["swap: follow", "1.00", "0.25"],
        ["knockout attribute -&#62; answer", "-0.50", "-0.50"],
    ]


def test_ten_cases_are_shown_and_the_rest_counted() -> None:
    report = _gated()
    one = report["gate"]["regressions"][1]
    report["gate"]["regressions"] = [one] * 1234 + [one | {"waived": "so it is"}]
    of_gate, _ = _halves(step_summary(report))
    assert of_gate.count("<details>") == 10
    assert "<p>1,224 more cases fell: --rag-report report.html shows all.</p>" in of_gate
    report["gate"]["regressions"] = [one] * 10
    assert "shows all" not in step_summary(report)


@given(n_fell=st.integers(0, 12), n_held=st.integers(0, 4), limit=st.integers(0, 20_000))
def test_what_the_gate_says_is_left_out_last(n_fell: int, n_held: int, limit: int) -> None:
    report = _many(n_held, 3) | {"gate": samples.gate()}
    report["gate"]["regressions"] = [report["gate"]["regressions"][1]] * n_fell
    whole = step_summary(report, limit=10**9)
    text = step_summary(report, limit=limit)
    assert len(text.encode()) <= limit
    if len(whole.encode()) <= limit:
        assert text == whole
    elif text:
        left = re.search(
            r"\nLeft out, to stay within [\d,]+ bytes: checks (\d+), explanations (\d+)"
            r"(?:, parts of the gate (\d+))?\.\n$", text
        )  # fmt: skip
        assert left
        _Tags(text)
        if left[3]:
            assert "## Reliance" not in text
            assert (int(left[1]), int(left[2])) == (n_held + 3, 3)
        else:
            assert text.startswith(_halves(whole)[0][1:])
    else:
        assert limit < 300, "an empty summary where there was room to say something"


def test_a_gate_that_does_not_pass_is_annotated_first_and_within_the_ten() -> None:
    failing = [samples.of_test(f"bad_{i}") for i in range(12)]
    lines = failure_annotations(_gated(*failing))
    command, properties, message = _read(lines[0])
    assert (command, properties) == ("error", {"title": "Release gate: FAIL"})
    assert message == (
        "1 of 2 properties is shown to be worse: test_release.py::test_it, context\n"
        "To do: Look at the regressions below, the worst first"
    )
    assert [_read(line)[0] for line in lines] == ["error"] * 10 + ["notice"]
    assert lines[-1] == "::notice::3 more checks failed"
    assert [_read(line)[0] for line in failure_annotations(_gated(*failing, passes=True))].count(
        "error"
    ) == 10
    assert gate_annotations(samples.gate(passes=True)) == gate_annotations(None) == []


def _read(line: str) -> tuple[str, dict[str, str], str]:
    """Read a workflow command as the runner does."""
    assert not re.search(r"[\r\n]", line)
    found = re.fullmatch(r"::(\w+)(?: ((?:(?!::).)*))?::(.*)", line, flags=re.DOTALL)
    assert found
    command, properties, message = found.groups()
    pairs = (part.split("=", 1) for part in (properties or "").split(",") if part)
    return command, {key: _unescaped(value) for key, value in pairs}, _unescaped(message)


def _unescaped(text: str) -> str:
    for escape, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ",")):
        text = text.replace(escape, character)
    return text.replace("%25", "%")


@settings(max_examples=40)
@given(report=drawn.REPORTS)
def test_annotations_survive_what_users_write(report: schema.Report) -> None:
    commands = [_read(line) for line in failure_annotations(report)]
    if report["gate"] and not report["gate"]["passes"]:
        command, properties, message = commands.pop(0)
        assert command == "error"
        assert properties.keys() == {"title"}
        assert properties["title"].startswith(f"Release gate: {report['gate']['outcome']}")
        assert message.startswith(portable(report["gate"]["sentence"]))
    failing = [(test, check) for test, check in _all(report) if _fails(check)]
    assert sorted((p["file"], p["line"], message) for _, p, message in commands) == sorted(
        (
            portable(test["file"]),
            str(test["line"]),
            portable(f"{test['id']}\n{check['verdict']}: {check['reason']}\n{check['question']}"),
        )
        for test, check in failing
    )
    for command, properties, _ in commands:
        assert command == "error"
        assert properties.keys() == {"file", "line", "title"}


def test_escapes_are_those_of_the_toolkit() -> None:
    test = samples.of_test("a", samples.check(question="5%,\r\n7:0A")) | {"file": "a,%0A:b\r\n.py"}
    (line,) = failure_annotations(samples.report(test))
    assert line.startswith("::error file=a%2C%250A%3Ab%0D%0A.py,line=7,title=context reliance")
    assert line.endswith("%0A5%25,%0D%0A7:0A")


def test_a_title_says_what_was_claimed() -> None:
    (line,) = failure_annotations(samples.report(samples.of_test("a[x,y]")))
    command, properties, message = _read(line)
    assert (command, properties["file"], properties["line"]) == ("error", "test_release.py", "7")
    assert properties["title"] == "context reliance 0.50, claimed > 0.8"
    assert message.startswith("test_release.py::a[x,y]\nMIXED: follow is")
    (line,) = failure_annotations(samples.report(samples.of_test("a", samples.check(claims=()))))
    assert _read(line)[1]["title"] == "context reliance 0.50, never compared"


@pytest.mark.parametrize(
    ("n_failed", "rest"), [(0, None), (10, None), (11, "1 more check "), (25, "15 more checks ")]
)
def test_ten_are_annotated_and_the_rest_counted(n_failed: int, rest: str | None) -> None:
    commands = [_read(line) for line in failure_annotations(_many(3, n_failed))]
    assert sum(command == "error" for command, _, _ in commands) == min(n_failed, 10)
    notices = [message for command, _, message in commands if command == "notice"]
    assert notices == ([f"{rest}failed"] if rest else [])
