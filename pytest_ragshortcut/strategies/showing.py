"""How what was drawn is shown when a test fails: as itself, to be pasted into @example."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hypothesis import strategies as st

T = TypeVar("T")
U = TypeVar("U")


@st.composite
def shown_as_made(draw: st.DrawFn, drawn: st.SearchStrategy[T], make: Callable[[T], U]) -> U:
    """Draw what is made of a draw.

    Hypothesis would show what `map` or `builds` returned as the call that made it, in names that
    a test does not have.

    Example:
        >>> from hypothesis import find
        >>> find(shown_as_made(st.sampled_from(["Cork", "Rome"]), str.upper), lambda _: True)
        'CORK'
    """
    return make(draw(drawn))
