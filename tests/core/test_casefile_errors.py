"""Cases that cannot be read: what is wrong, where it is, what would be right, and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_ragshortcut.core.casefiles import cases_from, read_cases
from pytest_ragshortcut.errors import CaseError

Parts = tuple[str, str, str, str]
BORN: dict[str, Any] = {"question": "Where was Bo Reed born?", "context": "In Cork."}
LINE = json.dumps(BORN)
# What is wrong -> the file, what it holds, the mapping, and the four parts of the error.
FILES: dict[str, tuple[str, str, dict[str, str | None] | None, Parts]] = {
    "an empty file": (
        "a.jsonl",
        " \n",
        None,
        ("it holds no case", "a.jsonl)", "At least one row", "passes whatever the model does"),
    ),
    "an empty list": ("a.json", "[]", None, ("it holds no case", "a.json)", "one row", "Write")),
    "a header alone": (
        "a.csv",
        "question,context\n",
        None,
        ("it holds no case", "a.csv)", "one row", "Write"),
    ),
    "an ending": ("a.parquet", "x", None, ("'.parquet'", "a.parquet)", ".tsv", "as dicts")),
    "a line that is no JSON": (
        "a.jsonl",
        LINE + "\n\n" + LINE[:-1],
        None,
        (
            "it is not JSON: Expecting ',' del",
            f"a.jsonl, line 3, column {len(LINE)})",
            "a line",
            "Correct",
        ),
    ),
    "one object a line in .json": (
        "a.json",
        LINE + "\n" + LINE,
        None,
        ("not JSON: Extra data", "a.json, line 2, column 1)", "is .jsonl", "ending"),
    ),
    "an object without the list": (
        "a.json",
        '{"rows": []}',
        None,
        ("no list of cases: {'rows': []}", "a.json)", "'data', 'cases', 'examples'", "names"),
    ),
    "two lists": (
        "a.json",
        '{"data": [], "cases": []}',
        None,
        ("no list of cases", "a.json)", "one of 'data'", "Give one list"),
    ),
    "a line that is no object": (
        "a.jsonl",
        LINE + '\n"x"',
        None,
        ("'x', of type str", "a.jsonl, line 2)", "column -> value", "rows"),
    ),
    "a cell too many": (
        "a.csv",
        'question,context\n"Who\nis it?",A.\n\nWho?,A,B\n',
        None,
        ("names 2 columns, and the line has 3", "a.csv, line 5)", "A cell", "double quotes"),
    ),
    "a name twice": (
        "a.tsv",
        "question\tcontext\tcontext\n",
        None,
        ("names 'context' twice", "a.tsv, line 1)", "each column once", "Rename"),
    ),
    "a stray quote": (
        "a.csv",
        'question,context\nWho?,A.\n"Who" is?,A.\n',
        None,
        ("',' expected after", "a.csv, line 3)", "doubled", ".jsonl"),
    ),
    "a misspelled column": (
        "a.csv",
        "quesiton,context\nWho?,A.\n",
        None,
        (
            "no column is named as the question",
            "a.csv)",
            "'question', 'query', 'user_input', 'input'; there are 'quesiton', 'context'",
            "columns={'question': 'quesiton'}",
        ),
    ),
    "a column of another name": (
        "a.csv",
        "frage,context\nWo?,A.\n",
        None,
        ("the question", "a.csv)", "'frage', 'context'", "columns={'question': '...'}"),
    ),
    "a list printed by Python": (
        "a.csv",
        "question,context\nWho?,\"['a', 'b']\"\n",
        None,
        (
            "\"['a', 'b']\", of type str, cannot be read as context",
            "a.csv, line 2, column 'context')",
            "as json.dumps writes it",
            "Correct",
        ),
    ),
    "substitutes that are one text": (
        "a.csv",
        'question,context,substitutes\nWho?,A.,"Rome, Oslo"\n',
        None,
        ("'Rome, Oslo', of type str", "line 2, column 'substitutes')", "json.dumps", "Correct"),
    ),
    "a field that is none": (
        "a.jsonl",
        LINE,
        {"contxt": "question"},
        (
            "'contxt', which is no field",
            "a.jsonl)",
            "id, question, context,",
            "{'question': 'contxt'}",
        ),
    ),
    "a field misspelled": (
        "a.jsonl",
        LINE,
        {"context-answer": "gold"},
        ("'context-answer'", "a.jsonl)", "the fields are", "columns={'context_answer': 'gold'}"),
    ),
    "a mapped column that is nowhere": (
        "a.jsonl",
        LINE,
        {"context_answer": "gold"},
        (
            "no column 'gold'",
            "a.jsonl)",
            "there are 'question', 'context'",
            "{'context_answer': '...'}",
        ),
    ),
    "no column for the question": (
        "a.jsonl",
        LINE,
        {"question": None},
        ("named as the question", "a.jsonl)", "there are 'question'", "columns={'question':"),
    ),
}
ROWS: dict[str, tuple[list[Any], dict[str, str | None] | None, Parts]] = {
    "a data set of several splits": (
        ["train", "test"],
        None,
        ("'train', of type str", "(here, row 1)", "column -> value", "one split"),
    ),
    "a column that one row has not": (
        [BORN, {"question": "Who?", "contxt": "A."}],
        None,
        ("no column 'context'", "(here, row 2)", "'question', 'contxt'", "Give the row"),
    ),
    "an object's part, misspelled": (
        [{"question": "Who?", "hits": [{"text": "A."}]}],
        {"context": "hits.txt"},
        ("'hits.txt'", "(here)", "'hits', 'hits.text'", "columns={'context': 'hits.text'}"),
    ),
    "an object's part that one row has not": (
        [{"question": "Who?", "hits": hits} for hits in ([{"text": "A."}], [{"text": "B."}, {}])],
        {"context": "hits.text"},
        ("'hits.text'", "(here, row 2)", "'hits'", "Give the row"),
    ),
    "a number too high": (
        [BORN | {"answers": ["Cork"]}],
        {"context_answer": "answers.1"},
        ("no column 'answers.1'", "(here)", "'answers'", "columns={'context_answer':"),
    ),
    "two columns for one field": (
        [{"question": "Who?", "passages": "A.", "documents": "B."}],
        None,
        ("2 columns may be the context: 'passages', 'documents'", "(here)", "One", "{'context': "),
    ),
    "an answer of either meaning": (
        [BORN | {"answer": "Cork"}],
        None,
        (
            "'answer' may hold the reference, or what the model says",
            "(here)",
            "context_answer what the context states",
            "{'context_answer': 'answer'} for the reference",
        ),
    ),
    "a number for a text": (
        [BORN, BORN | {"question": 3}],
        None,
        ("3, of type int, cannot be read as question", "row 2, column 'question')", "A text", "Co"),
    ),
    "a list for a text": (
        [BORN | {"gold": ["Cork"]}],
        {"context_answer": "gold"},
        ("['Cork'], of type list", "column 'gold')", "A text", "{'context_answer': 'gold.0'}"),
    ),
    "an object for a context": (
        [BORN | {"context": {"body": "A."}}],
        None,
        ("{'body': 'A.'}, of type dict", "column 'context')", "One text", "'context.body'"),
    ),
    "objects without a text": (
        [BORN | {"context": [{"body": "A."}]}],
        None,
        ("{'body': 'A.'}", "column 'context')", "text, page_content, content", "'context.body'"),
    ),
    "a passage that is no text": (
        [BORN | {"context": ["A.", None]}],
        None,
        ("None, of type NoneType", "row 1, column 'context')", "A list of texts", "Correct"),
    ),
    "an empty question": (
        [{"query": "Who?", "context": "A."}, {"query": " ", "context": "A."}],
        None,
        ("the question is empty", "(here, row 2, column 'query')", "one character", "leave"),
    ),
    "an empty passage": (
        [BORN | {"context": ["A.", ""]}],
        None,
        ("the context is empty", "column 'context')", "one character", "leave the case out"),
    ),
    "no passage": ([BORN | {"context": []}], None, ("context is empty", "row 1", "one", "leave")),
    "an empty substitute": (
        [BORN | {"others": ["Rome", " "]}],
        {"substitutes": "others"},
        ("the substitute is empty", "column 'others')", "one character", "leave"),
    ),
    "an id twice": (
        [BORN | {"id": 1}, BORN, BORN | {"id": "1"}],
        None,
        ("'1' is given twice", "(here, row 1 and here, row 3)", "one case", "columns={'id': None}"),
    ),
    "an id that is a list": (
        [BORN | {"id": ["a"]}],
        None,
        ("['a'], of type list", "column 'id')", "a whole number", "'id.0'"),
    ),
    "an id that is true": ([BORN | {"id": True}], None, ("True", "'id'", "number", "Correct")),
    **{
        f"an id with {sign!r}": (
            [BORN | {"id": f"a{sign}b"}],
            None,
            (repr(f"a{sign}b"), "(here, row 1, column 'id')", "'::'", "columns={'id': None}"),
        )
        for sign in ("::", "[", "]", "\n", "\t", "\x1b", "\u2028")
    },
}


def _require_said(error: CaseError, parts: Parts) -> None:
    # The four parts, each where it belongs.
    problem, where, expected, action = parts
    assert problem in error.problem
    assert where in f"({error.where})"
    assert expected in error.expected
    assert action in error.action


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_cannot_be_read_says_why(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, content, columns, parts = FILES[what]
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(content, encoding="utf-8")
    with pytest.raises(CaseError) as raised:
        read_cases(name, columns)
    _require_said(raised.value, parts)


@pytest.mark.parametrize("what", ROWS)
def test_a_row_that_is_no_case_says_why(what: str) -> None:
    rows, columns, parts = ROWS[what]
    with pytest.raises(CaseError) as raised:
        cases_from(rows, columns, source="here")
    _require_said(raised.value, parts)


def test_a_missing_file_names_the_folder_and_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "cases.jsonl").write_text(LINE, encoding="utf-8")
    (tmp_path / "folder.csv").mkdir()
    parts = ("casse.jsonl'", f"(folder {str(tmp_path)!r})", "relative to", "there is 'cases.jsonl'")
    for name, expected in {
        "casse.jsonl": parts,
        "other.csv": ("other.csv' cannot be read", "folder", "A file", "with_name('other.csv')"),
        "folder.csv": ("folder.csv' cannot be read", "folder", "A file", "with_name('folder.csv')"),
        "no/cases.csv": ("cases.csv'", "no', which does not exist)", "A file", "with_name"),
    }.items():
        with pytest.raises(CaseError) as raised:
            read_cases(str(tmp_path / name))
        _require_said(raised.value, expected)


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes("question,context\nWo?,Köln\n".encode("latin-1"))
    with pytest.raises(CaseError) as raised:
        read_cases(file)
    _require_said(raised.value, ("byte 0xf6 at 22", "a.csv)", "UTF-8", "Save it as UTF-8"))
