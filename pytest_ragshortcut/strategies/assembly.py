"""How a context is put together from what was drawn, within its limits. Nothing is drawn here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pytest_ragshortcut.core.rewrites import Change, spellings
from pytest_ragshortcut.core.spans import occurrences
from pytest_ragshortcut.errors import CaseError, quoted

REPETITION = "repetition"

Rewriting = Callable[[str], str]
"""A caller's own change of a passage."""
Addition = tuple[str, int]
"""A passage, and before how many of those that were there first it stands."""


class Operation(NamedTuple):
    """One thing to do to a context."""

    change: Change | Rewriting | None
    """How to rewrite a passage; None lets it stand again."""
    way: int
    """Which way of the change; of a repetition, before how many passages it stands."""
    target: int
    """Which passage: 0 the gold one, then the others as they were added."""


class Placed(NamedTuple):
    """A passage of a context in the making."""

    text: str
    number: int
    """0 for the gold passage, then the others as they were added."""
    is_gold: bool
    """Whether it is the gold passage, or that passage again."""


@dataclass(frozen=True)
class Assembly:
    """What is the same for all contexts of one strategy."""

    gold: str
    """The passage that states the answer."""
    answer: str
    """What no other passage states."""
    keep: tuple[str, ...]
    """What else the gold passage keeps as it is."""
    passages: int
    """How many a context has at most."""
    max_tokens: int | None
    """How many tokens it has at most."""
    count_tokens: Callable[[str], int]
    """Counts them."""

    def context(
        self, additions: Iterable[Addition], operations: Iterable[Operation]
    ) -> tuple[str, ...]:
        """Put a context together. What does not fit, or states the answer, is left out.

        Args:
            additions: the passages beside the gold one.
            operations: what is done then. Repetitions come last, so that they are exact.

        Example:
            >>> assembly = Assembly("In Cork.", "Cork", (), 3, None, len)
            >>> assembly.context([("Tea is served.", 1)], [Operation(None, 0, 0)])
            ('Tea is served.', 'In Cork.', 'In Cork.')
        """
        silent = [(text, gap) for text, gap in distinct(additions) if self._is_silent(text)]
        silent = silent[: self.passages - 1]
        while silent and not self.fits([self.gold, *(text for text, _ in silent)]):
            silent.pop()
        placed = [
            Placed(text, number, is_gold=number == 0) for number, text in among([self.gold], silent)
        ]
        for operation in sorted(operations, key=lambda each: each.change is None):
            changed = self._done(placed, operation)
            if len(changed) <= self.passages and self.fits([each.text for each in changed]):
                placed = changed
        return tuple(each.text for each in placed)

    def fits(self, passages: Sequence[str]) -> bool:
        """Tell whether passages keep the token budget."""
        return self.max_tokens is None or self.count_tokens("\n".join(passages)) <= self.max_tokens

    def _is_silent(self, passage: str) -> bool:
        return bool(passage.strip()) and not occurrences(passage, self.answer)

    def _done(self, placed: list[Placed], operation: Operation) -> list[Placed]:
        change, way, target = operation
        number = 1 + (target - 1) % (len(placed) - 1) if target and len(placed) > 1 else 0
        index = next(i for i, each in enumerate(placed) if each.number == number)
        old = placed[index]
        if change is None:
            at = len(placed) - way % (len(placed) + 1)
            return [*placed[:at], old._replace(number=len(placed)), *placed[at:]]
        if isinstance(change, Change):
            text = change.apply(old.text, way, (self.answer, *self.keep))
        else:
            text = self._rewritten(change, old)
        return [*placed[:index], old._replace(text=text), *placed[index + 1 :]]

    def _rewritten(self, change: Rewriting, old: Placed) -> str:
        """Make a caller's own change.

        Raises:
            CaseError: if it takes from the gold passage what it keeps, or gives another the answer.
        """
        new: object = change(old.text)
        name = getattr(change, "__name__", repr(change))
        if not isinstance(new, str) or not new.strip():
            problem = f"the change {name} makes {new!r} of {quoted(old.text)}"
        elif lost := [
            text
            for text in (self.answer, *self.keep)
            if old.is_gold and not spellings(new, text) & spellings(old.text, text)
        ]:
            problem = f"the change {name} takes {lost[0]!r} from the gold passage: {quoted(new)}"
        elif not old.is_gold and not self._is_silent(new):
            problem = f"the change {name} makes a distractor state {self.answer!r}: {quoted(new)}"
        else:
            return new
        raise CaseError(
            problem,
            where="contexts, changes",
            expected="A change returns a passage; the gold one keeps the answer and what keep "
            "names as they are spelled, and no other states the answer",
            action=f"Mend {name}, or let it return such passages as they are",
        )


def among(base: Sequence[str], additions: Iterable[Addition]) -> list[tuple[int, str]]:
    """Place passages among others, without changing the order of either.

    Args:
        base: the passages that are there first.
        additions: the others, each with before how many of the base it stands.

    Returns:
        (number, text) of each in order; numbers go through the base, then through the additions.

    Example:
        >>> among(["gold"], [("later", 0), ("before", 1), ("last", 0)])
        [(2, 'before'), (0, 'gold'), (1, 'later'), (3, 'last')]
    """
    numbered = list(enumerate(additions, start=len(base)))
    placed: list[tuple[int, str]] = []
    for index in range(len(base) + 1):
        placed += [(number, text) for number, (text, gap) in numbered if gap == len(base) - index]
        placed += list(enumerate(base))[index : index + 1]
    return placed


def distinct(additions: Iterable[Addition]) -> list[Addition]:
    """Leave out what was added before.

    What is drawn again is dropped rather than exchanged for what is left: the shrinker takes
    passages away, and what stands for a passage must not hang on those before it.

    Example:
        >>> distinct([("one", 0), ("two", 1), ("one", 1)])
        [('one', 0), ('two', 1)]
    """
    first: dict[str, Addition] = {}
    for addition in additions:
        first.setdefault(addition[0], addition)
    return list(first.values())
