"""A run on a model card: what huggingface_hub reads back, and what stays of a card as it was."""

from __future__ import annotations

import ast
import codecs
import doctest
import re
import socket
import stat
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import EvalResult, ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from hypothesis import example, given
from hypothesis import strategies as st
from reporting import drawn, samples

import pytest_ragshortcut
from pytest_ragshortcut.errors import OptionError, StoredFileError
from pytest_ragshortcut.reporting import model_card
from pytest_ragshortcut.reporting.characters import portable
from pytest_ragshortcut.reporting.model_card import (
    eval_results,
    front_matter,
    update_card,
    updated,
)
from pytest_ragshortcut.reporting.schema import CheckRecord, Report

OURS = "pytest-ragshortcut"
FOREIGN = """\
model-index:
- name: Ada's own
  results:
  - task: {type: text-generation}
    dataset: {type: squad, name: SQuAD, config: plain}
    metrics:
    - {type: f1, value: 0.5, unit: share}
    note: measured by hand
"""


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def _check(model: str = "a", **fields: Any) -> CheckRecord:
    return samples.check(explained=False) | {"model": model} | fields


def _report(*checks: CheckRecord, passes: bool | None = None, model: str = "a") -> Report:
    report = samples.report(samples.of_test("test_it", *(checks or (_check(),))))
    report["models"] = [samples.model("a"), samples.model("b") | {"fingerprint": "b"}]
    if passes is not None:
        report["gate"] = samples.gate(passes=passes)
        for each in report["gate"]["properties"]:
            each["model"] = model
    return report


def _values(results: list[EvalResult]) -> dict[str, list[object]]:
    return {
        kind: [each.metric_value for each in results if each.metric_type == kind]
        for kind in dict.fromkeys(each.metric_type for each in results)
    }


def _one_result(value: float) -> tuple[EvalResult, str]:
    """Make a result, and the metadata of a card of nothing else."""
    made = EvalResult("text-generation", OURS, "cases", "reliance", value)
    index = {"model-index": eval_results_to_model_index("a", [made])}
    return made, yaml.dump(index, sort_keys=False)


def _metadata(text: str) -> dict[str, Any]:
    return yaml.safe_load(text.split("---")[1])


def test_the_examples_hold() -> None:
    results = doctest.testmod(model_card)
    assert results.attempted
    assert not results.failed


SCORES = st.none() | st.floats(0, 1)
CHECKS = st.builds(
    lambda model, kind, score, claims, held, case: _check(
        model, kind=kind, score=score, claims=claims, held=held, case=case
    ),
    st.sampled_from("ab"),
    st.sampled_from(["context", "parametric"]),
    SCORES,
    st.sampled_from([[], ["> 0.5"]]),
    st.booleans(),
    st.sampled_from(["one", "two", "\ud800"]),
)


@given(checks=st.lists(CHECKS, min_size=1, max_size=8))
def test_means_and_shares_are_those_of_the_models_own_checks(checks: list[CheckRecord]) -> None:
    report = _report(*checks)
    for model in {check["model"] for check in checks}:
        own = [check for check in checks if check["model"] == model]
        expected = {}
        for kind in ("context", "parametric"):
            scores = [c["score"] for c in own if c["kind"] == kind and c["score"] is not None]
            if scores:
                expected[f"{kind}_reliance"] = [sum(map(Fraction, scores)) / len(scores)]
        if claimed := [check for check in own if check["claims"]]:
            n_held = len([check for check in claimed if check["held"]])
            expected["claims_held"] = [Fraction(n_held, len(claimed))]
        found = _values(eval_results(report, model=model))
        assert found.keys() == expected.keys(), "what is undefined is left out"
        for kind, (value,) in expected.items():
            assert found[kind] == [pytest.approx(float(value), abs=0.00005 + 1e-12)]


def test_what_a_mean_rests_on_is_said() -> None:
    report = _report(
        _check(score=0.25, case="one"),
        _check(score=0.75, case="one"),
        _check(score=0.5, case="two"),
        _check(score=None, case="three"),
        _check("b", score=0.0, case="four"),
    )
    mean, share = eval_results(report, model="a")
    assert mean.metric_name == "Mean context reliance of 3 checks"
    assert mean.metric_args == {"n_checks": 3, "n_cases": 2, "n_undefined": 1}
    assert share.metric_args == {"n_checks": 4}
    assert mean.dataset_args == {
        "model_fingerprint": "0123456789ab",
        "plugin": "0.1.0",
        "created": "2026-01-02T03:04:05+00:00",
        "seed": 0,
    }
    report["tests"][0]["n_checks"] = 25
    assert eval_results(report, model="a")[0].dataset_args["n_checks_left_out"] == 20


