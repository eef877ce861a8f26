"""A case measured as it is, and then changed: what both share, what was lost, how it is told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pytest_ragshortcut.assertions import (
    RelianceCheck,
    assert_context_reliance,
    forwards_of,
    work_of,
)
from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.ledger import current, options_of_test
from pytest_ragshortcut.core.ports import ProbeModel
from pytest_ragshortcut.core.spans import occurrences
from pytest_ragshortcut.errors import CaseError, OptionError, listed, quoted
from pytest_ragshortcut.metamorphic.texts import by_place, fields_of, lines, numbers, short_of
from pytest_ragshortcut.probes.reliance import context_reliances
from pytest_ragshortcut.reporting.text import exact, number

_GIVEN = "given"
_KEPT = ("subject", "context_answer", "substitutes")


@dataclass(frozen=True)
class Change:
    """One change of a case."""

    text: str
    """What it is, in words."""
    fields: Mapping[str, Any]
    """Field of RagCase -> what it becomes."""
    place: int = 0
    """Where it was made; tells several of a kind apart."""


@dataclass(frozen=True)
class Trial:
    """A case that was measured as it is, and has something to lose by a change."""

    model: ProbeModel
    case: RagCase
    doing: str
    """What the change does, to begin a sentence with."""
    before: RelianceCheck
    """The case as it is."""
    max_drop: float
    options: Mapping[str, Any]
    """Of context_reliance."""

    @property
    def known(self) -> RagCase:
        """The case with what was found of it, but for what the model itself says.

        To a changed prompt it may say something else. The memory answer stays what it was, and is
        remembered as the tokens that were said, which its text need not have.
        """
        reliance = self.before.reliance
        return replace(
            reliance.case,
            answer=self.case.answer,
            memory_answer=self.case.memory_answer,
            substitutes=reliance.swap.substitutes,
        )

    @property
    def context_answer(self) -> str:
        """What the context states."""
        return self.before.reliance.swap.context_answer

    def stating(self) -> list[int]:
        """List the passages that state the context answer."""
        passages = enumerate(self.case.passages)
        return [index for index, text in passages if occurrences(text, self.context_answer)]

    def gold(self, gold: int | None) -> int:
        """Take the passage that states the context answer, or the one that the caller names.

        Raises:
            CaseError: if it does not state it, or none is named and several do.
        """
        stating, answer = self.stating(), quoted(self.context_answer)
        if gold is None and len(stating) == 1:
            return stating[0]
        if gold is None or gold not in stating:
            which = f"passages {numbers(stating)} state the context answer {answer}"
            wrong = f"passage {gold} does not state the context answer {answer}"
            raise CaseError(
                which if gold is None else wrong,
                where="gold",
                expected="The gold passage is the one that states the context answer",
                action=f"Name it: gold={stating[0] if stating else 0}, say",
            )
        return gold

    def require_silent(self, role: str, text: str) -> None:
        """Check that a text which is new to the case does not give the answer away.

        Raises:
            CaseError: if it does.
        """
        if occurrences(text, self.context_answer):
            raise CaseError(
                f"the {role} {quoted(text)} states the context answer "
                f"{quoted(self.context_answer)}",
                where=role,
                expected=f"A {role} leaves the answer to the passage that states it",
                action="Leave it out, or reword it",
            )

    def require_kept(self, changes: Sequence[Change], *, added: tuple[str, str] = ("", "")) -> None:
        """Claim that the worst of these changes costs at most max_drop.

        Args:
            changes: the changes, at least one.
            added: what is new in the prompts, and its text: substitutes that stand in it would be
                said for another reason than that the model follows, and are left out.

        Raises:
            CaseError: if no substitute is left.
        """
        __tracebackhide__ = True
        stated, kept = self._substitutes(*added)
        cases = [replace(self.known, substitutes=kept, **change.fields) for change in changes]
        scores = self._scores(cases)
        worst = min(range(len(cases)), key=lambda i: -1.0 if math.isnan(scores[i]) else scores[i])
        check = assert_context_reliance(self.model, cases[worst], **self.options)
        self.retell(check, replace(self.case, **changes[worst].fields))
        if stated:
            record = check.record["found"]["substitutes"]
            record["how"] += f", but for {listed(stated)}, which the {added[0]} states"
        before, after = self._score_over(kept), check.reliance.score
        told = list(fields_of("change", [changes[worst].text]))
        if len(changes) > 1:
            places = [change.place for change in changes]
            told += fields_of("score at", by_place(dict(zip(places, scores, strict=True))))
        # Rounded down, so that the limit can be read and what stays the same holds at max_drop=0.
        limit = math.floor(max(0.0, before - self.max_drop) * 1e6) / 1e6
        claim(check, limit, self._lost(before, after), told)

    def _lost(self, before: float, after: float) -> str:
        if math.isnan(after):
            return f"{self.doing}: context reliance was {number(before)} and becomes undefined"
        return (
            f"{self.doing}: context reliance fell from {number(before)} to {number(after)}, "
            f"by {exact(before - after, [self.max_drop])}: more than max_drop {self.max_drop:g}"
        )

    def _score_over(self, kept: Sequence[str]) -> float:
        """Return the score of the case as it is over some of its substitutes."""
        swap = self.before.reliance.swap
        follows = zip(swap.substitutes, swap.follow_each, strict=True)
        return float(np.mean([each for text, each in follows if text in kept]))

    def _scores(self, cases: Sequence[RagCase]) -> list[float]:
        """Measure several cases side by side; a single one is measured when it is checked."""
        if len(cases) == 1:
            return [0.0]
        options = {**options_of_test(self.options), "probes": ()}
        before = work_of(self.model)
        measured = context_reliances(self.model, cases, **options)
        if (ledger := current()) is not None and ledger.hunt is not None:
            work = work_of(self.model) - before
            ledger.hunt.spend(forwards_of(work, measured[0], self.model) or 0.0)
        return [each.score for each in measured]

    def _substitutes(self, role: str, text: str) -> tuple[list[str], tuple[str, ...]]:
        """Tell substitutes that a text which is new to the case states from those that it does not.

        Raises:
            CaseError: if it states all of them.
        """
        told = "\n".join((self.case.question, *self.case.passages))
        substitutes = self.before.reliance.swap.substitutes
        stated = [s for s in substitutes if occurrences(text, s) and not occurrences(told, s)]
        kept = tuple(s for s in substitutes if s not in stated)
        if not kept:
            raise CaseError(
                f"the {role} {quoted(text)} states every substitute: {listed(substitutes)}",
                where=role,
                expected=f"A substitute that the {role} does not state",
                action="Pass others with the case: RagCase(..., substitutes=[...])",
            )
        return stated, kept

    def retell(self, check: RelianceCheck, asked: RagCase, **hows: str) -> None:
        """Say of a changed case what its caller gave, and where the rest was found.

        Args:
            check: the check of the changed case.
            asked: the changed case as its caller would give it.
            hows: role -> how it was found, where that is not as it was found before the change.
        """
        record, found = check.record, self.before.reliance.found
        record["case"] = repr(asked)
        for role in _KEPT:
            if found[role].how != _GIVEN or role in hows:
                how = hows.get(role, f"before the change, {found[role].how}")
                record["found"][role]["how"] = how


def begin(
    model: ProbeModel,
    case: RagCase,
    doing: str,
    *,
    min_before: float,
    max_drop: float = 1.0,
    options: Mapping[str, Any],
) -> Trial:
    """Measure a case as it is, and claim that it has something to lose.

    Raises:
        AssertionError: if its context reliance is below min_before.
        OptionError: if a limit is not in [0, 1].
        CaseError: if the case cannot be completed.
    """
    __tracebackhide__ = True
    require_shares(max_drop=max_drop, min_before=min_before)
    before = assert_context_reliance(model, case, **options)
    short = short_of(before.reliance.score, min_before=min_before)
    first = f"{doing}: there is nothing to lose: before it context reliance is {short}"
    claim(before, min_before, first)
    return Trial(model, case, doing, before, max_drop, options)


def claim(check: RelianceCheck, limit: float, first: str, told: Sequence[str] = ()) -> None:
    """Claim that a check reaches a limit; a failure begins with lines of the property's own."""
    __tracebackhide__ = True
    try:
        _ = check >= limit
    except AssertionError as error:
        raise AssertionError(lines(first, told, str(error))) from None


def several(case: RagCase, reason: str) -> tuple[str, ...]:
    """Return the passages of a case that has more than one.

    Raises:
        CaseError: if it has one.
    """
    if len(case.passages) == 1:
        raise CaseError(
            f"the case has one passage, and {reason}",
            where=f"context of {quoted(case.question)}",
            expected="Two passages at least",
            action="Add passages: RagCase(question, [passage, another])",
        )
    return case.passages


def require_shares(**limits: float) -> None:
    """Check that limits are scores.

    Raises:
        OptionError: naming the first that is none.
    """
    for name, value in limits.items():
        if not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
            raise OptionError(
                option=name, value=repr(value), expected="a number in [0, 1], as scores are"
            )
