"""What a run leaves behind: drawings, files, properties, lines, also from several processes."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_ragshortcut.models.workers import worker_device
from pytest_ragshortcut.reporting.progress import Progress
from pytest_ragshortcut.reporting.store import load_report

Run = Callable[..., pytest.RunResult]
TWO = """
def test_plain():
    pass

def test_reads(rag_model):
    assert_context_reliance(rag_model, CORK, probes=()) > 0.8

def test_fails(rag_model):
    assert_context_reliance(rag_model, CORK, probes=()) < 0.2
"""
FILES = ("--rag-report=r.html", "--rag-json=r.json", "--rag-metrics=m.txt", "--rag-summary=s.md")


def test_a_failure_shows_where_the_answer_came_from(run: Run) -> None:
    result = run(TWO)
    result.stdout.fnmatch_lines(
        [
            "*- where the answer came from -*",
            "The answer came from passage 0*Eavan Boland was born in Cork.*",
            "*prompt of * tokens*",
            "*attribute corrupted*",
            "*attention knockout*",
            "*pytest --rag-report report.html",
        ]
    )
    assert "\x1b[" not in result.stdout.str()
    assert "\x1b[30;43m" in run(TWO, "--color=yes").stdout.str()


@pytest.mark.parametrize(
    ("arguments", "drawn"),
    [(("-q",), True), (("--tb=short",), True), (("--tb=no",), False), (("-vv",), True)],
)
def test_it_keeps_to_what_pytest_was_asked_to_show(run: Run, arguments: Any, drawn: bool) -> None:
    text = run(TWO, *arguments).stdout.str()
    assert ("The answer came from passage 0" in text) == drawn
    assert ("prompt of" in text) == (drawn and "-q" not in arguments)


def test_the_command_runs_the_case_as_it_was_run(run: Run) -> None:
    marked = TWO.replace("test_fails", "test_a_b")
    flags = ("--rag-model=embedded:copier", "--rag-min-context-reliance=0.5")
    result = run(marked, *flags, "--rag-json=r.json")
    line = next(line for line in result.outlines if "this case alone:" in line)
    command = line.split("alone:  ")[1]
    assert command.endswith(f'::test_a_b" {" ".join(flags)}')
    assert command in {test["command"] for test in load_report(Path("r.json"))["tests"]}


def test_every_file_is_written_and_said(run: Run) -> None:
    result = run(TWO, *FILES)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["report: file://*r.html", "JSON: r.json", "metrics: m.txt"])
    report = load_report(Path("r.json"))
    assert [test["id"].split("::")[1] for test in report["tests"]] == ["test_fails", "test_reads"]
    checks = [check for test in report["tests"] for check in test["checks"]]
    assert [check["held"] for check in checks] == [False, True]
    # A page is asked for, so that what holds is explained too.
    assert all(check["explanation"] for check in checks)
    assert report["models"][0]["name"] == "embedded:reader"
    assert "test_reads" in Path("r.html").read_text(encoding="utf-8")
    assert Path("m.txt").read_text(encoding="utf-8").endswith("# EOF\n")
    assert "fails" in Path("s.md").read_text(encoding="utf-8")


def test_a_file_that_cannot_be_written_loses_nothing_else(run: Run) -> None:
    Path("file").touch()
    result = run(TWO, "--rag-report=file/r.html", "--rag-json=new/r.json", "-k", "not fails")
    result.assert_outcomes(passed=2, deselected=1)
    result.stdout.fnmatch_lines(["not written: *file*", "JSON: new/r.json"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert run(TWO, "--rag-json=new/r.json", "-k", "not fails").ret == 0


def test_a_file_that_was_asked_for_is_there_though_nothing_was_checked(run: Run) -> None:
    result = run(TWO, *FILES, "-k", "plain")
    result.stdout.fnmatch_lines(["report: file://*r.html", "JSON: r.json"])
    result.stdout.no_fnmatch_line("*reliance:*")
    assert load_report(Path("r.json"))["tests"] == []


def test_what_holds_is_explained_only_for_a_page(run: Run) -> None:
    count = (
        "def pytest_ragshortcut_update_record(record): print('HAS', bool(record['explanation']))"
    )
    result = run(TWO, "-s", files={"conftest.py": count})
    assert sorted(line[-5:].strip() for line in result.outlines if "HAS " in line) == [
        "False",
        "True",
    ]


def test_github_gets_a_summary_and_annotations(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "step.md")
    result = run(TWO)
    result.stdout.fnmatch_lines(["::error file=*,line=*,title=*"])
    Path("step.md").write_text("before\n", encoding="utf-8")
    run(TWO)
    text = Path("step.md").read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert "1 failed" in text
    Path("step.md").unlink()
    run(TWO, "--rag-summary=off")
    assert not Path("step.md").exists()


def test_junit_holds_the_worst_check_as_properties(run: Run) -> None:
    run(TWO, "--junitxml=j.xml")
    cases = ET.parse("j.xml").getroot().iter("testcase")
    found = {
        case.get("name"): {p.get("name"): p.get("value") for p in case.iter("property")}
        for case in cases
    }
    assert not found["test_plain"]
    assert found["test_fails"]["rag_verdict"] == "SHORTCUT"
    assert found["test_fails"]["rag_held"] == "False"
    assert float(found["test_reads"]["rag_score"]) > 0.8


SPREAD = """
import pytest
from pytest_ragshortcut import *