def test_a_gate_is_its_properties_and_its_outcome() -> None:
    results = eval_results(_report(passes=False))
    assert _values(results)["reliance_change"] == [-0.19, 0.0]
    assert _values(results)["release_gate"] == ["FAIL"]
    fell, unclear = (each for each in results if each.metric_type == "reliance_change")
    assert (
        fell.metric_name
        == "Change since released, more is better: test_release.py::test_it, context"
    )
    assert fell.metric_args == {
        "outcome": "FAIL", "baseline": 0.98, "candidate": 0.79, "n_cases": 40,
        "lower": -0.31, "upper": -0.11,
    }  # fmt: skip
    assert unclear.metric_args["outcome"] == "INCONCLUSIVE"
    assert results[-1].metric_args["passes"] is False
    assert _values(eval_results(_report(passes=True)))["release_gate"] == ["PASS"]


def test_a_gate_says_nothing_of_another_model() -> None:
    report = _report(passes=True, model="b")
    assert _values(eval_results(report, model="a")).keys() == {"context_reliance", "claims_held"}
    assert _values(eval_results(report, model="b")).keys() == {"reliance_change", "release_gate"}


def test_an_undefined_change_is_none_at_all() -> None:
    report = _report(passes=True)
    report["gate"]["properties"][0] |= {"change": None, "change_interval": [None, None]}
    report["gate"]["properties"][1]["change_interval"] = [-0.27, None]
    results = eval_results(report)
    assert _values(results)["reliance_change"] == [0.0]
    assert "upper" not in results[-2].metric_args
    assert results[-2].metric_args["lower"] == -0.27


def test_nought_has_no_sign() -> None:
    report = _report(passes=True)
    report["gate"]["properties"][0] |= {"change": -1e-9, "change_interval": [-0.5, -0.0]}
    result = eval_results(report)[2]
    assert (str(result.metric_value), str(result.metric_args["upper"])) == ("0.0", "0.0")


def test_the_revision_is_of_the_cases_alone() -> None:
    def revision(*cases: str, **fields: Any) -> str:
        (one,) = {each.dataset_revision for each in eval_results(
            _report(*(_check(case=case, **fields) for case in cases)))}  # fmt: skip
        return one

    assert re.fullmatch("[0-9a-f]{40}", revision("one"))
    assert revision("one", "two") == revision("two", "one", "one", score=0.1)
    assert len({revision("one"), revision("two"), revision("one", "two")}) == 3


@given(text=drawn.TEXTS)
@example(text="a\x85b")
def test_huggingface_hub_reads_back_what_is_said(text: str) -> None:
    report = _report(_check(text), passes=False, model=text)
    report["models"][0] |= {"name": text, "fingerprint": text}
    for each in report["gate"]["properties"]:
        each |= {"name": text, "baseline_model": text}
    report["gate"]["policy"] = text
    results = eval_results(report)
    for each in results:
        # The Hub's own pattern for this field.
        assert re.fullmatch(r"(?:[\w-]+/)?[\w\-.]+", each.dataset_type, flags=re.ASCII)
        assert each.verified is None, "that is the Hub's to say"
        for said in (each.metric_name, each.metric_args.get("policy", "")):
            assert said == portable(said)
            assert len(said.splitlines()) <= 1
    index = eval_results_to_model_index("m", results)
    assert model_index_to_eval_results(index) == ("m", results)
    card = f"---\n{front_matter(report)}---\n"
    assert ModelCard(card.encode().decode()).data.eval_results == results


PARTS = [
    "license: mit\n",
    "# a comment\n",
    "\n",
    "language: no  # of Norway\n",
    "tags:\n- 'a'\n-   b\n",
    "text: |\n  # not a comment\n\n  ---\n",
    '"widget": [{text: "a: b"},\n  {text: c}]\n',
    "empty:\n",
    "since: 2026-01-02\n",
    "nought: .nan\n",
]
BODIES = ["", "# A\n", "\n# A\n\n---\nmodel-index: 1\n---\n", "no end", "\ttabs \n\n\n"]
ENDS = st.sampled_from(["\n", "\r\n"])


