"""What a baseline holds, in builtins alone: the scores that a later model is compared with.

`Baseline` is what --rag-save writes and --rag-compare reads; `baseline.schema.json` beside this
module says the same to programs in other languages. The file is committed: its keys have an order,
and a score that changes changes one line of it.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from pytest_ragshortcut.stored.readings import ReadingRecord

__all__ = ["ReadingRecord"]

SCHEMA = 2


class WaiverEntry(TypedDict):
    """A regression that somebody allows for a while. People write these by hand."""

    test: str
    """The test's node id."""
    case: str
    """The case as the test's entry spells it; empty, or left out, for every case of the test."""
    reason: str
    """Why it may be so. It must say something."""
    expires: str
    """ISO 8601, 2027-01-31 say: the last day that it holds."""


class IdentityRecord(TypedDict):
    """What ran: the model and what it ran on. A text is empty where it is not known."""

    fingerprint: str
    """Twelve hex digits of the content of weights, tokenizer and configuration."""
    weights: str
    """Twelve hex digits of the weights alone, and so on."""
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


class SettingsRecord(TypedDict):
    """How it was asked."""

    template: str
    probes: str
    seed: int


class EntryRecord(TypedDict):
    """One reliance check of a test, and what was read."""

    case: str
    """The case as the caller gave it: valid Python."""
    kind: Literal["context", "parametric"]
    better: Literal["more", "less"]
    """Which way the test's claims go; without any, more context reliance, less parametric."""
    asking: str
    """Twelve hex digits of how it was asked: of both prompts before a chat template, and of the
    limits; empty where that is not known, as in baselines of schema 1."""
    reading: ReadingRecord


class BaselineModel(TypedDict):
    """One model's scores."""

    identity: IdentityRecord | None
    """None where it is not known, as in baselines of schema 1."""
    settings: SettingsRecord | None
    """None where they are not known, as in baselines of schema 1."""
    spread: float | None
    """By how much scores move when they are measured again, alone and beside others; None where it
    was not measured."""
    tests: dict[str, list[EntryRecord]]
    """Node id -> the test's checks, in the order that it made them."""


class Baseline(TypedDict):
    """The scores of one run or several, of one model or several."""

    schema: int
    plugin: str
    """The version that wrote it last; empty where that is not known."""
    waivers: list[WaiverEntry]
    models: dict[str, BaselineModel]
    """The model's name -> its scores."""
