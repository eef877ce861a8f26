"""Baselines as files: what is written is read, nothing is lost, and what is wrong is named."""

from __future__ import annotations

import copy
import difflib
import doctest
import inspect
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from drawn_cases import CASES
from hypothesis import example, given
from hypothesis import strategies as st
from reporting import drawn
from stored.published import WRONG, Place, at, keys, records, spoil, wrong

import pytest_ragshortcut
from pytest_ragshortcut.baselines import migration, schema, store
from pytest_ragshortcut.baselines.schema import Baseline, BaselineModel, EntryRecord
from pytest_ragshortcut.baselines.store import amend, baseline_file, dump, empty, json_schema, load
from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.errors import StoredFileError
from pytest_ragshortcut.stored.shapes import records_within

SCHEMA = json_schema()
WAIVERS = st.fixed_dictionaries(
    {
        "test": drawn.TEXTS,
        "case": drawn.TEXTS,
        "reason": drawn.TEXTS.map("RAG-17 {}".format),
        "expires": st.dates().map(str),
    }
)


def _of(baseline: Any, waivers: Any) -> Any:
    """Make what was drawn a baseline: its waivers say something, its scores are in [0, 1]."""
    for model in baseline["models"].values():
        for entry in (entry for entries in model["tests"].values() for entry in entries):
            score = entry["reading"]["score"]
            entry["reading"]["score"] = None if score is None else min(1.0, abs(score))
    return baseline | {"schema": schema.SCHEMA, "waivers": waivers}


BASELINES = st.builds(
    _of,
    drawn.of_type(Baseline),
    st.lists(WAIVERS, max_size=2),
)


