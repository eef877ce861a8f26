"""Long texts shortened around what matters in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from pytest_ragshortcut.core.finding import sentences
from pytest_ragshortcut.core.spans import CharSpan, occurrences
from pytest_ragshortcut.reporting.cells import fold, visible, width_of

# Room for one '… (412 words) …': what would not fill it need not be left out.
_MARK = 18


def excerpt(text: str, phrase: str, *, width: int, n_lines: int) -> str:
    """Shorten a text to its beginning, the first sentence with a phrase, and its end.

    Args:
        text: any text; white space becomes single spaces, control characters are written out.
        phrase: what the sentence holds; without one the middle is left out.
        width: columns of a line.
        n_lines: about how many lines it may take. A sentence that is longer by itself is
            shortened on both sides of the phrase.

    Example:
        >>> excerpt("One two three. It was Cork. " + "so " * 40, "Cork", width=30, n_lines=2)
        'One two three. It was Cork. … (39 words) … so'
    """
    flat = _flat(text)
    if len(fold(flat, width)) <= n_lines:
        return flat
    units, unit, between = _units(flat, width)
    costs = [width_of(flat[start:stop]) + len(between) for start, stop in units]
    budget = width * n_lines
    start, stop = _middle(text, phrase, units, costs, budget)
    edge = (budget - sum(costs[start:stop]) - 2 * _MARK) // 2
    kept = {*range(start, stop), *range(_n_first(costs, edge))}
    kept |= set(range(len(units) - _n_first(reversed(costs), edge), len(units)))
    for gap in _runs(len(units), kept):
        if gap[0] not in kept and sum(costs[index] for index in gap) <= _MARK:
            kept |= set(gap)
    shown = (
        between.join(flat[slice(*units[index])] for index in run)
        if run[0] in kept
        else f"… ({len(run)} {unit}) …"
        for run in _runs(len(units), kept)
    )
    return " ".join(shown)


def _runs(n_units: int, kept: set[int]) -> list[list[int]]:
    """Group units into runs that are kept and runs that are not, in order."""
    return [list(run) for _, run in groupby(range(n_units), key=kept.__contains__)]


def _flat(text: str) -> str:
    return visible(" ".join(text.split()))


def _units(flat: str, width: int) -> tuple[list[CharSpan], str, str]:
    """Cut a text into what is kept or left out: words, or characters where words are too wide."""
    words = [found.span() for found in re.finditer(r"\S+", flat)]
    if all(width_of(flat[start:stop]) <= width for start, stop in words):
        return words, "words", " "
    return [(index, index + 1) for index in range(len(flat))], "characters", ""


def _middle(
    text: str, phrase: str, units: Sequence[CharSpan], costs: Sequence[int], budget: int
) -> tuple[int, int]:
    """Say which units are the first sentence with a phrase, or what of it the budget allows."""
    found = occurrences(_flat(text), _flat(phrase))
    if not found:
        return 0, 0
    first, last = _units_of(units, found[0])
    start, stop = _units_of(units, _sentence_at(text, found[0]))
    if sum(costs[start:stop]) > budget:
        room = (budget - sum(costs[first:last])) // 2
        start = first - _n_first(reversed(costs[start:first]), room)
        stop = last + _n_first(costs[last:stop], room)
    return start, stop


def _sentence_at(text: str, phrase: CharSpan) -> CharSpan:
    """Locate, in the flat text, the sentence that a phrase begins in."""
    start = 0
    for sentence in sentences(text):
        stop = start + len(_flat(sentence))
        if phrase[0] < stop:
            return start, max(stop, phrase[1])
        start = stop + 1
    return phrase


def _units_of(units: Sequence[CharSpan], span: CharSpan) -> tuple[int, int]:
    """Return the run [first, last) of the units that share a character with a span."""
    inside = [i for i, (start, stop) in enumerate(units) if start < span[1] and stop > span[0]]
    return inside[0], inside[-1] + 1


def _n_first(costs: Iterable[int], room: int) -> int:
    """Count how many of the first units there is room for."""
    count = 0
    for cost in costs:
        room -= cost
        if room < 0:
            break
        count += 1
    return count
