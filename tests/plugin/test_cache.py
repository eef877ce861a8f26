"""What a run of pytest leaves for the next, and how its workers share the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from pytest_ragshortcut.models.workers import worker_threads

Run = Callable[..., pytest.RunResult]
CLAIM = """
@pytest.fixture(autouse=True)
def counted(rag_model, monkeypatch):
    executor = rag_model._engine.executor
    calls = []
    for name in ("run", "next_logits"):
        def call(asked, whole=getattr(executor, name)):
            calls.append(1)
            return whole(asked)
        monkeypatch.setattr(executor, name, call)
    yield
    print("FORWARDS" if calls else "NONE")

def test_it(rag_model):
    assert_context_reliance(rag_model, CORK) > 0.8
"""


def _said(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if "FORWARDS" in line or "NONE" in line]


def _table(result: pytest.RunResult) -> list[str]:
    start = next(i for i, line in enumerate(result.outlines) if "reliance:" in line)
    return result.outlines[start + 1 : start + 4]


def test_a_second_run_finds_the_first_ones_results(run: Run, pytester: pytest.Pytester) -> None:
    first = run(CLAIM, "-s", "--rag-cache=kept")
    again = run(CLAIM, "-s", "--rag-cache=kept")
    for result in (first, again):
        result.assert_outcomes(passed=1)
    assert "FORWARDS" in _said(first)[0]
    assert "NONE" in _said(again)[0]
    assert _table(first) == _table(again)
    assert list(pytester.path.joinpath("kept").rglob("*.safetensors"))


def test_another_model_is_not_answered_for(run: Run) -> None:
    run(CLAIM, "--rag-cache=kept").assert_outcomes(passed=1)
    result = run(CLAIM, "-s", "--rag-cache=kept", "--rag-model=embedded:memoriser")
    result.assert_outcomes(failed=1)
    assert "FORWARDS" in _said(result)[0]


def test_without_the_option_nothing_is_left(run: Run, pytester: pytest.Pytester) -> None:
    for _ in range(2):
        assert "FORWARDS" in _said(run(CLAIM, "-s"))[0]
    assert not list(pytester.path.rglob("*.safetensors"))


def test_a_cache_that_cannot_be_written_to_is_an_error_of_the_test(
    run: Run, pytester: pytest.Pytester
) -> None:
    pytester.path.joinpath("file").write_text("in the way", encoding="utf-8")
    result = run(CLAIM, "--rag-cache=file")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*OptionError: --rag-cache has the value *"])


@pytest.mark.parametrize(
    ("n_cores", "workers", "threads"),
    [(8, "2", 4), (8, "3", 2), (2, "8", 1), (1, "1", 1), (8, "1", 8)],
)
def test_a_worker_takes_its_share_of_the_cores(n_cores: int, workers: str, threads: int) -> None:
    assert worker_threads(n_cores, {"PYTEST_XDIST_WORKER_COUNT": workers}) == threads


@pytest.mark.parametrize(
    "environment",
    [{}, {"PYTEST_XDIST_WORKER_COUNT": "2", "OMP_NUM_THREADS": "3"},
     {"PYTEST_XDIST_WORKER_COUNT": "many"}, {"PYTEST_XDIST_WORKER_COUNT": ""}],
)  # fmt: skip
def test_outside_a_worker_or_where_the_user_said_it_stays_as_it_is(
    environment: dict[str, str],
) -> None:
    assert worker_threads(8, environment) is None


# Four cores, whatever the machine has, and the executor that says why it is slow.
SPREAD_CONFTEST = """
def pytest_configure(config):
    if hasattr(config, "workerinput"):
        import torch
        from pytest_ragshortcut.models import workers
        torch.set_num_threads(4)
        workers._n_cores = lambda: 4
"""
SPREAD = """
import pytest

@pytest.mark.parametrize("number", range(2))
def test_it(rag_model, number):
    import torch
    assert torch.get_num_threads() == 2
    assert rag_model.note
"""


def test_under_xdist_threads_are_shared_and_workers_tell_of_the_model(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeconftest(SPREAD_CONFTEST)
    pytester.makepyfile(SPREAD)
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n2", "-p", "no:cacheprovider",
         "--rag-executor=reference"],
        cwd=pytester.path, capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert "2 passed" in done.stdout, done.stdout
    assert done.stdout.count("runs on the reference executor") == 1