@pytest.fixture(autouse=True, scope="module")
def locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Leave no lock in the folder that all programs share."""
    folder = tmp_path_factory.mktemp("locks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


def _entry(score: float | None = 1.0, case: str = "RagCase('Where?', 'Here.')") -> EntryRecord:
    return {
        "case": case,
        "kind": "context",
        "better": "more",
        "asking": "abcdef012345",
        "reading": {
            "score": score,
            "interval": [score, score],
            "verdict": "GROUNDED",
            "answer": "Cork",
            "context_answer": "Cork",
            "memory_answer": "Dublin",
            "readings": {"swap: follow": 1.0, "closed book": None},
        },
    }


def _model(*tests: str) -> BaselineModel:
    return {
        "identity": {
            "fingerprint": "0123456789ab",
            "weights": "23456789abcd",
            "tokenizer": "3456789abcde",
            "chat_template": "",
            "config": "456789abcdef",
            "quantization": "",
            "libraries": {"torch": "2.13.0"},
            "device": "cpu",
            "dtype": "float32",
            "attention": "sdpa",
            "executor": "reference",
        },
        "settings": {"template": "plain", "probes": "swap", "seed": 0},
        "spread": 1e-06,
        "tests": {test: [_entry(1.0), _entry(0.5, "RagCase('Who?', 'I.')")] for test in tests},
    }


def _baseline(*tests: str) -> Baseline:
    return {
        "schema": schema.SCHEMA,
        "plugin": "0.0.1",
        "waivers": [{"test": "a", "case": "", "reason": "RAG-17", "expires": "2027-01-31"}],
        "models": {"m": _model(*(tests or ("test_a", "test_b")))},
    }


def _written(path: Path, baseline: Any) -> Path:
    path.write_text(json.dumps(baseline), encoding="utf-8")
    return path


def _refused(path: Path) -> StoredFileError:
    with pytest.raises(StoredFileError) as caught:
        load(path)
    assert str(path) in caught.value.problem
    return caught.value


@pytest.mark.parametrize("module", [store, migration])
def test_the_examples_hold(module: Any) -> None:
    results = doctest.testmod(module)
    assert results.attempted
    assert not results.failed


@given(baseline=BASELINES)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, baseline: Baseline
) -> None:
    path = tmp_path_factory.mktemp("baseline") / "b.json"
    kept = amend(path, lambda _: copy.deepcopy(baseline))
    assert load(path) == kept == {**baseline, "plugin": pytest_ragshortcut.__version__}
    text = path.read_text(encoding="utf-8")
    assert dump(load(path)) == text, "it is written again as it was"
    assert not wrong(json.loads(text), SCHEMA, SCHEMA)
    assert list(path.parent.iterdir()) == [path]


@given(baseline=BASELINES, seed=st.integers(0, 9))
def test_a_text_does_not_depend_on_the_order_of_keys(baseline: Any, seed: int) -> None:
    turned = copy.deepcopy(baseline)
    ordered = [place for place, _ in records(Baseline, turned)]
    named = [("models",), *(("models", name, "tests") for name in turned["models"])]
    for place in [*ordered, *named]:
        items = list(at(turned, place).items())
        random.Random(seed).shuffle(items)
        at(turned, place).clear()
        at(turned, place).update(items)
    assert dump(turned) == dump(baseline)
    made = json.loads(dump(turned))
    for place, kind in records(Baseline, made):
        assert list(at(made, place)) == list(kind.__annotations__)
    for place in named:
        assert list(at(made, place)) == sorted(at(made, place))


def _changed_lines(old: Baseline, new: Baseline) -> list[str]:
    lines = difflib.ndiff(dump(old).splitlines(), dump(new).splitlines())
    return [line for line in lines if line[0] in "+-"]


def test_one_changed_score_is_one_changed_line() -> None:
    old, new = _baseline(), _baseline()
    new["models"]["m"]["tests"]["test_b"][0]["reading"]["score"] = 0.25
    assert [line.split() for line in _changed_lines(old, new)] == [
        ["-", '"score":', "1.0,"],
        ["+", '"score":', "0.25,"],
    ]
    new["models"]["m"]["tests"]["test_b"][0]["reading"]["interval"] = [0.125, 0.5]
    assert len(_changed_lines(old, new)) == 4, "both ends of an interval are one line"


def test_a_new_test_takes_no_line_away() -> None:
    old, new = _baseline("test_a", "test_c"), _baseline("test_c", "test_b", "test_a")
    assert {line[0] for line in _changed_lines(old, new)} == {"+"}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("released", "root/rag-baselines/released.json"),
        ("v1.2_rc-3", "root/rag-baselines/v1.2_rc-3.json"),
        ("gültig", "root/rag-baselines/gültig.json"),
        ("x.json", "x.json"),
        ("x.JSON", "x.JSON"),
        ("./x", "x"),
        ("a/b", "a/b"),
        ("/a/b.json", "/a/b.json"),
        ("two words", "two words"),
        ("a\\b", "a\\b"),
        ("..", ".."),
    ],
)
def test_a_name_is_a_file_of_the_projects_own_folder(name: str, path: str) -> None:
    assert baseline_file(name, Path("root")) == Path(path)


@pytest.mark.parametrize(
    ("content", "problem", "place"),
    [
        (b"{", "is not JSON: .*line 1", "--rag-save or --rag-compare"),
        (b"\xff", "is not JSON", "--rag-save or --rag-compare"),
        (b'{"schema": NaN}', "is not JSON: NaN is no number", "--rag-save or --rag-compare"),
        (b"null", "is not a baseline: baseline is None", "baseline"),
        (b"{}", "is not a baseline: schema is missing", "schema"),
        (b'{"schema": true}', "is not a baseline: schema is True", "schema"),
        (b'{"schema": 1.0}', "is not a baseline: schema is 1.0", "schema"),
        (b'{"schema": 0}', "cannot be used: its schema is 0, older than 2", "schema"),
        (b'{"schema": 99, "plugin": "9.1"}', "its schema is 99, newer than 2", "schema"),
        (b'{"schema": 1}', "is not a baseline: model is missing", "model"),
        (b'{"schema": 1, "model": "m", "scores": {"a": "1"}}', "scores.a is '1'", "scores.a"),
        (b'{"schema": 1, "model": "m", "scores": {"a": 1}}', "'a' names no check", "scores"),
    ],
)
@pytest.mark.parametrize("reads", [load, lambda path: amend(path, _nothing)])
def test_what_is_no_baseline_is_refused(
    tmp_path: Path, content: bytes, problem: str, place: str, reads: Any
) -> None:
    path = tmp_path / "b.json"
    path.write_bytes(content)
    with pytest.raises(StoredFileError, match=problem) as caught:
        reads(path)
    assert caught.value.where == place
    assert caught.value.expected.startswith("A baseline of schema ")
    assert str(path) in caught.value.problem
    newer = "Update pytest-ragshortcut, 9.1 wrote it"
    again = "Correct it, or delete it and write it again with --rag-save"
    assert caught.value.action == (newer if b"99" in content else again)
    assert path.read_bytes() == content


def _nothing(baseline: Baseline) -> Baseline:
    return baseline


KEYS = keys(Baseline, _baseline())


@given(key=st.sampled_from(KEYS), change=st.sampled_from(["drop", "extra", *range(len(WRONG))]))
def test_a_wrong_key_is_named(
    tmp_path_factory: pytest.TempPathFactory, key: Place, change: str | int
) -> None:
    baseline: Any = _baseline()
    place = spoil(baseline, key, change)
    path = _written(tmp_path_factory.mktemp("baseline") / "b.json", baseline)
    if (key[-1], change) == ("case", "drop") and key[0] == "waivers":
        assert load(path) == _baseline(), "people leave it out"
        assert not wrong(baseline, SCHEMA, SCHEMA)
        return
    assert wrong(baseline, SCHEMA, SCHEMA)
    error = _refused(path)
    assert f"{error.where}.".startswith((f"{place}.", f"{place}["))
    assert error.where in error.problem
    assert error.where in error.expected


@given(
    key=st.sampled_from(KEYS),
    value=st.none() | st.booleans() | st.integers() | st.floats(0.25, 0.75) | st.text(max_size=3),
)
@example(key=("waivers", 0, "expires"), value="2028-02-29")
@example(key=("waivers", 0, "expires"), value="2027-02-29")
@example(key=("schema",), value=1)
def test_the_published_schema_and_the_reader_agree(
    tmp_path_factory: pytest.TempPathFactory, key: Place, value: Any
) -> None:
    baseline: Any = _baseline()
    at(baseline, key[:-1])[key[-1]] = value
    path = _written(tmp_path_factory.mktemp("baseline") / "b.json", baseline)
    try:
        load(path)
    except StoredFileError:
        assert wrong(baseline, SCHEMA, SCHEMA)
    else:
        assert not wrong(baseline, SCHEMA, SCHEMA)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("reason", ""),
        ("reason", " \n\t"),
        ("expires", ""),
        ("expires", "2027-02-30"),
        ("expires", "0000-01-01"),
        ("expires", "20270131"),
        ("expires", "2027-W01-1"),
        ("expires", "31.01.2027"),
        ("expires", "2027-1-31"),
        ("expires", "2027-01-31\n"),
        ("expires", "2027-01-31T00:00:00"),
        ("expires", "٢٠٢٧-01-31"),
    ],
)
def test_a_waiver_says_why_and_until_when(tmp_path: Path, key: str, value: str) -> None:
    baseline: Any = _baseline()
    baseline["waivers"].append(baseline["waivers"][0] | {key: value})
    error = _refused(_written(tmp_path / "b.json", baseline))
    assert error.where == f"waivers[1].{key}"
    assert f"waivers[1].{key} is {value!r}" in error.problem
    assert error.where in error.expected
    # ECMA's $ is the text's end, Python's also what is before a last line break.
    assert wrong(baseline, SCHEMA, SCHEMA) or value.endswith("\n")


@pytest.mark.parametrize("score", [-0.01, 1.0001, 7, -1e300])
def test_a_score_that_cannot_be_one_is_refused(tmp_path: Path, score: float) -> None:
    """A bound of a mean of numbers in [0, 1] would mean nothing with one outside."""
    baseline: Any = _baseline()
    name, model = next(iter(baseline["models"].items()))
    test, entries = next(iter(model["tests"].items()))
    entries[0]["reading"]["score"] = score
    error = _refused(_written(tmp_path / "b.json", baseline))
    assert error.where == f"models.{name}.tests.{test}[0].reading.score"
    assert wrong(baseline, SCHEMA, SCHEMA)
    first = {"schema": 1, "model": "m", "scores": {"a | RagCase('q', 'c')": score}}
    error = _refused(_written(tmp_path / "first.json", first))
    assert error.where == "scores.a | RagCase('q', 'c')"


def test_a_missing_baseline_says_how_to_write_one_and_which_there_are(tmp_path: Path) -> None:
    path = baseline_file("released", tmp_path)
    error = _refused(path)
    assert error.where == "--rag-compare"
    assert error.action == "Write one with --rag-save released"
    amend(baseline_file("nightly", tmp_path), _nothing)
    first = {"schema": 1, "model": "m", "scores": {}}
    text = json.dumps(first, indent=2, sort_keys=True)
    baseline_file("old", tmp_path).write_text(text, encoding="utf-8")
    (path.parent / "note.json").write_text('{"schema": 1}', encoding="utf-8")
    (path.parent / "folder.json").mkdir()
    action = _refused(path).action
    assert action.startswith("Write one with --rag-save released, or compare with one")
    assert action.endswith("'nightly', 'old'")


def test_a_missing_file_is_called_by_its_path(tmp_path: Path) -> None:
    amend(tmp_path / "there.json", _nothing)
    action = _refused(tmp_path / "b.json").action
    assert f"--rag-save {tmp_path / 'b.json'}" in action
    assert action.endswith("one that is there: 'there.json'")


TEXTS = st.lists(
    st.sampled_from(
        ["a", " | ", "RagCase(", "'", '"', "\\", "\n", "it's", ", answer=", ")", "('b', 'c')", "é"]
    )
    | st.sampled_from([" | parametric", " | RagCase('q', 'c')", "RagCase('q', 'c') | parametric"])
    | st.characters(),
    max_size=4,
).map("".join)
SOLID = TEXTS.map("a{}".format)
IDS = st.builds("t.py::test_{}[{}]".format, st.sampled_from("ab"), TEXTS) | st.just("t.py::t")


def _key(test: str, case: RagCase, kind: str) -> str:
    """Name a check as schema 1 did."""
    return f"{test} | {case!r}" + (" | parametric" if kind == "parametric" else "")


@given(
    test=IDS,
    case=CASES | st.builds(RagCase, SOLID, SOLID | st.tuples(SOLID, SOLID), answer=SOLID),
    kind=st.sampled_from(["context", "parametric"]),
)
@example(test="t.py::t[RagCase('a', 'b')]", case=RagCase("a", "b"), kind="parametric")
def test_a_key_of_schema_1_is_taken_apart(test: str, case: RagCase, kind: str) -> None:
    found, entry = migration.split_key(_key(test, case, kind))
    assert (found, entry["case"], entry["kind"]) == (test, repr(case), kind)


def test_a_long_key_takes_no_time() -> None:
    case = RagCase(" | RagCase('" * 2000, "b" * 1_000_000)
    key = _key("t | RagCase(" * 100 + "]", case, "parametric")
    assert migration.split_key(key)[1]["case"] == repr(case)


@pytest.mark.parametrize("key", ["", "a", "a | b", "a | RagCase('b'", "RagCase('b', 'c')"])
def test_a_key_that_names_no_check_is_said(key: str) -> None:
    with pytest.raises(ValueError, match="names no check"):
        migration.split_key(key)


def test_a_baseline_of_schema_1_is_migrated(tmp_path: Path) -> None:
    case = "RagCase('Where?', 'Here | there.')"
    scores = {f"a | {case}": 0.25, f"a | {case} | parametric": None, f"b[x | y] | {case}": 1}
    path = _written(tmp_path / "b.json", {"schema": 1, "model": "m", "scores": scores})
    migrated = load(path)
    model = migrated["models"]["m"]
    assert {key: value for key, value in migrated.items() if key != "models"} == {
        "schema": 2,
        "plugin": "",
        "waivers": [],
    }
    assert model["identity"] is model["settings"] is model["spread"] is None
    shown = {
        (test, entry["case"], entry["kind"], entry["reading"]["score"])
        for test, entries in model["tests"].items()
        for entry in entries
    }
    assert shown == {
        ("a", case, "context", 0.25),
        ("a", case, "parametric", None),
        ("b[x | y]", case, "context", 1.0),
    }
    reading = model["tests"]["a"][0]["reading"]
    assert reading["interval"] == [0.25, 0.25]
    assert reading["verdict"] == reading["answer"] == ""
    assert reading["readings"] == {}
    assert not wrong(json.loads(dump(migrated)), SCHEMA, SCHEMA)


def test_an_amended_baseline_of_schema_1_is_written_as_today(tmp_path: Path) -> None:
    scores = {"a | RagCase('Where?', 'Here.')": 0.25}
    path = _written(tmp_path / "b.json", {"schema": 1, "model": "m", "scores": scores})
    before = load(path)
    amend(path, _nothing)
    assert load(path) == {**before, "plugin": pytest_ragshortcut.__version__}
    assert json.loads(path.read_text(encoding="utf-8"))["schema"] == 2


def _adds(test: str) -> Any:
    def change(baseline: Baseline) -> Baseline:
        baseline["models"].setdefault("m", _model())["tests"][test] = [_entry()]
        return baseline

    return change


def test_a_change_may_alter_what_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "b.json"
    assert amend(path, _adds("a")) == load(path)
    amend(path, _adds("b"))
    assert load(path)["models"]["m"]["tests"].keys() == {"a", "b"}


def test_nothing_is_an_empty_baseline(tmp_path: Path) -> None:
    seen = []
    path = tmp_path / "b.json"
    amend(path, lambda baseline: seen.append(copy.deepcopy(baseline)) or baseline)
    assert seen == [empty()]
    assert load(path) == empty()


def test_equal_content_leaves_the_file_alone(tmp_path: Path) -> None:
    turned = dict(reversed(_baseline().items()))
    del turned["waivers"][0]["case"]
    path = _written(tmp_path / "b.json", turned)
    os.utime(path, ns=(10**18, 10**18))
    before = path.stat()
    newer = amend(path, lambda baseline: {**baseline, "plugin": "9.9"})
    assert newer == load(path) == _baseline(), "another plugin is no change by itself"
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    amend(path, _adds("c"))
    assert path.stat().st_mtime_ns != before.st_mtime_ns
    assert load(path)["plugin"] == pytest_ragshortcut.__version__


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "b.json"
    amend(path, _adds("a"))
    before = path.read_bytes()

    def fail(part: Path, *_: object) -> None:
        part.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, step, fail)
    with pytest.raises(StoredFileError, match="No space left"):
        amend(path, _adds("b"))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path], "no half-written file stays behind"


def test_a_failed_change_leaves_the_old_file_and_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    amend(path, _adds("a"))
    before = path.read_bytes()

    def fail(_: Baseline) -> Baseline:
        raise RuntimeError("no change")

    def undefined(baseline: Baseline) -> Baseline:
        baseline["models"]["m"]["tests"]["a"] = [_entry(float("nan"))]
        return baseline

    for change, problem in ((fail, "no change"), (undefined, "JSON")):
        with pytest.raises((RuntimeError, ValueError), match=problem):
            amend(path, change)
        assert path.read_bytes() == before
    amend(path, _adds("b"))
    assert path.read_bytes() != before


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoredFileError, match="cannot be written"):
        amend(tmp_path / "file" / "b.json", _nothing)
    with pytest.raises(StoredFileError, match="cannot be read"):
        load(tmp_path / "file" / "b.json")


def test_a_file_is_as_readable_as_any_other_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    amend(tmp_path / "b.json", _nothing)
    assert (tmp_path / "b.json").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_symbolic_link_stays_one(tmp_path: Path, locks: Path) -> None:
    path, link = tmp_path / "b.json", tmp_path / "link.json"
    link.symlink_to(path)
    known = set(locks.iterdir())
    amend(path, _adds("a"))
    amend(link, _adds("b"))
    assert link.is_symlink()
    assert load(path)["models"]["m"]["tests"].keys() == {"a", "b"}
    assert len(set(locks.iterdir()) - known) <= 1, "one file has one lock, whatever it is called"
    amend(tmp_path / "c.json", _nothing)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["b.json", "c.json", "link.json"]


_AMENDS = """
import sys, time
from pathlib import Path
from pytest_ragshortcut.baselines.store import amend

