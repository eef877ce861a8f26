"""Inquiries: probes that say what they ask of a model, so that many can be asked at once.

An inquiry is a generator. It yields a step, the requests that it needs answered next, is sent
their answers in the same order, and returns its result. `together` makes one inquiry of several,
whose steps are theirs, side by side: the executor packs what they ask into one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from pytest_ragshortcut.core.plans import ProbePlan, RowReading
from pytest_ragshortcut.core.ports import ProbeModel
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.core.screening import Screening
from pytest_ragshortcut.errors import RagShortcutError


@dataclass(frozen=True, eq=False)
class Continue:
    """Asks for a prompt's greedy continuation."""

    prompt: TokenizedPrompt


@dataclass(frozen=True, eq=False)
class Alternatives:
    """Asks for a prompt's greedy continuations from its likeliest first tokens."""

    prompt: TokenizedPrompt
    ranks: range
    """Which of them, the likeliest being 0."""


Request = ProbePlan | Continue | Alternatives | Screening
Step = tuple[Request, ...]

T = TypeVar("T")
Inquiry = Generator[Step, tuple[Any, ...], T]


def read(plan: ProbePlan) -> Inquiry[tuple[RowReading, ...]]:
    """Ask for one plan's readings."""
    (readings,) = yield (plan,)
    return tuple(readings)


def ask(model: ProbeModel, inquiry: Inquiry[T]) -> T:
    """Carry an inquiry out on a model."""
    try:
        step = next(inquiry)
        while True:
            try:
                answers = _answers(model, step)
            except RagShortcutError as error:
                step = inquiry.throw(error)
            else:
                step = inquiry.send(answers)
    except StopIteration as stop:
        result: T = stop.value
        return result


def together(inquiries: Sequence[Inquiry[T]]) -> Inquiry[list[T]]:
    """Carry several inquiries out side by side.

    A step that cannot be answered is taken apart, and each inquiry's share asked by itself: an
    error reaches the inquiry that asked for it, and no other.

    Returns:
        Their results, in order.
    """
    results: dict[int, T] = {}
    waiting: dict[int, Step] = {}

    def advance(index: int, move: Callable[[], Step]) -> None:
        try:
            waiting[index] = move()
        except StopIteration as stop:
            results[index] = stop.value

    for index, inquiry in enumerate(inquiries):
        advance(index, inquiry.__next__)
    while waiting:
        steps, waiting = waiting, {}
        for index, answers in (yield from _shared(steps)).items():
            inquiry = inquiries[index]
            if isinstance(answers, RagShortcutError):
                advance(index, partial(inquiry.throw, answers))
            else:
                advance(index, partial(inquiry.send, answers))
    return [results[index] for index in range(len(inquiries))]


def _shared(steps: dict[int, Step]) -> Inquiry[dict[int, tuple[Any, ...] | RagShortcutError]]:
    """Ask several steps as one, or one by one where that cannot be answered."""
    try:
        answers = iter((yield tuple(request for step in steps.values() for request in step)))
    except RagShortcutError as error:
        if len(steps) == 1:
            return dict.fromkeys(steps, error)
        apart: dict[int, tuple[Any, ...] | RagShortcutError] = {}
        for index, step in steps.items():
            apart |= yield from _shared({index: step})
        return apart
    return {index: tuple(islice(answers, len(step))) for index, step in steps.items()}


def _answers(model: ProbeModel, step: Step) -> tuple[Any, ...]:
    """Answer the requests of one kind together."""
    answers: dict[int, Any] = {}
    if plans := {i: r for i, r in enumerate(step) if isinstance(r, ProbePlan)}:
        answers |= zip(plans, model.run_all(list(plans.values())), strict=True)
    if prompts := {i: r.prompt for i, r in enumerate(step) if isinstance(r, Continue)}:
        answers |= zip(prompts, model.generate(list(prompts.values())), strict=True)
    if screened := {i: r for i, r in enumerate(step) if isinstance(r, Screening)}:
        answers |= zip(screened, model.estimate_effects(list(screened.values())), strict=True)
    others = {i: r for i, r in enumerate(step) if isinstance(r, Alternatives)}
    for ranks in {request.ranks for request in others.values()}:
        alike = {i: r.prompt for i, r in others.items() if r.ranks == ranks}
        answers |= zip(alike, model.alternatives(list(alike.values()), ranks), strict=True)
    return tuple(answers[i] for i in range(len(step)))
