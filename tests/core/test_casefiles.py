"""Files and tables of cases: what is written is what is read, under ids that stay."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_cases import CASES, TEXT
from hypothesis import given
from hypothesis import strategies as st

from pytest_ragshortcut.core.casefiles import cases_from, read_cases
from pytest_ragshortcut.core.cases import RagCase

# In a cell a text with a bracket in front may be a list.
CELLS = CASES.filter(lambda c: not isinstance(c.context, str) or c.context.lstrip()[0] != "[")
BORN: dict[str, Any] = {"question": "Where was Bo Reed born?", "context": "In Cork."}


def _json(case: RagCase, **options: Any) -> str:
    # What a user has: the field `context_answer` says which answer `answer` is.
    return json.dumps({"context_answer": None} | asdict(case), **options)


def _read(folder: Path, name: str, content: str, **options: Any) -> list[RagCase]:
    file = folder / name
    file.write_text(content, encoding="utf-8", newline="")
    return [named.case for named in read_cases(file, **options)]


def _with_answers(cases: Sequence[RagCase]) -> bool:
    """Whether the file says what `answer` means: refused otherwise, which has its own test."""
    return any(c.context_answer for c in cases) or not any(c.answer for c in cases)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cases")


LISTS = st.lists(CASES, min_size=1, max_size=4).filter(_with_answers)
TABLES = st.lists(CELLS, min_size=1, max_size=4).filter(_with_answers)


@given(LISTS, st.sampled_from(["\n", "\r\n", "\n\n \n"]), st.booleans(), st.booleans())
def test_json_lines_are_read_as_written(
    folder: Path, cases: list[RagCase], end: str, ascii_alone: bool, mark: bool
) -> None:
    lines = [_json(case, ensure_ascii=ascii_alone) + end for case in cases]
    text = ("\ufeff" if mark else "") + "".join(lines)
    assert _read(folder, "cases.jsonl", text) == cases
    assert _read(folder, "cases.NDJSON", text) == cases


@given(LISTS, st.sampled_from([None, "data", "cases", "examples"]), st.sampled_from([None, 2]))
def test_json_is_read_as_written(
    folder: Path, cases: list[RagCase], key: str | None, indent: int | None
) -> None:
    rows = [asdict(case) for case in cases]
    content = {"version": "1", "tags": ["a"], key: rows} if key else rows
    assert _read(folder, "cases.json", json.dumps(content, indent=indent)) == cases


@given(TABLES, st.sampled_from([",", "\t"]), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_tables_are_read_as_written(
    folder: Path, cases: list[RagCase], delimiter: str, end: str, mark: bool
) -> None:
    stream = StringIO("\ufeff" if mark else "")
    stream.seek(0, os.SEEK_END)
    quoting = csv.QUOTE_ALL if end == "\n" else csv.QUOTE_MINIMAL
    writer = csv.DictWriter(
        stream, list(asdict(cases[0])), delimiter=delimiter, lineterminator=end, quoting=quoting
    )
    writer.writeheader()
    for case in cases:
        cells = {k: json.dumps(v) if isinstance(v, tuple) else v for k, v in asdict(case).items()}
        writer.writerow(cells)
    name = "cases.csv" if delimiter == "," else "cases.tsv"
    assert _read(folder, name, stream.getvalue()) == cases


@given(st.lists(CASES, max_size=5), st.lists(CASES, max_size=3), st.randoms(use_true_random=False))
def test_ids_outlast_insertion_deletion_and_reordering(
    cases: list[RagCase], others: list[RagCase], random: Any
) -> None:
    def ids(cases: Sequence[RagCase]) -> list[tuple[RagCase, str]]:
        rows = [asdict(case) | {"answer": case.answer} for case in cases]
        named = cases_from(rows, {"answer": "answer"}, source="rows") if rows else ()
        return [(each.case, each.id) for each in named]

    before = ids(cases)
    mixed = [*cases, *others]
    random.shuffle(mixed)
    after = ids(mixed)
    # Repetitions are numbered, so that ids are equal as sets and not row by row.
    assert set(before) <= set(after)
    assert len({id_ for _, id_ in after}) == len(after)
    for _, id_ in after:
        assert id_.isascii()
        assert not set(id_) - set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_an_id_is_a_few_words_and_the_hash_of_the_case() -> None:
    (named,) = cases_from([BORN], source="rows")
    digits = sha256(b"RagCase('Where was Bo Reed born?', 'In Cork.')").hexdigest()[:6]
    assert named.id == f"where-was-bo-reed-born-{digits}"


@pytest.mark.parametrize(
    ("question", "slug"),
    [
        (
            "What's Éamon de Valera's name, in one word of the four?",
            "whats-eamon-de-valeras-name-in",
        ),
        ("東京はどこですか", "case"),
        ("Where [::] was\nBo?", "where-was-bo"),
        ("x" * 90, "x" * 40),
        ("a" * 39 + " b", "a" * 39),
    ],
)
def test_slugs_are_ascii_words(question: str, slug: str) -> None:
    (named,) = cases_from([BORN | {"question": question}], source="rows")
    assert named.id.rpartition("-")[0] == slug


def test_the_same_case_again_is_numbered() -> None:
    other = BORN | {"context": "In Rome."}
    first, _, second, third = cases_from([BORN, other, BORN, BORN], source="rows")
    assert (second.id, third.id) == (f"{first.id}-2", f"{first.id}-3")
    assert first.case == second.case == third.case


def test_ids_are_alike_in_every_process() -> None:
    code = (
        "from pytest_ragshortcut.core.casefiles import cases_from\n"
        f"print(ascii(cases_from([{BORN!r}, {BORN | {'context': ['Là.', '東']}!r}], source='')))"
    )
    seen = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, check=True
        )
        seen.add(done.stdout.decode())
    rows = [BORN, BORN | {"context": ["Là.", "東"]}]
    assert seen == {ascii(cases_from(rows, source="")) + "\n"}


def test_given_ids_are_kept_and_made_where_there_is_none() -> None:
    rows = [BORN | {"id": " Bo/1 é "}, BORN | {"id": 14}, BORN | {"id": ""}, BORN]
    ids = [named.id for named in cases_from(rows, source="rows")]
    made = cases_from([BORN], source="rows")[0].id
    assert ids == ["Bo/1 é", "14", made, f"{made}-2"]
    # A made id never takes a given one.
    assert [n.id for n in cases_from([BORN, BORN | {"id": made}], source="rows")] == [
        f"{made}-2",
        made,
    ]
    none = cases_from([row | {"id": "same"} for row in rows], {"id": None}, source="rows")
    assert [named.id for named in none] == [made, f"{made}-2", f"{made}-3", f"{made}-4"]
    (other,) = cases_from([BORN | {"key": "a"}], {"id": "key"}, source="rows")
    assert other.id == "a"


BO = "Where was Bo Reed born?"
SQUAD = {"title": "Reed", "context": "In Cork.", "question": BO} | {
    "answers": {"text": ["Cork", "in Cork"], "answer_start": [3, 0]}
}
RAGAS = {"user_input": BO, "retrieved_contexts": ["In Cork."], "response": "Cork", "reference": "x"}
DEEPEVAL = {
    "input": BO,
    "actual_output": "Cork",
    "expected_output": "In Cork, Ireland",
    "context": None,
    "retrieval_context": ["In Cork."],
}
DPR = {"question": BO, "answers": ["Cork"], "ctxs": [{"title": "Reed", "text": "In Cork."}]}
RAGBENCH = {"id": "9", "question": BO, "documents": ["In Cork."], "response": "Cork."}
SWAP = {"question": BO, "org_context": "In Cork.", "org_answer": ["Cork"], "sub_answer": ["Rome"]}
CONFIQA = {"question": BO, "cf_context": "In Rome.", "cf_answer": "Rome", "orig_answer": "Cork"}
CHAIN = {"question": BO, "documents": [{"page_content": "In Cork.", "metadata": {"page": 3}}]}


@pytest.mark.parametrize(
    ("row", "columns", "case"),
    [
        (
            SQUAD,
            {"context_answer": "answers.text.0"},
            RagCase(BO, "In Cork.", context_answer="Cork"),
        ),
        (RAGAS, {}, RagCase(BO, ["In Cork."])),
        (DEEPEVAL, {"answer": "actual_output"}, RagCase(BO, ["In Cork."], answer="Cork")),
        (DPR, {}, RagCase(BO, ["In Cork."])),
        (DPR, {"context": "ctxs.text"}, RagCase(BO, ["In Cork."])),
        (DPR, {"context": "ctxs.0.text"}, RagCase(BO, "In Cork.")),
        (DPR, {"subject": "ctxs.0.title"}, RagCase(BO, ["In Cork."], subject="Reed")),
        (RAGBENCH, {"id": None}, RagCase(BO, ["In Cork."])),
        (
            SWAP,
            {
                "context": "org_context",
                "context_answer": "org_answer.0",
                "substitutes": "sub_answer",
            },
            RagCase(BO, "In Cork.", context_answer="Cork", substitutes=["Rome"]),
        ),
        (
            CONFIQA,
            {
                "context": "cf_context",
                "context_answer": "cf_answer",
                "memory_answer": "orig_answer",
            },
            RagCase(BO, "In Rome.", context_answer="Rome", memory_answer="Cork"),
        ),
        (CHAIN, {}, RagCase(BO, ["In Cork."])),
    ],
)
def test_public_layouts(row: Mapping[str, Any], columns: dict[str, str], case: RagCase) -> None:
    assert [named.case for named in cases_from([row], columns, source="rows")] == [case]


@given(st.lists(st.lists(TEXT, min_size=1, max_size=3), min_size=1, max_size=3))
def test_a_dotted_name_is_a_loop_over_lists(passages: list[list[str]]) -> None:
    rows = [
        {"question": "Who?", "hits": [{"doc": {"body": text}, "score": 1} for text in texts]}
        for texts in passages
    ]
    read = cases_from(rows, {"context": "hits.doc.body"}, source="rows")
    by_hand = [tuple(hit["doc"]["body"] for hit in row["hits"]) for row in rows]
    assert [named.case.context for named in read] == by_hand


def test_a_column_of_the_very_name_goes_before_a_dotted_path() -> None:
    row = {"question": "Who?", "doc": {"text": "inner"}, "doc.text": "outer"}
    (named,) = cases_from([row], {"context": "doc.text"}, source="rows")
    assert named.case.context == "outer"


def test_a_field_s_own_name_goes_before_its_synonyms_and_extra_columns_are_ignored() -> None:
    row = BORN | {"query": "x", "passages": ["x"], "prompt": "x", "gold": "x", "score": 1.5}
    assert cases_from([row], source="rows")[0].case == RagCase(**BORN)


def test_any_iterable_of_mappings_will_do() -> None:
    class Dataset:
        def __iter__(self) -> Iterator[dict[str, Any]]:
            # As tables made from Parquet have it: arrays, and NaN where there is nothing.
            yield {"query": np.str_("Who?"), "context": np.array(["a", "b"]), "subject": math.nan}
            yield {"query": "Who?", "context": np.array([{"text": "a"}]), "subject": "Bo"}

    assert [named.case for named in cases_from(Dataset(), source="rows")] == [  # type: ignore[arg-type]
        RagCase("Who?", ["a", "b"]),
        RagCase("Who?", ["a"], subject="Bo"),
    ]


def test_a_dotted_name_reaches_into_arrays() -> None:
    hits = np.array([{"text": np.str_("a")}, {"text": "b"}])
    (named,) = cases_from([{"query": "Who?", "x": {"y": hits}}], {"context": "x.y.text"}, source="")
    assert named.case == RagCase("Who?", ("a", "b"))


def test_columns_without_a_name_are_ignored(tmp_path: Path) -> None:
    assert _read(tmp_path, "a.csv", "question,context,,\nWho?,A.,1,2\n") == [RagCase("Who?", "A.")]


def test_cells_hold_lists_line_ends_and_quotes(tmp_path: Path) -> None:
    content = (
        "\ufeffquery,passages,substitutes,note\r\n"
        '"Who, say ""Bo""?","[""In\\nCork."", ""There.""]","[""Rome""]",x\r\n'
        '"Where?","[{""text"": ""Here."", ""n"": 1}]",,\r\n'
        '"When?","[1] A note\nof two lines.",[],\r\n'
    )
    assert _read(tmp_path, "cases.csv", content) == [
        RagCase('Who, say "Bo"?', ["In\nCork.", "There."], substitutes=["Rome"]),
        RagCase("Where?", ["Here."]),
        RagCase("When?", "[1] A note\nof two lines.", substitutes=[]),
    ]
    read = _read(
        tmp_path,
        "cases.csv",
        content.splitlines()[0] + '\nWho?,"[{""n"": ""a""}]",,\n',
        columns={"context": "passages.n"},
    )
    assert read == [RagCase("Who?", ["a"])]


@pytest.mark.parametrize(
    "extra",
    [
        {"context_answer": "Cork"},
        {"answer": ""},
    ],
)
def test_an_answer_is_taken_where_its_meaning_is_known(extra: dict[str, str]) -> None:
    row = BORN | {"answer": "In Cork"} | extra
    case = RagCase(**{field: value for field, value in row.items() if value})
    assert cases_from([row], source="rows")[0].case == case


def test_an_answer_is_what_the_mapping_says() -> None:
    row = BORN | {"answer": "Cork"}
    for field in ("answer", "context_answer"):
        (named,) = cases_from([row], {field: "answer"}, source="rows")
        assert named.case == RagCase(**BORN, **{field: "Cork"})
    assert cases_from([row], {"answer": None}, source="rows")[0].case == RagCase(**BORN)