path, number, n_processes, n_times = Path(sys.argv[1]), *map(int, sys.argv[2:])
(path.parent / f"ready-{number}").touch()
while len(list(path.parent.glob("ready-*"))) < n_processes:
    time.sleep(0.001)
for turn in range(n_times):
    def change(baseline):
        model = {"identity": None, "settings": None, "spread": None, "tests": {}}
        tests = baseline["models"].setdefault("m", model)["tests"]
        time.sleep(0.002)
        tests[f"test_{number}_{turn}"] = []
        return baseline
    amend(path, change)
"""


def test_processes_that_amend_at_once_lose_nothing(tmp_path: Path, locks: Path) -> None:
    path, n_processes, n_times = tmp_path / "b.json", 4, 5
    amend(path, _nothing)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _AMENDS, str(path), *map(str, (n, n_processes, n_times))],
            env={**os.environ, "TMPDIR": str(locks), "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for n in range(n_processes)
    ]
    seen = [0]
    while any(process.poll() is None for process in running):
        # At any time there is a whole file, and it only grows.
        models = load(path)["models"]
        seen.append(len(models["m"]["tests"]) if models else 0)
    assert [process.returncode for process in running] == [0] * n_processes
    assert seen == sorted(seen)
    tests = load(path)["models"]["m"]["tests"]
    assert tests.keys() == {f"test_{n}_{t}" for n in range(n_processes) for t in range(n_times)}
    assert {each.name.partition("-")[0] for each in tmp_path.iterdir()} == {"b.json", "ready"}


def test_who_holds_a_baseline_for_long_is_said(
    tmp_path: Path, locks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "b.json"
    is_held, is_over = threading.Event(), threading.Event()

    def hold(baseline: Baseline) -> Baseline:
        is_held.set()
        assert is_over.wait(30)
        return baseline

    other = threading.Thread(target=amend, args=(path, hold))
    other.start()
    assert is_held.wait(30)
    monkeypatch.setattr(store, "_LOCK_TIMEOUT_S", 0.05)
    try:
        with pytest.raises(StoredFileError, match="another process has been at it"):
            amend(path, _adds("a"))
        assert not path.exists()
    finally:
        is_over.set()
        other.join()
    amend(path, _adds("a"))


def test_a_lock_that_cannot_be_had_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.raises(StoredFileError, match="takes no lock") as caught:
        amend(tmp_path / "b.json", _nothing)
    assert "TMPDIR" in caught.value.action
    assert not (tmp_path / "b.json").exists()


def test_the_published_schema_is_todays() -> None:
    assert not wrong(_baseline(), SCHEMA, SCHEMA)
    published = resources.files(schema.__package__).joinpath("baseline.schema.json")
    text = json.dumps(SCHEMA, indent=1) + "\n"
    assert published.read_text(encoding="utf-8") == text, "write json_schema() there again"


def test_the_schema_names_every_key_and_says_what_it_is() -> None:
    rules = {**SCHEMA["$defs"], "Baseline": SCHEMA}
    classes = {kind.__name__: kind for kind in records_within(Baseline)}
    assert rules.keys() == classes.keys()
    for name, kind in classes.items():
        assert list(rules[name]["properties"]) == list(kind.__annotations__)
        optional = {"case"} if name == "WaiverEntry" else set()
        assert set(rules[name]["required"]) == set(kind.__annotations__) - optional
        assert rules[name]["additionalProperties"] is False
        assert rules[name]["description"] == inspect.cleandoc(str(kind.__doc__))
    assert rules["ReadingRecord"]["properties"]["readings"]["description"].startswith("probe ->")
