"""A broken property in words: lines of its own, above the explanation of the check."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from pytest_ragshortcut.reporting.cells import fold, visible
from pytest_ragshortcut.reporting.text import exact, number

_WIDTH, _LABEL = 88, 10
_PLACES_A_LINE = 8


def lines(first: str, told: Sequence[str], rest: str) -> str:
    """Put a failure together: what was broken, how, and the explanation of a check.

    Example:
        >>> lines("It fell.", ["  change      so"], "context reliance 0.03").splitlines()
        ['It fell.', '', '  change      so', '', 'context reliance 0.03']
    """
    return "\n".join([visible(first), "", *told, *([""] if told else []), rest])


def fields_of(label: str, texts: Sequence[str]) -> Iterator[str]:
    """Write texts beside a label, one below the other, as the explanation of a check does.

    Example:
        >>> list(fields_of("says", ["one", "two"]))
        ['  says        one', '              two']
    """
    folded = [line for text in texts for line in fold(visible(text), _WIDTH - _LABEL - 4)]
    for index, line in enumerate(folded):
        yield f"  {'' if index else label:<{_LABEL}}  {line}"


def numbers(indices: Sequence[int]) -> str:
    """List indices.

    Example:
        >>> numbers([0, 2, 1])
        '0, 2, 1'
    """
    return ", ".join(map(str, indices))


def short_of(score: float, **limit: float) -> str:
    """Say of a score by how much it is short of the limit of this name.

    Example:
        >>> short_of(0.03, min_follow=0.8)
        '0.03, below min_follow 0.8'
        >>> short_of(float("nan"), min_follow=0.8)
        'undefined, where min_follow is 0.8'
    """
    ((name, value),) = limit.items()
    if math.isnan(score):
        return f"undefined, where {name} is {value:g}"
    return f"{exact(score, [value])}, below {name} {value:g}"


def by_place(scores: Mapping[int, float]) -> list[str]:
    """Write scores by place, a few a line.

    Example:
        >>> by_place({0: 0.994, 1: 0.03, 2: float("nan")})
        ['0: 0.99, 1: 0.03, 2: undefined']
    """
    texts = [f"{place}: {number(score)}" for place, score in scores.items()]
    starts = range(0, len(texts), _PLACES_A_LINE)
    return [", ".join(texts[start : start + _PLACES_A_LINE]) for start in starts]
