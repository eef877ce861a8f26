"""The release gate in pytest: what passes, what fails, what is misuse, and what is written."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., pytest.RunResult]

# A model of formulas: its name says how strong the context path is, and the memory path.
CONFTEST = """
from pytest_ragshortcut import testing

def pytest_ragshortcut_load_model(settings):
    context, memory = map(float, settings.model.split("-")[1:3])
    return testing.PlantedModel(
        {"Ada Quill": "Oslo"}, ["Rome", "Cork", "Bern", "Lyon"],
        context_strength=context, memory_strength=memory, name=settings.model,
    )
"""
SUITE = """
import pytest
from pytest_ragshortcut import RagCase, assert_context_reliance, assert_parametric_reliance

def case(i):
    filler = f"Ticket number {i} is sold."
    return RagCase("Where was Ada Quill born?", ["Ada Quill was born in Rome.", filler],
                   context_answer="Rome", memory_answer="Oslo", substitutes=["Cork"])

@pytest.mark.parametrize("i", range(40))
def test_reads(rag_model, i):
    assert_context_reliance(rag_model, case(i), probes=())
"""
OTHER = """
@pytest.mark.parametrize("i", range(3))
def test_idle(rag_model, i):
    assert_parametric_reliance(rag_model, case(i), probes=())
"""
GOOD, BETTER, BAD, HALF = "planted-0.9-0.2", "planted-1.0-0.1", "planted-0.1-0.9", "planted-0.5-0.5"
BRIEF = """
from pytest_ragshortcut import Limits, Template
BRIEF = Template("{context}\\n{question}")

"""
POLICY = "margin:0.15, floor:0.6"
FILE = Path("rag-baselines/released.json")


@pytest.fixture
def gate(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the suite on a model; what else there is are pytest's arguments."""
    for name in list(os.environ):
        if name == "CI" or name.startswith(("RAG_", "GITHUB_")):
            monkeypatch.delenv(name)

    def asked(
        model: str, *arguments: str, suite: str = SUITE, conftest: str = CONFTEST
    ) -> pytest.RunResult:
        arguments = (f"--rag-model={model}", "--rag-summary=off", "-q", *arguments)
        if not any(each.startswith("--rag-compare-fail") for each in arguments):
            Path("pytest.ini").write_text(f"[pytest]\nrag_compare_fail = {POLICY}\n", "utf-8")
        return run(suite, *arguments, files={"conftest.py": conftest})

    return asked


@pytest.fixture
def released(gate: Run) -> Run:
    """As gate, with the good model saved as released."""
    result = gate(GOOD, "--rag-save=released")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["40 checks wait for the gate*", "baseline saved: *: 40 new, 0*"])
    return gate


def baseline() -> Any:
    return json.loads(FILE.read_text("utf-8"))


def change(**keys: Any) -> None:
    FILE.write_text(json.dumps({**baseline(), **keys}), "utf-8")


def test_a_model_that_reads_as_well_passes(released: Run) -> None:
    result = released(BETTER, "--rag-compare=released")
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"*gate: PASS, {BETTER} against {GOOD}*", "gate: PASS - *"])


def test_a_model_that_ignores_its_context_fails_and_is_explained(released: Run) -> None:
    result = released(BAD, "--rag-compare=released", "--rag-json=r.json", "--rag-report=r.html")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=40)
    result.stdout.fnmatch_lines(["*gate: FAIL*", "*worst first*", "to do: *"])
    made = json.loads(Path("r.json").read_text("utf-8"))["gate"]
    assert (made["outcome"], made["passes"]) == ("FAIL", False)
    assert len(made["regressions"]) == 40
    assert made["regressions"][0]["old"]["answer"] == "Rome"
    assert made["regressions"][0]["new"]["answer"] == "Oslo"
    assert "released.json" in made["action"]
    assert "gate" in Path("r.html").read_text("utf-8")


@pytest.mark.parametrize(("policy", "status"), [("fail", 1), ("warn", 0)])
def test_what_is_not_shown_is_inconclusive_and_the_policy_says_what_that_means(
    released: Run, policy: str, status: int
) -> None:
    expression = f"--rag-compare-fail=margin:0.05, inconclusive:{policy}"
    result = released(GOOD, "--rag-compare=released", expression)
    assert result.ret == status
    result.stdout.fnmatch_lines(["*gate: INCONCLUSIVE*", "to do: Compare about 42 more cases"])


def test_the_very_same_model_is_said_to_be_it(released: Run) -> None:
    result = released(GOOD, "--rag-compare=released")
    assert result.ret == 0
    said = " ".join(result.stdout.str().split())
    assert "unchanged on average" in said
    assert "0 of 40 cases fell by more than 0.15, which still allows 8.8 %" in said


