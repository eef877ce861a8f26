"""Reports as files: what is written is read, and what is no report is refused by its first key."""

from __future__ import annotations

import copy
import doctest
import inspect
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any, is_typeddict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reporting import drawn, samples
from stored.published import WRONG, Place, at, keys, records, spoil, wrong

from pytest_ragshortcut.errors import StoredFileError
from pytest_ragshortcut.reporting import schema, store
from pytest_ragshortcut.reporting.store import dump_report, json_schema, load_report, write_report

SCHEMA = json_schema()


def test_the_examples_hold() -> None:
    results = doctest.testmod(store)
    assert results.attempted
    assert not results.failed


@given(report=drawn.REPORTS)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, report: schema.Report
) -> None:
    path = tmp_path_factory.mktemp("report") / "r.json"
    write_report(path, report)
    assert load_report(path) == report
    assert list(path.parent.iterdir()) == [path]
    assert not wrong(json.loads(path.read_text(encoding="utf-8")), SCHEMA, SCHEMA)


def test_keys_have_the_schemas_order_whatever_order_they_came_in() -> None:
    report = samples.report(samples.of_test("a"), samples.of_test("b"))
    turned = copy.deepcopy(report)
    for place, _ in list(records(schema.Report, turned)):
        record = at(turned, place)
        items = list(reversed(record.items()))
        record.clear()
        record.update(items)
    assert list(turned) == list(reversed(report))
    assert dump_report(turned) == dump_report(report)
    written = json.loads(dump_report(turned))
    for place, kind in records(schema.Report, written):
        assert list(at(written, place)) == list(kind.__annotations__)


def test_a_list_of_numbers_is_one_line() -> None:
    text = dump_report(samples.report())
    assert '"values": [\n' in text, "a list of lists has a line for each"
    assert re.search(r"^ +\[0\.2, 0\.1, -0\.05, 0\.6\],$", text, flags=re.MULTILINE)
    assert not re.search(r"^ *-?[\d.]+,?$", text, flags=re.MULTILINE)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_no_number_that_json_has_not(tmp_path: Path, number: float) -> None:
    path = tmp_path / "r.json"
    write_report(path, samples.report())
    before = path.read_bytes()
    report = samples.report(samples.of_test("a", samples.check(score=number)))
    with pytest.raises(ValueError, match="JSON"):
        write_report(path, report)
    assert path.read_bytes() == before


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoredFileError, match="no folder"):
        write_report(tmp_path / "none" / "r.json", samples.report())


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "r.json"
    write_report(path, samples.report())
    before = path.read_bytes()

    def fail(part: Path, *_: object) -> None:
        part.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, step, fail)
    with pytest.raises(StoredFileError, match="No space left"):
        write_report(path, samples.report(samples.of_test("other")))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path], "no half-written file stays behind"


def test_a_file_is_as_readable_as_any_other_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    write_report(tmp_path / "r.json", samples.report())
    assert (tmp_path / "r.json").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize(
    ("content", "problem", "place"),
    [
        (None, "cannot be read: No such file", "--rag-json"),
        (b"{", "is not JSON: .*line 1", "--rag-json"),
        (b"\xff", "is not JSON", "--rag-json"),
        (b'{"schema": NaN}', "is not JSON: NaN is no number", "--rag-json"),
        (b"[" * 100_000, "is not JSON", "--rag-json"),
        (b"[]", r"is not a report: report is \[\]", "report"),
        (b"{}", "is not a report: schema is missing", "schema"),
        (b'{"schema": "1"}', "is not a report: schema is '1'", "schema"),
        (b'{"schema": true}', "is not a report: schema is True", "schema"),
        (b'{"schema": 0}', "cannot be used: its schema is 0, older than 1", "schema"),
        (b'{"schema": 99, "plugin": "9.1"}', "its schema is 99, newer than 1", "schema"),
    ],
)
def test_what_is_no_report_is_refused(
    tmp_path: Path, content: bytes | None, problem: str, place: str
) -> None:
    path = tmp_path / "r.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoredFileError, match=problem) as caught:
        load_report(path)
    assert caught.value.where == place
    assert caught.value.expected.startswith(f"A report of schema {schema.SCHEMA}")
    assert str(path) in caught.value.problem


def test_a_newer_report_says_which_plugin_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text('{"schema": 99, "plugin": "9.1"}', encoding="utf-8")
    with pytest.raises(StoredFileError) as caught:
        load_report(path)
    assert caught.value.action == "Update pytest-ragshortcut, 9.1 wrote it"


def _filled() -> Any:
    """Make a report with a gate, no part of which is there twice."""
    return json.loads(json.dumps(samples.report() | {"gate": samples.gate()}))


KEYS = keys(schema.Report, _filled())


@given(key=st.sampled_from(KEYS), change=st.sampled_from(["drop", "extra", *range(len(WRONG))]))
def test_a_wrong_key_is_named(
    tmp_path_factory: pytest.TempPathFactory, key: Place, change: str | int
) -> None:
    report = _filled()
    place = spoil(report, key, change)
    assert wrong(report, SCHEMA, SCHEMA)
    path = tmp_path_factory.mktemp("report") / "r.json"
    path.write_text(json.dumps(report), encoding="utf-8")
    with pytest.raises(StoredFileError, match="is not a report") as caught:
        load_report(path)
    assert f"{caught.value.where}.".startswith((f"{place}.", f"{place}["))
    assert caught.value.where in caught.value.problem
    assert caught.value.where in caught.value.expected


@given(
    key=st.sampled_from(KEYS),
    value=st.none() | st.booleans() | st.integers() | st.floats(0.25, 0.75) | st.text(max_size=3),
)
def test_the_published_schema_and_the_reader_agree(
    tmp_path_factory: pytest.TempPathFactory, key: Place, value: Any
) -> None:
    report = _filled()
    at(report, key[:-1])[key[-1]] = value
    path = tmp_path_factory.mktemp("report") / "r.json"
    path.write_text(json.dumps(report), encoding="utf-8")
    try:
        load_report(path)
    except StoredFileError:
        assert wrong(report, SCHEMA, SCHEMA)
    else:
        assert not wrong(report, SCHEMA, SCHEMA)


def test_the_published_schema_is_todays() -> None:
    assert not wrong(_filled(), SCHEMA, SCHEMA)
    published = resources.files(schema.__package__).joinpath("report.schema.json")
    text = json.dumps(SCHEMA, indent=1) + "\n"
    assert published.read_text(encoding="utf-8") == text, "write json_schema() there again"


def test_the_schema_names_every_key_and_says_what_it_is() -> None:
    rules = {**SCHEMA["$defs"], "Report": SCHEMA}
    classes = {name: kind for name, kind in vars(schema).items() if is_typeddict(kind)}
    assert rules.keys() == classes.keys()
    for name, kind in classes.items():
        assert list(rules[name]["properties"]) == list(kind.__annotations__)
        assert set(rules[name]["required"]) == kind.__required_keys__
        assert rules[name]["additionalProperties"] is False
        assert rules[name]["description"] == inspect.cleandoc(kind.__doc__)
    assert rules["RegressionRecord"]["properties"]["test"]["description"] == "Its node id."
    assert rules["ReadingRecord"]["properties"]["readings"]["description"].startswith("probe ->")
    assert rules["WorkRecord"]["properties"]["computed"]["description"] == "How many were not."
