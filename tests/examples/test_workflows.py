"""The templates for continuous integration: their commands are run, and leave what is kept."""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from examples.refresh import SUITES, run
from pytest_ragshortcut.reporting.store import load_report

SUITE = SUITES / "github_actions"


@dataclass(frozen=True)
class Pipeline:
    """What a template runs, and what it keeps of the folder it ran in."""

    lines: tuple[str, ...]
    """Every command."""
    variables: dict[str, str]
    cached: str
    kept: tuple[str, ...]

    @property
    def command(self) -> str:
        """The one command that is pytest."""
        (found,) = (line for line in self.lines if line.startswith("pytest"))
        return found


def _read(name: str) -> Any:
    return yaml.safe_load(SUITE.joinpath(name).read_text(encoding="utf-8"))


def _lines(scripts: list[str]) -> tuple[str, ...]:
    lines = [line.strip() for script in scripts for line in script.splitlines()]
    return tuple(line for line in lines if line and not line.startswith("#"))


def _github() -> Pipeline:
    workflow = _read(".github/workflows/rag.yml")
    (job,) = workflow["jobs"].values()
    used = {step["uses"].split("@")[0]: step for step in job["steps"] if "uses" in step}
    return Pipeline(
        lines=_lines([step["run"] for step in job["steps"] if "run" in step]),
        variables=workflow["env"],
        cached=used["actions/cache"]["with"]["path"],
        kept=tuple(used["actions/upload-artifact"]["with"]["path"].split()),
    )


def _gitlab() -> Pipeline:
    job = _read(".gitlab-ci.yml")["rag"]
    (cached,) = job["cache"]["paths"]
    artifacts = job["artifacts"]
    return Pipeline(
        lines=_lines(job["script"]),
        variables=job["variables"],
        cached=cached,
        kept=(*artifacts["paths"], *artifacts["reports"].values()),
    )


PIPELINES = pytest.mark.parametrize("pipeline", [_github(), _gitlab()], ids=["github", "gitlab"])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the folder: a project of its own."""
    return Path(shutil.copytree(SUITE, tmp_path / "project"))


@PIPELINES
def test_every_option_exists(pipeline: Pipeline, pytestconfig: pytest.Config) -> None:
    """The plugin's options are among those that this very run's parser knows."""
    _, *arguments = shlex.split(pipeline.command)
    parser = pytestconfig._parser
    assert sum(part.startswith("--rag") for part in arguments) == 3
    assert parser.parse_known_and_unknown_args(arguments)[1] == []
    assert parser.parse_known_and_unknown_args(["--rag-reprot=x"])[1] == ["--rag-reprot=x"]


@PIPELINES
def test_what_is_installed_is_this(pipeline: Pipeline) -> None:
    assert "pip install -r requirements.txt" in pipeline.lines
    project = tomllib.loads(SUITES.with_name("pyproject.toml").read_text(encoding="utf-8"))
    required = SUITE.joinpath("requirements.txt").read_text(encoding="utf-8").split()
    assert required == [project["project"]["name"]]


@PIPELINES
def test_the_command_leaves_what_is_kept(pipeline: Pipeline, project: Path, tmp_path: Path) -> None:
    done = run(pipeline.command, project, CI="true", **pipeline.variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(pipeline.kept) == 3
    for name in pipeline.kept:
        assert project.joinpath(name).stat().st_size, name
    assert any(project.joinpath(pipeline.cached).iterdir())
    suites = ET.parse(project / "junit.xml").getroot()
    assert [case.get("name") for case in suites.iter("testcase")] == [
        f"test_follows_the_passage[{case}]" for case in ("birthplace", "capital", "author")
    ]


def test_a_red_run_on_github_is_summed_up_and_kept(project: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    there = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary), "CI": "true"}
    github = _github()
    done = run(f"{github.command} -k capital", project, **there, RAG_MODEL="embedded:memoriser")
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.count("::error file=test_release.py,line=") == 1
    text = summary.read_text(encoding="utf-8")
    assert text.startswith("## Reliance")
    assert text.count("**FAILS**") == 1
    assert all(project.joinpath(name).stat().st_size for name in github.kept)
    assert len(load_report(project / "rag-report.json")["tests"]) == 1


def test_what_is_kept_is_kept_of_red_runs_too() -> None:
    steps = _read(".github/workflows/rag.yml")["jobs"]["rag"]["steps"]
    assert steps[-1]["if"] == "${{ !cancelled() }}"
    gitlab = _read(".gitlab-ci.yml")["rag"]
    assert gitlab["artifacts"]["when"] == gitlab["cache"]["when"] == "always"


def test_actions_are_pinned_to_a_major_version() -> None:
    steps = _read(".github/workflows/rag.yml")["jobs"]["rag"]["steps"]
    used = [step["uses"] for step in steps if "uses" in step]
    assert len(used) == 4
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", name) for name in used)