def test_several_properties_are_corrected_and_one_may_be_primary(released: Run) -> None:
    both = SUITE + OTHER
    released(GOOD, "--rag-save=released", suite=both)
    result = released(GOOD, "--rag-compare=released", suite=both)
    assert result.ret == 1, "three cases show nothing"
    expression = f"--rag-compare-fail={POLICY}, primary:test_reads"
    result = released(GOOD, "--rag-compare=released", expression, suite=both)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*INCONCLUSIVE (not deciding)*"])


def test_a_part_of_the_cases_decides_nothing(released: Run) -> None:
    result = released(GOOD, "--rag-compare=released", "-k=test_reads and 3")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*27 checks are in the baseline alone*", "*--rag-update*"])


def test_what_cannot_be_decided_is_marked_on_github(
    released: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    result = released(GOOD, "--rag-compare=released", "-k=test_reads and 3")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = (line for line in result.outlines if line.startswith("::error"))
    assert line.startswith("::error title=Release gate%3A not decided::the baseline ")
    assert "%0A" in line


def test_new_cases_are_misuse_until_the_released_model_was_asked(released: Run) -> None:
    more = SUITE.replace("range(40)", "range(41)")
    result = released(GOOD, "--rag-compare=released", suite=more)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*1 check is in this run alone*", "*--rag-update-new-only*"])
    result = released(GOOD, "--rag-compare=released", "--rag-update-new-only", suite=more)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["baseline extended: *: 1 new, 0 changed, 0 dropped"])
    assert released(GOOD, "--rag-compare=released", suite=more).ret == 0


def test_an_update_takes_the_models_place_and_drops_what_is_gone(released: Run) -> None:
    fewer = SUITE.replace("range(40)", "range(38)")
    result = released(BETTER, "--rag-compare=released", "--rag-update", suite=fewer)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["baseline updated: *: 0 new, 38 changed, 2 dropped"])
    assert list(baseline()["models"]) == [BETTER]
    assert released(GOOD, "--rag-compare=released", suite=fewer).ret == 0


def test_unused_entries_are_reported(released: Run) -> None:
    fewer = SUITE.replace("range(40)", "range(39)")
    Path("pytest.ini").unlink()
    result = released(GOOD, "--rag-compare=released", "-p", "no:cacheprovider", suite=fewer)
    assert result.ret == pytest.ExitCode.USAGE_ERROR, "as a gate"
    Path("pytest.ini").write_text("[pytest]\nrag_min_context_reliance = 0.1\n", "utf-8")
    result = released_without_policy(released, fewer)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["compared with *: 39 checks in both, 0 only here, 1 only there"])
    result.stdout.fnmatch_lines(["1 unused, --rag-update drops them: *test_reads[[]39]*"])


def released_without_policy(released: Run, suite: str) -> pytest.RunResult:
    """Compare without a gate: the fixture writes a policy where no argument names one."""
    Path("pytest.ini").write_text("[pytest]\nrag_min_context_reliance = 0.1\n", "utf-8")
    return released(GOOD, "--rag-compare=released", "--rag-compare-fail=", suite=suite)


@pytest.mark.parametrize(
    ("option", "said"),
    [("--rag-probes=none", "--rag-probes="), ("--rag-seed=3", "--rag-seed=0")],
)
def test_other_probe_settings_are_misuse(released: Run, option: str, said: str) -> None:
    result = released(GOOD, "--rag-compare=released", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*it was made with {said}*"])
    assert "passed" not in result.stdout.str(), "it is said before anything runs"


def test_other_probes_of_a_marker_are_misuse(released: Run) -> None:
    marked = SUITE.replace(", probes=()", "").replace(
        "@pytest.mark.p", "@pytest.mark.rag(probes=['knockout'])\n@pytest.mark.p"
    )
    result = released(GOOD, "--rag-compare=released", suite=marked)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = " ".join(result.stdout.str().split())
    assert "was read with closed, swap, and in this run with closed, knockout, swap" in said


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("probes=()", "probes=(), limits=Limits(min_mass=0.1)"),
        ("(rag_model, case", "(rag_model.with_template(BRIEF), case"),
    ],
)
def test_other_limits_or_another_template_of_a_test_are_misuse(
    released: Run, before: str, after: str
) -> None:
    suite = SUITE.replace(before, after).replace("def case", f"{BRIEF}def case")
    result = released(GOOD, "--rag-compare=released", suite=suite)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = " ".join(result.stdout.str().split())
    assert "was asked with another prompt, or read with other limits" in said


