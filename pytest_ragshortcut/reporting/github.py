"""A run on GitHub: a job summary in Markdown, and annotations at the lines of failed checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_ragshortcut.core.words import counted
from pytest_ragshortcut.reporting.characters import portable
from pytest_ragshortcut.reporting.gate_markdown import (
    PROPERTIES,
    head_of,
    notes_of,
    property_row,
    regressions_of,
)
from pytest_ragshortcut.reporting.gate_words import outcome_of
from pytest_ragshortcut.reporting.markdown import (
    IN_CELL,
    IN_DETAILS,
    code,
    escaped,
    html_table,
    row,
    shortened,
)
from pytest_ragshortcut.reporting.schema import (
    CheckRecord,
    GateRecord,
    ModelRecord,
    Report,
    TestRecord,
)
from pytest_ragshortcut.reporting.table import interval_of
from pytest_ragshortcut.reporting.text import number
from pytest_ragshortcut.reporting.totals import totals_of
from pytest_ragshortcut.reporting.worst import claim_of, failed, worst_first

_MAX_ANNOTATIONS = 10

_GATE, _PROPERTIES, _FELL, _NOTES, _HEAD, _BELOW, _MODELS, _CHECKS, _DETAILS = range(9)
_OPENINGS = {
    _GATE: "",
    _PROPERTIES: PROPERTIES,
    _FELL: "\n<p>Cases that fell by more than the margin, worst first:</p>\n",
    _NOTES: "",
    # Below a gate, an empty line ends what HTML there is.
    _BELOW: "\n## Reliance\n\n",
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

    The release gate, counts, the models, the checks with the worst first, and each failed check's
    explanation. Where that is too much, checks that held go first, then explanations, the least bad
    ones first; what the gate says goes last.

    Args:
        report: the run.
        limit: how many bytes of UTF-8 to write at most. GitHub takes 1024 KiB a step.
    """
    checks = worst_first(report["tests"])
    n_failed = sum(failed(check) for _, check in checks)
    rows = [_Piece(_CHECKS, _check_row(test, check)) for test, check in checks]
    gate = report["gate"]
    pieces = [
        *(_gate_pieces(gate) if gate else ()),
        _Piece(_BELOW if gate else _HEAD, _sentences(report)),
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

    A gate that does not pass, and the worst checks: ten in all, as GitHub shows no more of a step,
    and a notice of how many there are besides.
    """
    pairs = [pair for pair in worst_first(report["tests"]) if failed(pair[1])]
    of_gate = gate_annotations(report["gate"])
    shown = pairs[: _MAX_ANNOTATIONS - len(of_gate)]
    lines = [
        f"::error file={_property(test['file'])},line={test['line']},"
        f"title={_property(_headline(check))}::"
        + _data(f"{test['id']}\n{check['verdict']}: {check['reason']}\n{check['question']}")
        for test, check in shown
    ]
    rest = len(pairs) - len(shown)
    more = [f"::notice::{counted(rest, 'more check')} failed"] if rest else []
    return [*of_gate, *lines, *more]


def gate_annotations(gate: GateRecord | None) -> list[str]:
    """Return a workflow command that tells of a gate that does not pass; none where one does.

    Example:
        >>> gate_annotations({"outcome": "FAIL", "passes": False, "sentence": "it is worse",
        ...                   "action": "Look at it"})
        ['::error title=Release gate%3A FAIL::it is worse%0ATo do: Look at it']
    """
    if gate is None or gate["passes"]:
        return []
    said = _data(f"{gate['sentence']}\nTo do: {gate['action']}")
    return [f"::error title={_property(f'Release gate: {outcome_of(gate)}')}::{said}"]


def problem_annotations(problem: str) -> list[str]:
    """Return a workflow command that tells why nothing could be decided; none where all was.

    Example:
        >>> problem_annotations("there is no baseline"), problem_annotations("")
        (['::error title=Release gate%3A not decided::there is no baseline'], [])
    """
    title = _property("Release gate: not decided")
    return [f"::error title={title}::{_data(problem)}"] if problem else []


def _gate_pieces(gate: GateRecord) -> Iterator[_Piece]:
    """Return what a gate says, the most important first."""
    yield _Piece(_GATE, head_of(gate))
    for each in gate["properties"]:
        yield _Piece(_PROPERTIES, property_row(each, gate))
    for text in notes_of(gate):
        yield _Piece(_NOTES, text)
    for text in regressions_of(gate):
        yield _Piece(_FELL, text)


def _sentences(report: Report) -> str:
    totals = totals_of(report)
    verdicts = ", ".join(f"{name} {n}" for name, n in totals.verdicts.items())
    counts = f"{totals.sentence}{': ' if verdicts else ''}{escaped(verdicts)}."
    notes = "".join(f"\n<p>{escaped(note)}</p>\n" for note in report["notes"])
    return f"{counts} {totals.spent}.\n{notes}"


def _model_row(model: ModelRecord) -> str:
    texts = (model["fingerprint"], model["device"], model["dtype"], model["attention"])
    numbers = (model["n_layers"], model["n_parameters"], model["n_copies"])
    cells = [code(model["name"]), *map(escaped, (*texts, model["executor"]))]
    return row([*cells, *(f"{n:,}" for n in numbers)])


def _check_row(test: TestRecord, check: CheckRecord) -> str:
    mark = " **FAILS**" if failed(check) else ""
    score = f"{number(check['score'])} {interval_of(check)}".rstrip()
    return row(
        [
            code(test["id"]),
            code(shortened(check["question"], IN_CELL)),
            check["kind"],
            escaped(score),
            escaped(check["verdict"]),
            escaped(claim_of(check)) + mark,
            code(check["model"]),
        ]
    )


def _details(test: TestRecord, check: CheckRecord) -> str:
    """Write a block of HTML, which Markdown leaves alone up to the first empty line."""
    shown = {
        "question": code(shortened(check["question"], IN_DETAILS)),
        "with the context": code(shortened(check["answer"], IN_DETAILS)),
        "without": code(shortened(check["memory_answer"], IN_DETAILS)),
        "the context says": code(shortened(check["context_answer"], IN_DETAILS)),
        "this test alone": code(test["command"]),
    }
    lines = [
        f"\n<details><summary>{code(test['id'])}: {escaped(_headline(check))}</summary>",
        f"<p>{escaped(check['verdict'])}: {escaped(check['reason'])}.</p>",
        *html_table((), shown.items()),
        f"<p>With {shown['the context says']} replaced in the context:</p>",
        *html_table(("instead", "p of it", "p of the memory answer"), _swapped(check)),
        *html_table(("probe", "reading", ""), _evidence(check)),
        "</details>",
    ]
    return "\n".join(lines) + "\n"


def _swapped(check: CheckRecord) -> Iterator[tuple[str, ...]]:
    swap = check["swap"]
    probabilities = (swap["substitute_probability"], swap["memory_probability"])
    for text, *read in zip(swap["substitutes"], *probabilities, strict=False):
        yield code(shortened(text, IN_DETAILS)), *map(number, read)


def _evidence(check: CheckRecord) -> Iterator[tuple[str, ...]]:
    for item in check["evidence"]:
        yield escaped(item["probe"]), number(item["value"]), escaped(item["reading"])


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
    n_of_gate = sum(map(missing.count, (_GATE, _PROPERTIES, _FELL, _NOTES)))
    if n_of_gate:
        counts += f", parts of the gate {n_of_gate}"
    return f"\nLeft out, to stay within {limit:,} bytes: {counts}.\n"


def _size(text: str) -> int:
    return len(text.encode("utf-8"))


def _data(text: str) -> str:
    """Escape a message as GitHub's own toolkit does."""
    return portable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Escape a property as GitHub's own toolkit does."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
