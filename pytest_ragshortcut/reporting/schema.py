"""What a report holds, in builtins alone: the contract between a run and all that shows it.

Every key is always there; what was not measured is None or empty. NaN is None. `Report` is what
--rag-json writes and --rag-report draws, and `report.schema.json` beside this module says the same
to programs in other languages.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from pytest_ragshortcut.reporting.gate_schema import (
    GateRecord,
    PropertyRecord,
    RegressionRecord,
    WaiverRecord,
)
from pytest_ragshortcut.stored.readings import ReadingRecord

__all__ = ["GateRecord", "PropertyRecord", "ReadingRecord", "RegressionRecord", "WaiverRecord"]

SCHEMA = 1

Numbers = list[float | None]


class MapRecord(TypedDict):
    """A heat map over tokens of the prompt."""

    title: str
    unit: str
    """What a value is, in words."""
    rows: list[str]
    """One label a layer, the lowest layer first."""
    columns: list[int]
    """The token positions that were computed, ascending."""
    values: list[Numbers]
    """(n_rows, n_columns)."""


class LineRecord(TypedDict):
    """One curve by layer."""

    label: str
    book: Literal["open", "closed"]
    values: Numbers


class CurvesRecord(TypedDict):
    """Curves over the same points."""

    title: str
    unit: str
    points: list[str]
    lines: list[LineRecord]


class PieceRecord(TypedDict):
    """A passage or one of its sentences, and what the answer loses without it."""

    passage: int
    sentence: int | None
    """None for a whole passage."""
    text: str
    probability: float | None
    """p(answer) without this piece."""
    effect: float | None
    """Log-odds of the answer lost without it, in nats; negative where it stood in the way."""


class ExplanationRecord(TypedDict):
    """Where an answer came from, in as much detail as there is."""

    tokens: list[str]
    """Each token's text; joined they are the prompt, answer tokens but the last included."""
    spans: dict[str, list[list[int]]]
    """role -> runs of token positions [start, stop)."""
    shades: dict[str, Numbers]
    """probe -> (n_tokens,) its reading of every token; None where it was not computed."""
    maps: list[MapRecord]
    curves: list[CurvesRecord]
    pieces: list[PieceRecord]
    """Each passage, and each sentence of passages that have several, in order."""
    missing: dict[str, str]
    """probe -> why there is nothing of it."""


class FoundRecord(TypedDict):
    """A text that a probe used, and where it came from."""

    text: str
    how: str


class SwapRecord(TypedDict):
    """What the model says with the context answer replaced."""

    substitutes: list[str]
    substitute_probability: Numbers
    memory_probability: Numbers


class EvidenceRecord(TypedDict):
    """One probe's own reading."""

    probe: str
    value: float | None
    reading: str


class WorkRecord(TypedDict):
    """What a check cost."""

    seconds: float
    forwards: float | None
    """Token-layers computed, in plain forwards of the check's own prompt."""
    remembered: int
    """How many of the plans and answers asked for were known already."""
    computed: int
    """How many were not."""


class CheckRecord(TypedDict):
    """One reliance check of a test."""

    check: str
    """assert_context_reliance, say."""
    kind: Literal["context", "parametric"]
    case: str
    """The case as the caller gave it: valid Python."""
    asking: str
    """Twelve hex digits of how it was asked: of both prompts before a chat template, and of the
    limits; empty where that is not known."""
    question: str
    passages: list[str]
    subject: str
    answer: str
    context_answer: str
    memory_answer: str
    found: dict[str, FoundRecord]
    score: float | None
    interval: list[float | None]
    verdict: str
    reason: str
    model: str
    swap: SwapRecord
    evidence: list[EvidenceRecord]
    claims: list[str]
    """What it was compared with, '> 0.8' say."""
    held: bool
    work: WorkRecord
    spread: float | None
    """By how much the score moves when it is measured again, alone and beside others; None where
    it was not."""
    explanation: ExplanationRecord | None
    """None where nobody asked for one, or where `unexplained` says why there is none."""
    unexplained: str
    notes: dict[str, str]
    """What hooks of the project's own added."""


class HuntRecord(TypedDict):
    """What a property-based test drew, and what it spent."""

    n_examples: int
    """How often its body ran, smaller examples of a failure included."""
    n_cases: int
    """How many different cases its checks asked about."""
    forwards: float
    """Spent by its checks, in plain forwards."""
    seconds: float
    ended: str
    """Which budget ended it before its time; empty where none did."""
    share: str
    """What was found of the share of examples that hold; empty where all were to hold."""


class TestRecord(TypedDict):
    """One test that made checks."""

    id: str
    """Its node id, parameters included."""
    command: str
    """What runs it alone, typed where pytest was started."""
    file: str
    """Its file, relative to where pytest was started."""
    line: int
    """The line its function starts at, from 1."""
    outcome: Literal["passed", "failed", "skipped"]
    seconds: float
    n_checks: int
    """How many checks it made; those kept in `checks` may be fewer."""
    checks: list[CheckRecord]
    hunt: HuntRecord | None
    """None where the test is not property-based."""


class ModelRecord(TypedDict):
    """One model that was asked."""

    name: str
    fingerprint: str
    """Twelve hex digits of the content of weights, tokenizer and configuration."""
    weights: str
    """Twelve hex digits of the weights alone, and so on; empty where there is nothing of it, or
    nothing that has a content to compare."""
    tokenizer: str
    chat_template: str
    config: str
    quantization: str
    """The quantization method; empty where there is none."""
    libraries: dict[str, str]
    """Library -> the version that ran the model."""
    device: str
    dtype: str
    attention: str
    executor: str
    n_layers: int
    n_parameters: int
    n_bytes: int
    """Of the weights of one copy."""
    n_copies: int
    """How many processes held one."""


class Report(TypedDict):
    """A whole run."""

    schema: int
    plugin: str
    """The plugin's version."""
    created: str
    """ISO 8601, in UTC."""
    seed: int
    models: list[ModelRecord]
    tests: list[TestRecord]
    notes: list[str]
    """What there is to say of how models were run."""
    gate: GateRecord | None
    """None where nobody asked for one."""