def test_two_candidates_at_once_are_told_to_come_one_by_one(released: Run) -> None:
    result = released(f"{GOOD},{BETTER}", "--rag-compare=released")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = " ".join(result.stdout.str().split())
    assert "40 checks are in the baseline alone" in said
    assert "Compare one candidate at a time" in said


def test_misuse_is_said_before_any_test_runs(gate: Run) -> None:
    for arguments, said in (
        (["--rag-compare=nowhere"], "nowhere"),
        (["--rag-update"], "--rag-compare NAME"),
        (["--rag-compare-fail=margin:0.1"], "--rag-compare NAME"),
        (["--rag-compare-fail=margin"], "between 0 and 1"),
    ):
        result = gate(GOOD, *arguments)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert said in result.stderr.str()


def test_a_newer_baseline_is_misuse(released: Run) -> None:
    change(schema=99)
    result = released(GOOD, "--rag-compare=released")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*its schema is 99, newer than 2*"])


def test_a_baseline_of_schema_1_still_decides(released: Run) -> None:
    tests = baseline()["models"][GOOD]["tests"]
    old = {
        f"{test} | {entry['case']}": entry["reading"]["score"]
        for test, entries in tests.items()
        for entry in entries
    }
    FILE.write_text(json.dumps({"schema": 1, "model": GOOD, "scores": old}), "utf-8")
    result = released(BAD, "--rag-compare=released")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*gate: FAIL*", "*older schema*"])


def test_a_gate_that_collects_nothing_or_compares_nothing_does_not_pass(released: Run) -> None:
    assert released(GOOD, "--rag-compare=released", "-k=absent").ret not in (0, 1)
    result = released(GOOD, "--rag-compare=released", suite="def test_it(): pass")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["gate: FAIL - nothing was compared"])


def test_a_check_that_fails_by_itself_fails_the_gate(released: Run) -> None:
    failing = SUITE + "    assert i != 3\n"
    result = released(GOOD, "--rag-compare=released", suite=failing)
    assert result.ret == 1
    said = " ".join(result.stdout.str().split())
    assert "gate: FAIL - 1 test failed by itself:" in said


def test_a_gate_never_accepts_what_it_does_not_pass(released: Run) -> None:
    before = FILE.read_bytes()
    for name in ("released", str(FILE), str(FILE.resolve())):
        result = released(BAD, "--rag-compare=released", f"--rag-save={name}")
        assert result.ret == 1
        result.stdout.fnmatch_lines([f"not saved: {name} is what the gate compares with"])
        assert FILE.read_bytes() == before
    expression = "--rag-compare-fail=margin:0.1"
    result = released(BAD, "--rag-compare=released", "--rag-update", expression)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--rag-update has the value 'yes'*"])
    result = released(BAD, "--rag-compare=released", "--rag-update")
    result.stdout.fnmatch_lines(["no gate: an update takes the run as it is"])


def test_tests_that_did_not_pass_are_not_written(released: Run) -> None:
    failing = SUITE + "    assert i != 5\n"
    result = released(GOOD, "--rag-compare=released", "--rag-update", suite=failing)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["not in a baseline: 1 tests that did not pass"])
    result.stdout.fnmatch_lines(["baseline updated: *: 0 new, 0 changed, 0 dropped"])


def test_what_a_plugin_deselects_is_not_gone(released: Run) -> None:
    Path("conftest.py").unlink()
    shard = (
        CONFTEST
        + """
def pytest_collection_modifyitems(items):
    del items[::2]
"""
    )
    result = released(GOOD, "--rag-compare=released", "--rag-update", conftest=shard)
    result.stdout.fnmatch_lines(["baseline updated: *: 0 new, 0 changed, 0 dropped"])


def test_a_run_that_was_broken_off_decides_and_writes_nothing(released: Run) -> None:
    before = FILE.read_bytes()
    broken = SUITE + "    if i == 5: pytest.exit('enough')\n"
    result = released(BETTER, "--rag-save=released", "--rag-compare=released", suite=broken)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert FILE.read_bytes() == before


def test_a_comparison_that_is_misuse_loses_no_values(released: Run) -> None:
    result = released(GOOD, "--rag-compare=released", "--rag-seed=3", "--rag-save=other",
                      "--rag-json=r.json")  # fmt: skip
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert Path("rag-baselines/other.json").exists()
    (note,) = json.loads(Path("r.json").read_text("utf-8"))["notes"]
    assert "it was made with --rag-seed=0" in note


def test_a_first_run_may_save_what_the_next_compares_with(gate: Run) -> None:
    result = gate(GOOD, "--rag-compare=released", "--rag-save=released")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["nothing to compare with yet: *"])
    assert gate(GOOD, "--rag-compare=released", "--rag-save=released").ret == 0


