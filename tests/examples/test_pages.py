"""The suites' pages: they show what their commands print, and their code is the suites' own."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from examples.refresh import PAGES, SUITES, alike, copied, pasted, printed, refreshed, run

CODE = re.compile(r"^```python\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
COMMANDS = re.compile(r"^```bash\n([^\n]+)\n```", flags=re.MULTILINE)
SHOWING = [page for page in PAGES if pasted(page)]
INSTEAD = {"fuzzing": 1, "two_models": 1}
"""Folder -> how many of its blocks of code, the last ones, are not the suite's."""

QUICK = """\
=================== test session starts ====================
collected 4 items

suite/test_it.py
rag: embedded:reader · eb1932b0585a · cpu · float32 · seed 0
.
suite/test_it.py ...                               [100%]
=========== reliance: embedded:reader ============

test   score  claim
test_a  0.99  > 0.8

CONTEXT 4  of 4 checks, 0 failed
82 forwards, 1.5 s; 120 of 211 readings remembered
=================== 4 passed in 6.34s ====================
"""
SLOW = """\
=================== test session starts ====================
collected 4 items

suite/test_it.py
rag: embedded:reader · 0123456789ab · cpu · float32 · seed 0
.
suite/test_it.py .
suite/test_it.py .
suite/test_it.py .                                 [100%]
========= reliance: embedded:reader ==========
test   score  claim
test_a  0.99  > 0.8

CONTEXT 4  of 4 checks, 0 failed
82 forwards, 21.5 s; 120 of 211 readings remembered
================= 4 passed in 26.34s =================
"""


@pytest.mark.parametrize("page", SHOWING, ids=lambda page: page.parent.name)
def test_a_page_shows_what_its_commands_print(page: Path, tmp_path: Path) -> None:
    copied(tmp_path)
    for each in pasted(page):
        now = printed(each.command, tmp_path, status=each.status)
        assert alike(each.shown, now), f"python tests/examples/refresh.py {page.parent.name}\n{now}"


@pytest.mark.parametrize("page", SHOWING, ids=lambda page: page.parent.name)
def test_every_other_command_finds_tests(page: Path, tmp_path: Path) -> None:
    copied(tmp_path)
    shown = [each.command for each in pasted(page)]
    for command in COMMANDS.findall(page.read_text(encoding="utf-8")):
        if command not in shown:
            done = run(f"{command} --collect-only -q", tmp_path)
            assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", SHOWING, ids=lambda page: page.parent.name)
def test_a_pages_code_is_the_suites_own(page: Path) -> None:
    texts = [file.read_text(encoding="utf-8") for file in page.parent.rglob("*.py")]
    lines = {line.strip() for text in texts for line in text.splitlines()}
    blocks = CODE.findall(page.read_text(encoding="utf-8"))
    for block in blocks[: len(blocks) - INSTEAD.get(page.parent.name, 0)]:
        assert {line.strip() for line in block.splitlines()} <= lines


def test_every_suite_has_a_row_and_every_new_one_a_page() -> None:
    table = SUITES.joinpath("README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[`(\w+)`\]\(([^)]+)\)", table, flags=re.MULTILINE)
    folders = {file.parent.name for file in SUITES.glob("*/pytest.ini")} | {"script"}
    assert {name for name, _ in rows} == folders
    assert all(SUITES.joinpath(link).is_file() for _, link in rows)
    assert len(SHOWING) == 8


def test_a_limit_may_stand_in_the_ini_instead(tmp_path: Path) -> None:
    suite = copied(tmp_path) / "example_suites" / "case_file"
    (file,), page = suite.glob("*.py"), suite.joinpath("README.md").read_text(encoding="utf-8")
    text = file.read_text(encoding="utf-8")
    assert text.count("min_context_reliance=0.8, ") == 1
    file.write_text(text.replace("min_context_reliance=0.8, ", ""), encoding="utf-8")
    (ini,) = re.findall(r"^```ini\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    one = 'pytest "test_case_file.py::test_reads_what_was_logged[where-was-karl-marx-born-8acdc2]"'
    suite.joinpath("pytest.ini").write_text(ini, encoding="utf-8")
    assert ">= 0.8" in printed(one, suite)


def test_models_may_be_named_on_the_command_line_instead(tmp_path: Path) -> None:
    suite = copied(tmp_path) / "example_suites" / "two_models"
    (file,), page = suite.glob("*.py"), suite.joinpath("README.md").read_text(encoding="utf-8")
    text = file.read_text(encoding="utf-8")
    assert text.count("model=[LAST, NEXT], ") == 1
    begins = text.index("def test_next_reads_no_less")
    other = CODE.findall(page)[-1]
    file.write_text(text[:begins].replace("model=[LAST, NEXT], ", "") + other, encoding="utf-8")
    both = "embedded:memoriser,embedded:reader"
    now = printed(f"pytest --rag-model {both} -k next", suite)
    assert "3 passed" in now
    assert "mixture" not in now


def test_the_script_runs_without_matplotlib(tmp_path: Path) -> None:
    copied(tmp_path)
    missing = tmp_path / "missing"
    missing.mkdir()
    missing.joinpath("matplotlib.py").write_text("raise ImportError\n", encoding="utf-8")
    path = os.pathsep.join([str(missing), os.environ.get("PYTHONPATH", "")])
    done = run("python example_suites/script/explain.py", tmp_path, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert "not drawn: .plot() needs matplotlib" in done.stdout
    assert not tmp_path.joinpath("trace.png").exists()
    assert "<svg" in tmp_path.joinpath("trace.html").read_text(encoding="utf-8")


def test_a_slow_run_on_other_weights_is_alike() -> None:
    assert alike(QUICK, SLOW)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.99  > 0.8", "0.96  > 0.8"),
        ("> 0.8", "> 0.7"),
        ("CONTEXT", "MEMORY"),
        ("4 passed", "3 passed"),
        ("4 passed", "4 passed, 1 warning"),
        ("test_a  0.99", "test_b  0.99"),
        ("82 forwards", "84 forwards"),
        ("eb1932b0585a · cpu", "eb1932b0585a · cuda"),
        ("test_a  0.99  > 0.8\n", ""),
    ],
)
def test_what_has_changed_is_seen(old: str, new: str) -> None:
    assert old in QUICK
    assert not alike(QUICK, QUICK.replace(old, new))


def test_refreshing_pastes_what_is_no_longer_so_and_that_alone(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    text = (
        "Before.\n\n```bash\npython --version\n```\n\n<!-- output -->\n```text\n{}```\n\nBehind.\n"
    )
    page.write_text(text.format("Python 1.2.3\n"), encoding="utf-8")
    now = printed("python --version", tmp_path)
    assert refreshed(page, tmp_path) == text.format(now)
    page.write_text(text.format(now), encoding="utf-8")
    assert refreshed(page, tmp_path) == text.format(now)