@pytest.mark.parametrize("town", ["Cork", "Rome", "Oslo", "Lima"])
def test_it(rag_model, town):
    passage = f"Eavan Boland was born in {town}."
    limit = 0.8 if town != "Lima" else 1.0
    assert_context_reliance(rag_model, "Where was Eavan Boland born?", passage, probes=()) > limit
"""


def _said(report: Any) -> Any:
    """What is of the model and not of the run, to the digits that packing leaves alone."""
    return [
        (test["id"], test["outcome"], c["claims"], c["verdict"], c["answer"], round(c["score"], 5))
        for test in report["tests"]
        for c in test["checks"]
    ]


def test_two_processes_say_what_one_says(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SPREAD)
    said = {}
    for n in ("0", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-n", n, "-p", "no:cacheprovider", "--color=no",
             "-p", "no:randomly", f"--rag-json={n}.json", f"--rag-report={n}.html"],
            cwd=pytester.path, capture_output=True, text=True, check=False,
            env=dict(os.environ, OMP_NUM_THREADS="1"),
        )  # fmt: skip
        assert done.returncode == 1, done.stdout + done.stderr
        said[n] = done.stdout
    one, two = (load_report(pytester.path / f"{n}.json") for n in ("0", "2"))
    assert [model["n_copies"] for model in (*one["models"], *two["models"])] == [1, 2]
    assert _said(one) == _said(two)
    assert len(_said(one)) == 4
    assert "2 copies of 2.1 MiB" in said["2"]
    assert "The answer came from passage 0" in said["2"]


def test_gpus_are_dealt_out_of_the_callers_list() -> None:
    def dealt(worker: str, shown: str | None, n: int = 4) -> str | None:
        environment = {"PYTEST_XDIST_WORKER": worker} | (
            {"CUDA_VISIBLE_DEVICES": shown} if shown is not None else {}
        )
        return worker_device(n, environment)

    assert [dealt(f"gw{i}", None) for i in range(5)] == ["0", "1", "2", "3", "0"]
    assert [dealt(f"gw{i}", "GPU-a, 7") for i in range(3)] == ["GPU-a", "7", "GPU-a"]
    assert dealt("gw1", "") is dealt("gw1", "5") is dealt("master", None) is None
    assert worker_device(4, {}) is None


def test_a_long_run_is_seen_to_move_and_a_short_one_is_not() -> None:
    now, lines = [0.0], []
    progress = Progress(lines.append, clock=lambda: now[0])
    for second in range(60):
        now[0] = float(second)
        progress.count({"work": {"forwards": 2.0 if second else None}})
    assert lines[0] == "rag: 6 checks, 10 forwards, 5 s"
    assert len(lines) == 4
    progress = Progress(lines.append, clock=lambda: 0.0)
    progress.count({"work": {"forwards": None}})
    assert len(lines) == 4


def test_progress_is_seen_through_capture(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_ragshortcut.reporting.progress._FIRST_S", 0.0)
    result = run(TWO)
    result.stdout.fnmatch_lines(["rag: 1 check, * forwards, 0 s"])