@given(
    before=st.lists(st.sampled_from(PARTS), unique=True),
    after=st.lists(st.sampled_from(PARTS), unique=True),
    body=st.sampled_from(BODIES),
    end=ENDS,
    score=st.floats(0, 1),
)
def test_all_else_stays_as_it_is_to_the_character(
    before: list[str], after: list[str], body: str, end: str, score: float
) -> None:
    after = [part for part in after if part not in before]
    if not any(part[0].isalpha() for part in before + after):
        before = [PARTS[0], *before]

    def card(*index: str) -> str:
        return f"---\n{''.join([*before, *index, *after])}---\n{body}".replace("\n", end)

    (result, written), (_, stale) = _one_result(score), _one_result(0.5)
    first = updated(card(), [result], "a")
    assert first.replace(written.replace("\n", end), "", 1) == card(), "added, and nothing else"
    assert updated(first, [result], "x") == first
    assert updated(card(stale), [result], "x") == card(written), "in the place of the old ones"


def test_results_of_others_stay() -> None:
    results = eval_results(_report(passes=False))
    old = f"---\n{FOREIGN}- name: second\n  results: []\nlicense: mit\n---\n# Text\n"
    for text in (old, updated(old, eval_results(_report(_check(score=0.9))), "a")):
        found = _metadata(updated(text, results, "a"))
        first, second = found["model-index"]
        before = _metadata(old)["model-index"]
        assert first["name"] == "Ada's own"
        assert first["results"][:-1] == before[0]["results"], "keys unknown to huggingface_hub, too"
        assert first["results"][-1]["dataset"]["type"] == OURS
        assert second == before[1]
        assert found["license"] == "mit"
    card = ModelCard(updated(old, results, "a"))
    assert [each for each in card.data.eval_results if each.dataset_type == OURS] == results
    assert card.data.eval_results[0].metric_type == "f1"
    assert card.text == "# Text\n"


@pytest.mark.parametrize(
    "block",
    [
        "{license: mit, model-index: []}",
        "license: mit\nmodel-index: null  # so far",
        "license: mit\nmodel-index: []\n\ntags: [a]",
        "license: mit\nmodel-index:",
        "license: mit\n'model-index':\n- {name: a, results: []}",
        "shared: &all [{name: a, results: []}]\nlicense: mit\nmodel-index: *all\ntags: [a]",
        "model-index: &all [{name: a, results: []}]\nlicense: mit\nshared: *all",
        "license: mit\n...",
        "# nothing",
        "",
        " license: mit",
        "license: mit\nlicense: mit\nmodel-index: []\nmodel-index: []",
    ],
)
def test_however_it_is_written_nothing_is_lost(block: str) -> None:
    results = eval_results(_report())
    text = updated(f"---\n{block}\n---\n# A", results, "a")
    assert text.endswith("\n---\n# A")
    found, before = _metadata(text), yaml.safe_load(block) or {}
    index = found.pop("model-index")
    before.pop("model-index", None)
    assert found == before
    assert model_index_to_eval_results(index) == ("a", results)


def test_comments_around_the_index_stay() -> None:
    results = eval_results(_report())
    old = f"---\n# first\n{FOREIGN}# of the tags\n\ntags: [a]  # b\n---\n"
    new = updated(old, results, "a")
    assert new.startswith("---\n# first\nmodel-index:\n")
    assert new.endswith("\n# of the tags\n\ntags: [a]  # b\n---\n")


@pytest.mark.parametrize(
    "text",
    ["# Only text\n", "", "---\nno metadata", "----\n", "Title\n---\nlicense: mit\n---\n"],
)
def test_a_card_without_metadata_gets_some(text: str) -> None:
    results = eval_results(_report())
    new = updated(text, results, "a")
    assert new == f"---\n{front_matter(_report())}---\n{text}"
    assert ModelCard(new).text == text


