"""From probes to a verdict: what a reliance score is, what it may claim, and why.

The score is the counterfactual swap alone, the one probe that is behaviour. Models whose reliance
was planted decided that (tests/calibration): it tells context from memory case by case, also where
the two agree; it equals the planted degree; and no other probe adds to it. Contributions order
cases nearly as well, but on a scale that differs from model to model; cuts of the attribute tell
poorly in agreement, where memory stands in; the subject's states tell nothing of a case, or the
reverse. The other probes are kept beside the score as evidence and do not enter the number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.figures import Panel
from pytest_ragshortcut.core.results import Result, SwapResult

Kind = Literal["context", "parametric"]


class Verdict(StrEnum):
    """Where the answer came from."""

    CONTEXT = "CONTEXT"
    MEMORY = "MEMORY"
    SHORTCUT = "SHORTCUT"
    MIXED = "MIXED"
    UNGROUNDED = "UNGROUNDED"
    UNDECIDED = "UNDECIDED"


SENTENCES: Mapping[Verdict, str] = {
    Verdict.CONTEXT: "The answer came from the context, and would have followed it had it said "
    "otherwise.",
    Verdict.MEMORY: "The answer came from parametric memory; the context was ignored.",
    Verdict.SHORTCUT: "The model knows the fact, and its parametric path is idle: it read the "
    "context alone.",
    Verdict.MIXED: "Both the context and parametric memory carry the answer.",
    Verdict.UNGROUNDED: "Neither the context nor memory accounts for the answer.",
    Verdict.UNDECIDED: "The readings do not tell where the answer came from.",
}


@dataclass(frozen=True)
class Limits:
    """Where one verdict ends and the next begins."""

    min_context_follow: float = 0.8
    """Mean follow from which the context is said to carry the answer."""
    max_memory_follow: float = 0.2
    """Mean follow up to which memory is said to carry it."""
    min_mass: float = 0.05
    """Mean p(o') + p(m) below which neither accounts for the answer."""
    min_kept: float = 0.5
    """Share of p(answer) left after the swap from which the swap did not touch the answer."""
    min_known: float = 0.9
    """Closed-book probability of the memory answer from which the model is said to know it."""


@dataclass(frozen=True)
class Found:
    """A text that a probe used, and where it came from."""

    text: str
    how: str


@dataclass(frozen=True)
class Evidence:
    """One probe's own reading."""

    probe: str
    """Which probe, on which span or edge."""
    value: float
    """The reading; NaN where it is undefined."""
    reading: str
    """What the number says, in words, or why there is none."""


def verdict(
    swap: SwapResult, *, known: float, limits: Limits, said: str | None = None
) -> tuple[Verdict, str]:
    """Decide where the answer came from, and say why.

    Args:
        swap: the counterfactual swap.
        known: closed-book probability of the memory answer.
        limits: where one verdict ends and the next begins.
        said: what the model says to the case as it is; None where the caller named an answer.
    """
    if swap.mass < limits.min_mass:
        return _unaccounted(swap, limits)
    sides = {_side(float(follow), limits) for follow in swap.follow_each}
    if len(sides) > 1:
        low, high = float(swap.follow_each.min()), float(swap.follow_each.max())
        return Verdict.UNDECIDED, (
            f"the substitutes disagree, {' and '.join(sorted(sides))}: follow lies between "
            f"{low:.2f} and {high:.2f}"
        )
    (side,) = sides
    if side in (Verdict.CONTEXT, Verdict.MEMORY) and _side_of_saying(said, swap) not in (
        side,
        None,
    ):
        return Verdict.UNDECIDED, (
            f"to the case as it is, which states {swap.context_answer!r}, it says {said!r}, and "
            f"after the swap it {'follows' if side == Verdict.CONTEXT else 'does not'} "
            f"({swap.follow:.2f})"
        )
    if side == Verdict.MEMORY:
        return Verdict.MEMORY, (
            f"after the swap it still says {swap.memory_answer!r} (follow {swap.follow:.2f})"
        )
    if side == Verdict.MIXED:
        return Verdict.MIXED, f"follow is {swap.follow:.2f}, between memory and context"
    if known >= limits.min_known:
        return Verdict.SHORTCUT, (
            f"closed-book it says {swap.memory_answer!r} with p {known:.2f}, and with the "
            f"context it follows the swap ({swap.follow:.2f})"
        )
    return Verdict.CONTEXT, f"it follows the swap ({swap.follow:.2f})"


def _side(follow: float, limits: Limits) -> Verdict:
    """Say what one substitute tells by itself."""
    if follow >= limits.min_context_follow:
        return Verdict.CONTEXT
    return Verdict.MEMORY if follow <= limits.max_memory_follow else Verdict.MIXED


def _side_of_saying(said: str | None, swap: SwapResult) -> Verdict | None:
    """Say on which side the answer to the case as it is stands; None where on neither, or both."""
    context, memory, answer = (
        (text or "").strip().casefold() for text in (swap.context_answer, swap.memory_answer, said)
    )
    if context == memory or answer not in (context, memory):
        return None
    return Verdict.CONTEXT if answer == context else Verdict.MEMORY


def _unaccounted(swap: SwapResult, limits: Limits) -> tuple[Verdict, str]:
    """Decide where neither the substitute nor the memory answer is said after the swap."""
    neither = (
        f"after the swap p(substitute) + p(memory answer) is {swap.mass:.3g}, "
        f"below min_mass {limits.min_mass:.3g}"
    )
    if swap.kept < limits.min_kept:
        return Verdict.UNDECIDED, (
            f"the swap took the answer away (to {swap.kept:.0%} of its p), but put neither in its "
            f"place: {neither}"
        )
    return Verdict.UNGROUNDED, f"the answer stays whatever the context states: {neither}"


@dataclass(frozen=True, eq=False, repr=False)
class Reliance(Result):
    """A reliance score and its evidence. It compares with numbers; undefined, it never holds."""

    kind: Kind
    """Which of the two: context or parametric."""
    score: float
    """In [0, 1]; NaN where neither context nor memory accounts for the answer."""
    interval: tuple[float, float]
    """The range over the substitutes: not a confidence interval."""
    verdict: Verdict
    """Where the answer came from."""
    reason: str
    """Why this verdict."""
    evidence: tuple[Evidence, ...]
    """Each probe's own reading."""
    asked: RagCase
    """The case as the caller gave it."""
    case: RagCase
    """The case with everything that was found filled in."""
    found: Mapping[str, Found]
    """role -> text and how it was found."""
    model: str
    """The model's name."""
    swap: SwapResult
    """The probe that the score is read from."""

    def __float__(self) -> float:
        return self.score

    def __gt__(self, limit: float) -> bool:
        return self.score > limit

    def __ge__(self, limit: float) -> bool:
        return self.score >= limit

    def __lt__(self, limit: float) -> bool:
        return self.score < limit

    def __le__(self, limit: float) -> bool:
        return self.score <= limit

    @property
    def title(self) -> str:
        """Score, interval and verdict in one line."""
        low, high = self.interval
        return f"{self.kind} reliance {self.score:.2f} [{low:.2f}, {high:.2f}] {self.verdict}"

    def panels(self) -> tuple[Panel, ...]:
        """Return what the swap shows."""
        return self.swap.panels()


def score(swap: SwapResult, kind: Kind, *, limits: Limits) -> tuple[float, tuple[float, float]]:
    """Read a score and its range over the substitutes from a swap.

    Returns:
        Context reliance: mean follow. Parametric reliance: its complement. NaN where the two
        answers account for less than min_mass of what the model may say.
    """
    if swap.mass < limits.min_mass:
        return math.nan, (math.nan, math.nan)
    low, high = float(swap.follow_each.min()), float(swap.follow_each.max())
    if kind == "context":
        return swap.follow, (low, high)
    return 1.0 - swap.follow, (1.0 - high, 1.0 - low)
