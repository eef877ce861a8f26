"""A run on GitHub: a job summary in Markdown, and annotations at the lines of failed checks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pytest_ragshortcut.reporting.characters import portable
from pytest_ragshortcut.reporting.schema import CheckRecord, ModelRecord, Report, TestRecord
from pytest_ragshortcut.reporting.table import interval_of
from pytest_ragshortcut.reporting.text import number
from pytest_ragshortcut.reporting.totals import counted, totals_of
from pytest_ragshortcut.reporting.worst import claim_of, failed, worst_first

# Whatever Markdown or HTML reads as more than itself. As a reference it is text to both, and a
# newline so written ends neither a row nor a block.
_MARKUP = re.compile(r"[\\`*_~$|\[\]<>&\n\r]")
_IN_CELL, _IN_DETAILS = 120, 2000
_MAX_ANNOTATIONS = 10

_HEAD, _MODELS, _CHECKS, _DETAILS = range(4)
_OPENINGS = {
    _HEAD: "## Reliance\n\n",
    _MODELS: "\n| model | fingerprint | device | dtype | attention | executor | layers "
    "| parameters | copies |\n|---|---|---|---|---|---|---:|---:|---:|\n",
    _CHECKS: "\n| test | question | reliance | score | verdict | claim | model |\n"
    "|---|---|---|---|---|---|---|\n",
    _DETAILS: "",
}


@dataclass(frozen=True)
class _Piece:
    """What is kept whole or left out: a paragraph, a row of a table, a block of details."""

    section: int
    text: str


def step_summary(report: Report, *, limit: int = 1_000_000) -> str:
    """Write a run as Markdown for the file that $GITHUB_STEP_SUMMARY names.

    Counts, the models, the checks with the worst first, and each failed check's explanation. Where
    that is too much, checks that held go first, then explanations, the least bad ones first.

    Args:
        report: the run.
        limit: how many bytes of UTF-8 to write at most. GitHub takes 1024 KiB a step.
    """
    checks = worst_first(report["tests"])
    n_failed = sum(failed(check) for _, check in checks)
    rows = [_Piece(_CHECKS, _check_row(test, check)) for test, check in checks]
    pieces = [
        _Piece(_HEAD, _sentences(report)),
        *(_Piece(_MODELS, _model_row(model)) for model in report["models"]),
        *rows[:n_failed],
        *(_Piece(_DETAILS, _details(test, check)) for test, check in checks[:n_failed]),
        *rows[n_failed:],
    ]
    kept = _fitting(pieces, limit)
    if len(kept) == len(pieces):
        return _joined(kept)
    # No number that is said takes more room than that of all.
    kept = _fitting(pieces, limit - _size(_left_out(pieces, [], limit)))
    text = _joined(kept) + _left_out(pieces, kept, limit)
    return text if _size(text) <= limit else ""


def failure_annotations(report: Report) -> list[str]:
    """Return workflow commands that mark failed checks in the files of a pull request.

    The worst ten, as GitHub shows no more of a step, and a notice of how many there are besides.
    """
    pairs = [pair for pair in worst_first(report["tests"]) if failed(pair[1])]
    lines = [
        f"::error file={_property(test['file'])},line={test['line']},"
        f"title={_property(_headline(check))}::"
        + _data(f"{test['id']}\n{check['verdict']}: {check['reason']}\n{check['question']}")
        for test, check in pairs[:_MAX_ANNOTATIONS]
    ]
    rest = len(pairs) - len(lines)
    return [*lines, f"::notice::{counted(rest, 'more check')} failed"] if rest else lines


def _sentences(report: Report) -> str:
    totals = totals_of(report)
    verdicts = ", ".join(f"{name} {n}" for name, n in totals.verdicts.items())
    counts = f"{totals.sentence}{': ' if verdicts else ''}{_escaped(verdicts)}."
    notes = "".join(f"\n<p>{_escaped(note)}</p>\n" for note in report["notes"])
    return f"{counts} {totals.spent}.\n{notes}"


def _model_row(model: ModelRecord) -> str:
    texts = (model["fingerprint"], model["device"], model["dtype"], model["attention"])
    numbers = (model["n_layers"], model["n_parameters"], model["n_copies"])
    cells = [_code(model["name"]), *map(_escaped, (*texts, model["executor"]))]
    return _row([*cells, *(f"{n:,}" for n in numbers)])


def _check_row(test: TestRecord, check: CheckRecord) -> str:
    mark = " **FAILS**" if failed(check) else ""
    score = f"{number(check['score'])} {interval_of(check)}".rstrip()
    return _row(
        [
            _code(test["id"]),
            _code(_cut(check["question"], _IN_CELL)),
            check["kind"],
            _escaped(score),
            _escaped(check["verdict"]),
            _escaped(claim_of(check)) + mark,
            _code(check["model"]),
        ]
    )


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _details(test: TestRecord, check: CheckRecord) -> str:
    """Write a block of HTML, which Markdown leaves alone up to the first empty line."""
    shown = {
        "question": _code(_cut(check["question"], _IN_DETAILS)),
        "with the context": _code(_cut(check["answer"], _IN_DETAILS)),
        "without": _code(_cut(check["memory_answer"], _IN_DETAILS)),
        "the context says": _code(_cut(check["context_answer"], _IN_DETAILS)),
        "this test alone": _code(test["command"]),
    }
    lines = [
        f"\n<details><summary>{_code(test['id'])}: {_escaped(_headline(check))}</summary>",
        f"<p>{_escaped(check['verdict'])}: {_escaped(check['reason'])}.</p>",
        *_html_table((), shown.items()),
        f"<p>With {shown['the context says']} replaced in the context:</p>",
        *_html_table(("instead", "p of it", "p of the memory answer"), _swapped(check)),
        *_html_table(("probe", "reading", ""), _evidence(check)),
        "</details>",
    ]
    return "\n".join(lines) + "\n"


def _swapped(check: CheckRecord) -> Iterator[tuple[str, ...]]:
    swap = check["swap"]
    probabilities = (swap["substitute_probability"], swap["memory_probability"])
    for text, *read in zip(swap["substitutes"], *probabilities, strict=False):
        yield _code(_cut(text, _IN_DETAILS)), *map(number, read)


def _evidence(check: CheckRecord) -> Iterator[tuple[str, ...]]:
    for item in check["evidence"]:
        yield _escaped(item["probe"]), number(item["value"]), _escaped(item["reading"])


def _html_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "<table>"
    if titles:
        yield "<tr>" + "".join(f"<th>{title}</th>" for title in titles) + "</tr>"
    for row in rows:
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
    yield "</table>"


def _headline(check: CheckRecord) -> str:
    made = claim_of(check)
    claimed = made if not check["claims"] else f"claimed {made}"
    return f"{check['kind']} reliance {number(check['score'])}, {claimed}"


def _fitting(pieces: Sequence[_Piece], limit: int) -> list[_Piece]:
    """Keep the first pieces, as many as fit."""
    kept: list[_Piece] = []
    opened: set[int] = set()
    for piece in pieces:
        opening = "" if piece.section in opened else _OPENINGS[piece.section]
        limit -= _size(opening + piece.text)
        if limit < 0:
            break
        kept.append(piece)
        opened.add(piece.section)
    return kept


def _joined(pieces: Sequence[_Piece]) -> str:
    text = ""
    for section, opening in _OPENINGS.items():
        inside = "".join(piece.text for piece in pieces if piece.section == section)
        text += opening + inside if inside else ""
    return text


def _left_out(pieces: Sequence[_Piece], kept: Sequence[_Piece], limit: int) -> str:
    missing = [piece.section for piece in pieces[len(kept) :]]
    counts = f"checks {missing.count(_CHECKS)}, explanations {missing.count(_DETAILS)}"
    return f"\nLeft out, to stay within {limit:,} bytes: {counts}.\n"


def _size(text: str) -> int:
    return len(text.encode("utf-8"))


def _cut(text: str, n_characters: int) -> str:
    return text if len(text) <= n_characters else text[: n_characters - 1] + "…"


def _code(text: str) -> str:
    return f"<code>{_escaped(text)}</code>"


def _escaped(text: str) -> str:
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", portable(text))


def _data(text: str) -> str:
    """Escape a message as GitHub's own toolkit does."""
    return portable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Escape a property as GitHub's own toolkit does."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
