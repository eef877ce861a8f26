"""The release gate's recipes, run offline as they are: on a gate that passes, and one that fails.

They need mlflow and wandb, which nothing else here does: where these are not installed, the tests
skip and say so.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from reporting import samples

from pytest_ragshortcut.reporting.schema import GateRecord
from pytest_ragshortcut.reporting.store import write_report

RECIPES = Path(__file__).parents[2] / "example_suites" / "release_gate" / "recipes"
CHANGES = {"test_release_py_test_it_context": -0.19, "test_release_py_test_other_parametric": 0.0}
LOWER = {"test_release_py_test_it_context": -0.31, "test_release_py_test_other_parametric": -0.27}
_BLOCK = 32768


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = tmp_path / "candidate"
    checkpoint.mkdir()
    checkpoint.joinpath("config.json").write_text("{}", encoding="utf-8")
    Path("report.html").write_text("<p>page</p>", encoding="utf-8")


def _gate(*, passes: bool) -> GateRecord:
    """Make a gate; one that fails has a change that is undefined."""
    gate = samples.gate(passes=passes)
    if not passes:
        gate["properties"][0] |= {"change": None, "change_interval": [None, None]}
    return gate


def _run(recipe: str, gate: GateRecord | None) -> subprocess.CompletedProcess[str]:
    write_report(Path("report.json"), samples.report() | {"gate": gate})
    return subprocess.run(
        [sys.executable, RECIPES / recipe, "report.json", "report.html", "candidate"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {
            "WANDB_MODE": "offline",
            "WANDB_SILENT": "true",
            "WANDB_CACHE_DIR": "cache",
            "WANDB_DATA_DIR": "data",
            "WANDB_CONFIG_DIR": "config",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
    )


def _ran(recipe: str, *, passes: bool) -> str:
    done = _run(recipe, _gate(passes=passes))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.filterwarnings("ignore")
def test_mlflow_moves_the_alias_when_the_gate_passes_and_only_then(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the recipe for MLflow needs mlflow")
    assert "rag-model@released is now version 1" in _ran("mlflow_gate.py", passes=True)
    said = _ran("mlflow_gate.py", passes=False)
    assert said.startswith("rag-model version 2: FAIL, 1 of 2 properties is shown to be worse")
    assert "is now" not in said
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    assert client.get_model_version_by_alias("rag-model", "released").version in (1, "1")
    first, second = (client.get_model_version("rag-model", version) for version in ("1", "2"))
    assert (first.tags, second.tags) == ({"rag.gate": "PASS"}, {"rag.gate": "FAIL"})
    run = client.get_run(first.run_id)
    assert run.data.tags["rag.gate"] == "PASS"
    assert run.data.metrics == {
        **{f"change/{name}": value for name, value in CHANGES.items()},
        **{f"change_lower/{name}": value for name, value in LOWER.items()},
        "candidate/test_release_py_test_it_context": 0.79,
        "candidate/test_release_py_test_other_parametric": 0.98,
    }
    assert {file.path for file in client.list_artifacts(first.run_id, "rag")} == {
        "rag/report.html",
        "rag/report.json",
    }
    assert Path(first.source, "config.json").read_text(encoding="utf-8") == "{}"
    undefined = client.get_run(second.run_id).data.metrics
    assert "change/test_release_py_test_it_context" not in undefined
    assert len(undefined) == 4


@pytest.mark.parametrize("passes", [True, False])
def test_wandb_gives_the_alias_when_the_gate_passes_and_only_then(passes: bool) -> None:
    sent = pytest.importorskip(
        "wandb.proto.wandb_internal_pb2", reason="the recipe for Weights & Biases needs wandb"
    )
    said = _ran("wandb_gate.py", passes=passes)
    assert ("rag-model:released is this candidate, once synced" in said) == passes
    (file,) = Path("wandb").glob("offline-run-*/*.wandb")
    records = [sent.Record.FromString(each) for each in _logged(file.read_bytes())]
    artifacts = {each.artifact.name: each.artifact for each in records if each.HasField("artifact")}
    model = artifacts["rag-model"]
    assert model.type == "model"
    assert ("released" in model.aliases) == passes
    assert "candidate" in model.aliases
    assert [each.path for each in model.manifest.contents] == ["config.json"]
    evidence = artifacts["rag-model-gate"]
    assert {each.path for each in evidence.manifest.contents} == {"report.html", "report.json"}
    (tags,) = {tuple(each.run.tags) for each in records if each.HasField("run")}
    assert tags == ("PASS" if passes else "FAIL",)
    (logged,) = (each.history.item for each in records if each.HasField("history"))
    values = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in logged}
    changes = {name.removeprefix("change/"): value for name, value in values.items()
               if name.startswith("change/")}  # fmt: skip
    assert changes == (CHANGES if passes else dict(list(CHANGES.items())[1:]))
    assert values["change_lower/test_release_py_test_other_parametric"] == -0.27
    assert values["candidate/test_release_py_test_it_context"] == 0.79


@pytest.mark.parametrize("needed", ["mlflow", "wandb"])
def test_a_report_without_a_gate_of_one_model_is_refused(needed: str) -> None:
    pytest.importorskip(needed, reason=f"the recipe needs {needed}")
    of_two = _gate(passes=True)
    of_two["properties"][0]["model"] = "./another"
    for gate in (None, of_two):
        done = _run(f"{needed}_gate.py", gate)
        assert done.returncode == 2
        assert "report.json holds no gate of one model: run pytest with --rag-c" in done.stderr
    assert not Path("mlflow.db").exists()
    assert not Path("wandb").exists()


def _logged(content: bytes) -> Iterator[bytes]:
    """Yield the records of a run's log, which is LevelDB's format behind a head of seven bytes."""
    at, record = 7, b""
    while at + 7 <= len(content):
        if _BLOCK - at % _BLOCK < 7:
            at += _BLOCK - at % _BLOCK
            continue
        size, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        record += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):
            yield record
            record = b""
