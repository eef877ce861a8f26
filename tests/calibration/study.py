"""From settings to results: every planted model asked, every candidate held against the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from benchmarks.counts import Recorder
from benchmarks.timing import progress

from calibration.candidates import CANDIDATES, Candidate
from calibration.columns import COLUMNS, CONTEXTS, Column, Measured, graded
from calibration.metrics import middle
from calibration.paper import paper_rows
from calibration.planted import DIALS, NEITHER, Planted, dialled_models, trained_models
from calibration.readings import PROBES, readings
from pytest_ragshortcut.models.embedded import NAMES
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.probes.inquiry import ask, together
from pytest_ragshortcut.probes.reliance import context_reliances
from pytest_ragshortcut.probes.resolve import resolve

Result = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What a run measures."""

    models: tuple[str, ...] = NAMES
    """The trained models."""
    dials: tuple[float, ...] = DIALS
    """The strengths that each path of a hand-weighted model takes."""
    n_cases: int = 25
    """Contradicting cases of each kind and trained model; each has an agreeing twin."""
    n_dial_cases: int = 3
    """The same for each setting of the dials."""
    n_paper_cases: int = 8
    """Cases of each truth that the paper's protocol is run on."""
    n_priced: int = 3
    """Cases of each trained model whose cost is counted."""
    seed: int = 2
    """Of the cases; what the embedded models promise is tested with 1."""
    packed: int = 5
    """How many cases are asked side by side."""
    progress: bool = False


def study(settings: Settings) -> Result:
    """Ask every planted model, and hold every candidate against the truth."""
    measured: list[Measured] = []
    costs: dict[str, list[float]] = {candidate.name: [] for candidate in CANDIDATES}
    lengths: list[float] = []
    paper: list[Result] = []
    for planted in _planted(settings):
        with progress(f"{planted.name}: {len(planted.cases)} cases", shown=settings.progress):
            model = planted.load()
            found = list(settled(measure(model, planted, settings.packed)))
            measured += found
            paper += paper_rows(model, planted, found, settings.n_paper_cases)
            if planted.family == "trained":
                for name, length, forwards in prices(model, found, settings.n_priced):
                    costs[name].append(forwards)
                    lengths.append(length)
    return {
        "columns": [column.title for column in COLUMNS if any(map(column.asks, measured))],
        "candidates": [
            {
                "name": candidate.name,
                "cells": track(candidate, measured),
                "forwards": middle(costs[candidate.name]),
            }
            for candidate in CANDIDATES
        ],
        "priced": {"n_cases": len(lengths) // len(CANDIDATES), "n_tokens": middle(lengths)},
        "degrees": degrees(measured),
        "verdicts": verdicts(measured),
        "unread": Counter(m.unread for m in measured if m.unread),
        "paper": paper,
    }


def _planted(settings: Settings) -> Iterator[Planted]:
    yield from trained_models(settings.models, settings.n_cases, settings.seed)
    yield from dialled_models(settings.dials, settings.n_dial_cases, settings.seed)


def measure(model: RagModel, planted: Planted, packed: int) -> Iterator[Measured]:
    """Read every probe of every case, and take the verdict that a user would see."""
    for start in range(0, len(planted.cases), packed):
        part = planted.cases[start : start + packed]
        found = ask(model, together([readings(model, c.case, tuple(PROBES)) for c in part]))
        asked = [c.case for c, values in zip(part, found, strict=True) if isinstance(values, dict)]
        # What was just asked is remembered: the verdicts cost next to nothing.
        verdicts = iter(context_reliances(model, asked, probes=()))
        for case, values in zip(part, found, strict=True):
            if isinstance(values, dict):
                reliance = next(verdicts)
                said, recalled = str(reliance.case.answer), str(reliance.case.memory_answer)
                verdict = str(reliance.verdict)
                yield Measured(planted.family, planted.name, case, values, said, recalled, verdict)
            else:
                unread = type(values).__name__
                yield Measured(planted.family, planted.name, case, unread=unread)


def settled(measured: Iterable[Measured]) -> Iterator[Measured]:
    """Give cases of forms never taught the truth that the answer to the conflict shows."""
    truth = NEITHER
    for each in measured:
        if not each.case.is_held_out:
            yield each
            continue
        if not each.case.agrees:
            answers = {each.case.case.context_answer: 1.0, each.recalled: 0.0}
            truth = answers.get(each.said, NEITHER) if each.said else NEITHER
        yield replace(each, case=replace(each.case, truth=truth))


def track(candidate: Candidate, measured: Sequence[Measured]) -> dict[str, Result]:
    """Hold a candidate against the truth, column by column."""
    scored = [(m, candidate.score(m.values)) for m in measured if not m.unread]
    cells: dict[str, Result] = {}
    for column, context in product(COLUMNS, CONTEXTS):
        picked = [(m, s) for m, s in scored if m.context == context and column.asks(m)]
        if picked:
            cells.setdefault(column.title, {})[context] = _cell(column, picked)
    return cells


def _cell(column: Column, picked: Sequence[tuple[Measured, float]]) -> Result:
    scores = np.array([score for _, score in picked])
    truth = np.array([m.case.truth for m, _ in picked])
    return {
        "value": column.metric(scores, truth),
        "n": int((~np.isnan(scores)).sum()),
        "of": len(scores),
    }


def prices(
    model: RagModel, measured: Sequence[Measured], n_priced: int
) -> Iterator[tuple[str, int, float]]:
    """Count what each candidate asks of a model that has been asked nothing, the answers included.

    Yields:
        The candidate's name, the prompt's tokens, and the cost in plain forwards of that prompt,
        by token-layers.
    """
    cases = [m.case.case for m in measured if not m.unread and not m.case.agrees]
    for case in cases[:n_priced]:
        n_tokens = len(ask(model, resolve(model, case)).open_book.input_ids)
        for candidate in CANDIDATES:
            recorder = Recorder(model)
            ask(recorder, readings(recorder, case, candidate.probes))
            yield candidate.name, n_tokens, recorder.token_layers() / (n_tokens * model.n_layers)


def degrees(measured: Sequence[Measured]) -> list[Result]:
    """List today's score of every case whose degree was planted, by family and degree."""
    groups: dict[tuple[str, str, float], list[float]] = {}
    for each in measured:
        if not each.unread and (family := graded(each)):
            score = round(CANDIDATES[0].score(each.values), 4)
            groups.setdefault((family, each.context, each.case.truth), []).append(score)
    return [
        {"family": family, "context": context, "planted": planted, "scores": scores}
        for (family, context, planted), scores in sorted(groups.items())
    ]


def verdicts(measured: Sequence[Measured]) -> list[Result]:
    """Count the verdicts of each planted kind."""
    groups: dict[tuple[str, str, str], list[Measured]] = {}
    for each in measured:
        groups.setdefault((each.group, each.kind, each.context), []).append(each)
    return [
        {
            "model": model,
            "kind": kind,
            "context": context,
            "planted": NEITHER if group[0].case.is_held_out else group[0].case.truth,
            "n": len(group),
            "counts": Counter(m.verdict for m in group if m.verdict),
            "taught": sum(bool(m.said and m.case.wanted) for m in group),
            "as_taught": sum(m.said == m.case.wanted for m in group if m.said),
        }
        for (model, kind, context), group in groups.items()
    ]
