"""Beside other plugins and under strict settings: the same verdicts, and each test told once."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

BODY = """
from pathlib import Path
import pytest
from pytest_ragshortcut import *

@pytest.mark.rag(probes=())
@pytest.mark.parametrize("town", ["Cork", "Rome"])
def test_it(rag_model, town):
    check = assert_context_reliance(
        rag_model, "Where was Eavan Boland born?", f"Eavan Boland was born in {town}."
    )
    tried = Path(f"{town}.tried")
    if town == "Rome" and not tried.exists():
        tried.touch()
        assert check < 0.2
    assert check > 0.8
"""
FIRST_FAILS = {"Cork": "passed", "Rome": "failed"}


@pytest.mark.parametrize(
    ("arguments", "outcomes"),
    [
        (("-p", "randomly", "-p", "no:cacheprovider"), FIRST_FAILS),
        (("-p", "no:randomly", "--strict-markers", "--strict-config", "-W", "error"), FIRST_FAILS),
        (("-p", "no:terminal",), FIRST_FAILS),
        (("-p", "no:capture",), FIRST_FAILS),
        (("--reruns=1",), {"Cork": "passed", "Rome": "passed"}),
        (("--reruns=1", "-n2"), {"Cork": "passed", "Rome": "passed"}),
    ],
    ids=" ".join,
)  # fmt: skip
def test_the_report_says_the_same(
    pytester: pytest.Pytester, arguments: tuple[str, ...], outcomes: dict[str, str]
) -> None:
    pytester.makepyfile(BODY)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--rag-json=r.json", *arguments],
        cwd=pytester.path, capture_output=True, text=True, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert "INTERNALERROR" not in done.stdout + done.stderr
    failed = [town for town, outcome in outcomes.items() if outcome == "failed"]
    assert done.returncode == bool(failed), done.stdout + done.stderr
    report = json.loads(pytester.path.joinpath("r.json").read_text(encoding="utf-8"))
    told = {test["id"].split("[")[1].rstrip("]"): test["outcome"] for test in report["tests"]}
    assert told == outcomes
    assert [len(test["checks"]) for test in report["tests"]] == [1, 1]
