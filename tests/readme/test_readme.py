"""The README's code runs, its tables are the program's own, and its pasted output is today's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from calibration import pictures, run, seeds, tables

from pytest_ragshortcut.baselines.claims import Pair
from pytest_ragshortcut.baselines.decision import Outcome, judge
from pytest_ragshortcut.baselines.policy import Policy
from pytest_ragshortcut.config import option_table
from pytest_ragshortcut.models import embedded

ROOT = Path(__file__).parents[2]
README = ROOT.joinpath("README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)

CASES = """
{"question": "Where was Eavan Boland born?", "passages": ["Eavan Boland was born in Cork."]}
"""
"""What one of the blocks reads."""


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.splitlines()[0][:40])
def test_python_block_runs(block: str, tmp_path: Path) -> None:
    is_conftest = block.startswith("# conftest.py")
    name = "conftest.py" if is_conftest else "test_block.py"
    tmp_path.joinpath(name).write_text(block, encoding="utf-8")
    tmp_path.joinpath("cases.jsonl").write_text(CASES, encoding="utf-8")
    if is_conftest:
        asks = "def test_it(rag_model): assert rag_model.n_layers\n"
        tmp_path.joinpath("test_block.py").write_text(asks, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def _marked(name: str) -> str:
    return README.split(f"<!-- {name} -->\n")[1].split("<!-- end -->")[0]


def test_the_option_table_is_the_programs() -> None:
    rows = [
        f"| `{flag}` | `{spellings}` | {default or '—'} | {text} |"
        for flag, spellings, default, text in option_table()
    ]
    assert _marked("options").strip().splitlines()[2:] == rows


def test_so_many_cases_show_that_a_property_is_no_worse() -> None:
    rows = [line.strip("|").split("|") for line in _marked("sizes").strip().splitlines()[2:]]
    for margin, *needed in ([float(cell) for cell in row] for row in rows):
        for n_lost, n in enumerate(map(int, needed)):
            passes = [_passes(n - fewer, n_lost, margin) for fewer in (0, 1)]
            assert passes == [True, False]


def _passes(n: int, n_lost: int, margin: float) -> bool:
    pairs = [Pair(1.0, 0.0)] * n_lost + [Pair(1.0, 1.0)] * (n - n_lost)
    return judge({"test": pairs}, Policy(margin), tolerance=0.0)[0].outcome is Outcome.PASS


def test_the_table_of_embedded_models_is_what_was_measured() -> None:
    assert _marked("spec").strip() == seeds.shipped(seeds.read_stored())
    assert {row["model"] for row in seeds.read_stored()} >= set(embedded.NAMES)


SHOWN_OF_HUNTS = (
    "defect", "what the model does", "found", "examples to find it", "contexts to shrink it",
    "sentences left",
)  # fmt: skip


def hunts_table(results: str) -> str:
    """Take the columns of the first table that a reader of the README needs."""
    lines = [line for line in results.split("\n\n")[3].splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    columns = [rows[0].index(name) for name in SHOWN_OF_HUNTS]
    rows[1] = ["---"] * len(rows[0])
    return "\n".join("| " + " | ".join(row[c] for c in columns) + " |" for row in rows)


def test_the_table_of_hunts_is_what_was_measured() -> None:
    results = ROOT.joinpath("tests/benchmarks/results/hunts.md").read_text(encoding="utf-8")
    assert _marked("hunts").strip() == hunts_table(results)


def test_the_page_on_planted_models_shows_what_is_kept() -> None:
    page = run.PAGE.read_text(encoding="utf-8")
    kept = run.read_stored(run.RESULTS / run.KEPT)
    pieces = tables.excerpts(kept) | {"seeds": seeds.report(seeds.read_stored())}
    assert page.count("<!-- end -->") == len(pieces)
    assert tables.filled(page, pieces) == page
    for picture in ("degrees.svg", "paper.svg"):
        assert f"]({picture})" in page
        drawn = run.PAGE.with_name(picture).read_text(encoding="utf-8")
        assert pictures.digest(kept) in drawn


def test_the_example_on_the_page_runs() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", run.PAGE.read_text("utf-8"), flags=re.DOTALL)
    exec(block, {})


@pytest.mark.parametrize(
    ("name", "folder"),
    [("failure", "meant_to_fail"), ("drawing", "meant_to_fail"), ("table", "faithfulness")],
)
def test_pasted_output_is_what_a_run_prints(name: str, folder: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", f"example_suites/{folder}", "-p", "no:cacheprovider",
         "-p", "no:randomly"],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**_environment()},
    )  # fmt: skip
    printed = [line.rstrip() for line in done.stdout.splitlines()]
    shown = _marked(name).strip().removeprefix("```text\n").removesuffix("```").splitlines()
    assert len(shown) > 5
    missing = [line for line in shown if line.rstrip() and line.rstrip() not in printed]
    assert not missing, "\n".join(missing)


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "COLUMNS": "120", "HF_HUB_OFFLINE": "1"}