def test_a_card_is_made_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    update_card(path, _report(_check("./models/cand", score=0.5)))
    made = ModelCard.load(path)
    assert made.data.model_name == "cand"
    assert made.text == "\n# cand\n"
    path.chmod(0o640)
    update_card(path, _report(passes=True))
    card = ModelCard.load(path)
    assert card.data.eval_results == eval_results(_report(passes=True))
    assert card.data.model_name == "cand", "the card knows its model's name"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_survive(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    old = codecs.BOM_UTF8 + "---\r\nlicense: mit\r\n---\r\n# Übung 🧪\r\n".encode()
    path.write_bytes(old)
    update_card(path, _report())
    new = path.read_bytes()
    assert new.startswith(codecs.BOM_UTF8 + b"---\r\nlicense: mit\r\nmodel-index:\r\n")
    assert new.endswith("\r\n---\r\n# Übung 🧪\r\n".encode())
    assert new.count(b"\n") == new.count(b"\r\n")


@pytest.mark.parametrize(
    ("index", "behind"),
    [("[]", ""), ("[] ", ""), ("null  # none", "  # none\n"), ("[\n]", ""), ("", "")],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_stands_on_one_line_is_replaced_as_a_line(index: str, behind: str, end: str) -> None:
    result, written = _one_result(0.5)
    old = f"---\nlicense: mit\nmodel-index: {index}\ntags: [a]\n---\n".replace("\n", end)
    new = f"---\nlicense: mit\n{written}{behind}tags: [a]\n---\n".replace("\n", end)
    assert updated(old, [result], "a") == new


@pytest.mark.parametrize(
    ("block", "said"),
    [("- a", "should be a dict"), ("model-index: a", "Invalid `model_index`"), ("a: [", "flow")],
)
def test_what_is_wrong_with_a_card_is_said(block: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        updated(f"---\n{block}\n---\n", [_one_result(0.5)[0]], "a")


@pytest.mark.parametrize(
    "content",
    [
        b"---\n- a\n- b\n---\n",
        b"---\na: [\n---\n",
        b"---\na: \xff\n---\n",
        b"---\nmodel-index: not correct\n---\n",
        b"---\nmodel-index:\n- results: []\n---\n",
        b"---\nmodel-index:\n- name: a\n---\n",
        b"---\nmodel-index:\n- {name: a, results: [{task: {type: b}}]}\n---\n",
        b"---\nmodel-index: 5\n---\n",
        b"---\n1: a\n---\n",
        b"---\ntags: 5\n---\n",
    ],
)
def test_a_card_that_cannot_be_read_stays(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(content)
    with pytest.raises(StoredFileError, match=r"README\.md' cannot be read: .*\n.*Mend its"):
        update_card(path, _report())
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_what_would_be_read_as_something_else_is_not_written() -> None:
    other = EvalResult("text-generation", OURS, "cases", "reliance", 0.5, metric_args={"a": None})
    with pytest.raises(ValueError, match="other results than these"):
        updated("# A", [other], "a")
    # Written anew, as nothing can be put between braces; PyYAML reads this character as another.
    with pytest.raises(ValueError, match="something else"):
        updated('---\n{name: "a\\x85b c", model-index: []}\n---\n', [_one_result(0.5)[0]], "a")


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
def test_a_failed_write_leaves_the_old_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "README.md"
    path.write_text("# A\n", encoding="utf-8")

    def fail(part: Path, *_: object) -> None:
        part.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, step, fail)
    with pytest.raises(StoredFileError, match="cannot be written: No space left"):
        update_card(path, _report())
    assert path.read_text(encoding="utf-8") == "# A\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_for_no_card_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoredFileError, match="cannot be written: No such file"):
        update_card(tmp_path / "none" / "README.md", _report())
    with pytest.raises(StoredFileError, match="cannot be read: Is a directory"):
        update_card(tmp_path, _report())


def test_a_card_is_of_one_model() -> None:
    report = _report(_check("a"), _check("b"))
    for say in (eval_results, front_matter):
        with pytest.raises(StoredFileError, match=r"of 2 models .*\n.*'a', 'b'. Name it with --m"):
            say(report)
        with pytest.raises(OptionError, match=r"--model has the value 'c' .*\n.*'a', 'b'"):
            say(report, model="c")
        assert say(report, model="b")


def test_nothing_to_say_is_said(tmp_path: Path) -> None:
    empty = samples.report() | {"tests": []}
    for report in (empty, _report(_check(score=None, claims=[]))):
        assert eval_results(report) == []
        with pytest.raises(StoredFileError, match="no check of the report has a score or a claim"):
            update_card(tmp_path / "README.md", report)
    assert not list(tmp_path.iterdir())


def test_huggingface_hub_is_imported_here_alone_and_only_when_asked() -> None:
    names = "pytest_ragshortcut.plugin, pytest_ragshortcut.reporting.model_card"
    script = f"import sys, {names}; print('huggingface_hub' in sys.modules, 'yaml' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]
    package = Path(pytest_ragshortcut.__file__).parent
    importing = {
        path.name
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("huggingface_hub")
    }
    assert importing == {"model_card.py"}