def test_help_needs_no_baseline(gate: Run) -> None:
    assert gate(GOOD, "--rag-compare=nowhere", "--help").ret == 0
    assert gate(GOOD, "--rag-compare=nowhere", "--collect-only").ret == 0


def test_a_test_of_more_checks_than_a_report_holds_is_refused(
    gate: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_ragshortcut.gathering.N_KEPT", 2)
    many = SUITE + "    for j in range(3): assert_context_reliance(rag_model, case(j), probes=())\n"
    result = gate(GOOD, "--rag-save=released", suite=many)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*the report holds the worst 2*", "*parametrize*"])


def test_a_model_that_was_not_asked_is_told_of(released: Run) -> None:
    released(BETTER, "--rag-save=released")
    result = released(BETTER, "--rag-compare=released")
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"*baseline's {GOOD} was compared with no model*"])


def test_collecting_alone_is_no_gate(released: Run) -> None:
    assert released(GOOD, "--rag-compare=released", "--collect-only").ret == 0


def test_in_ci_nothing_is_written_unless_the_command_line_says_so(
    gate: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("RAG_SAVE", "released")
    result = gate(GOOD)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["no baseline is written in CI*--rag-save*"])
    assert not FILE.exists()
    monkeypatch.delenv("RAG_SAVE")
    gate(GOOD, "--rag-save=released")
    assert FILE.exists()


def _waiver(days: int, **keys: str) -> dict[str, str]:
    last = datetime.now(UTC).date() + timedelta(days=days)
    test = "test_a_waiver_lets_a_case_be_worse_until_its_day.py::test_reads"
    return {"test": test, "reason": "RAG-17", "expires": last.isoformat(), **keys}


def test_a_waiver_lets_a_case_be_worse_until_its_day(released: Run) -> None:
    test = next(iter(baseline()["models"][GOOD]["tests"]))
    worse = SUITE.replace(
        "    assert_context_reliance(rag_model",
        "    if i == 7: rag_model = rag_model.__class__(rag_model.facts, rag_model.answers,"
        " context_strength=0.0, memory_strength=1.0, name=rag_model.name)\n"
        "    assert_context_reliance(rag_model",
    )
    command = "--rag-compare=released", "--rag-compare-fail=margin:0.15, fell:0.1"
    assert released(GOOD, *command, suite=worse).ret == 1
    one = re.sub(r"\[\d+\]", "[7]", test)
    change(waivers=[_waiver(1, test=one)])
    result = released(GOOD, *command, suite=worse)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*RAG-17*", "*leaves out 1 case*"])
    change(waivers=[_waiver(-1, test=one)])
    result = released(GOOD, *command, suite=worse)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*EXPIRED*", "*a waiver has expired*"])


def test_updates_keep_waivers(released: Run) -> None:
    change(waivers=[{**_waiver(9), "case": ""}])
    released(BETTER, "--rag-compare=released", "--rag-update")
    assert [each["reason"] for each in baseline()["waivers"]] == ["RAG-17"]


def test_saving_the_same_again_leaves_the_file_alone(released: Run) -> None:
    before = FILE.stat().st_mtime_ns
    result = released(GOOD, "--rag-save=released")
    result.stdout.fnmatch_lines(["baseline saved: *: 0 new, 0 changed, 0 dropped"])
    assert FILE.stat().st_mtime_ns == before


def test_a_failing_test_does_not_hide_that_the_gate_cannot_decide(released: Run) -> None:
    failing = SUITE + "\ndef test_other(): assert False\n"
    assert released(GOOD, "--rag-compare=released", suite=failing).ret == 1
    raising = SUITE.replace("def test_reads(rag_model, i):\n", "def test_reads(rag_model, i):\n"
                            "    assert i != 3\n")  # fmt: skip
    result = released(GOOD, "--rag-compare=released", suite=raising)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*1 check is in the baseline alone*"])


def test_what_strategies_draw_is_in_no_baseline(gate: Run) -> None:
    drawn = """
from hypothesis import given
from pytest_ragshortcut import RagCase, assert_context_reliance, contexts

@given(context=contexts("Ada Quill was born in Rome.", answer="Rome"))
def test_drawn(rag_model, context):
    case = RagCase("Where was Ada Quill born?", context, context_answer="Rome",
                   memory_answer="Oslo", substitutes=["Cork"])
    assert_context_reliance(rag_model, case, probes=()) > 0.1
"""
    result = gate(GOOD, "--rag-save=released", suite=drawn)
    result.stdout.fnmatch_lines(["baseline saved: *: 0 new*"])
    result = gate(GOOD, suite=drawn.replace(" > 0.1", ""))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*UncomparedError*"])
