"""Contexts around a gold passage: what stands beside it, where, and what was done to passages.

They shrink by whole passages and changes towards the gold passage alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import strategies as st

from pytest_ragshortcut.core.rewrites import CHANGES
from pytest_ragshortcut.errors import CaseError, listed
from pytest_ragshortcut.strategies.assembly import (
    REPETITION,
    Addition,
    Assembly,
    Operation,
    Rewriting,
)
from pytest_ragshortcut.strategies.checks import (
    require_number,
    require_silent,
    require_stated,
    require_texts,
    several,
)
from pytest_ragshortcut.strategies.showing import shown_as_made

DISTRACTORS = (
    "The museum opens at nine every morning.",
    "Tickets can be bought at the door.",
    "The weather was mild that spring.",
    "Some of the letters have been lost.",
    "Visitors are asked to keep quiet.",
    "More details are given in the next chapter.",
)
CHANGE_NAMES = (*CHANGES, REPETITION)
"""What `changes` may name."""

Passages = str | Sequence[str] | st.SearchStrategy[str]
Named = str | Rewriting | st.SearchStrategy[Rewriting]
Changes = Named | Sequence[Named]

_MOST_CHANGES = 4
# Beside many changes these would be too rare to be met in a hundred draws.
_TWICE_AS_OFTEN = ("heading", REPETITION)


def count_words(text: str) -> int:
    """Count the words of a text.

    Example:
        >>> count_words("Born in Cork.")
        3
    """
    return len(text.split())


def contexts(
    gold: str,
    *,
    answer: str,
    distractors: Passages = DISTRACTORS,
    passages: int = 4,
    changes: Changes = (),
    keep: str | Sequence[str] = (),
    max_tokens: int | None = None,
    count_tokens: Callable[[str], int] = count_words,
) -> st.SearchStrategy[tuple[str, ...]]:
    r"""Draw contexts that hold a gold passage among distractors, in every place.

    Shrinks to the gold passage alone, as it is. Its answer stays as it is spelled, and no other
    passage comes to state it.

    Args:
        gold: the passage that states the answer.
        answer: the context answer, verbatim in the gold passage and in no distractor.
        distractors: passages that do not state it, of one sentence or several; or a strategy of
            passages, of which those that do are left out.
        passages: how many a context has at most.
        changes: what else may be done to passages, gold or not: names among CHANGE_NAMES, or
            'all' of them; own functions of a passage, and strategies of such functions.
        keep: what else the gold passage keeps verbatim under every change: the subject, say.
        max_tokens: how many tokens a context has at most. Passages that were added last are left
            out until they fit, and changes that do not fit are not made.
        count_tokens: counts the tokens of a text; without it, words.

    Raises:
        SpanNotFoundError: if the gold passage does not state the answer, or what to keep.
        CaseError: if a distractor states it, an argument leaves nothing to draw, or, when one is
            drawn, an own change takes from the gold passage what it keeps.

    Example:
        >>> from hypothesis import find
        >>> drawn = contexts("Born in Cork.", answer="Cork", changes="all", max_tokens=40)
        >>> find(drawn, lambda context: len(context) > 1)
        ('Born in Cork.', 'The museum opens at nine every morning.')
        >>> find(drawn, lambda context: "#" in context[0])
        ('# Overview\nBorn in Cork.',)
    """
    kept = several(keep)
    require_stated(gold, (answer,), role="answer")
    require_stated(gold, kept, role="text to keep")
    require_number(passages, least=1, argument="passages", of="contexts")
    assembly = Assembly(gold, answer, kept, passages, max_tokens, count_tokens)
    _require_room(assembly)
    operations = _operations(changes, passages)
    drawn = st.tuples(
        _additions(distractors, answer, passages),
        st.lists(st.one_of(operations), max_size=_MOST_CHANGES) if operations else st.just([]),
    )
    return shown_as_made(drawn, lambda each: assembly.context(*each))


def _additions(
    distractors: Passages, answer: str, passages: int
) -> st.SearchStrategy[list[Addition]]:
    if isinstance(distractors, st.SearchStrategy):
        texts = distractors
    elif passages == 1:
        texts = st.nothing()
    else:
        chosen = several(distractors)
        require_texts(chosen, argument="distractors", of="contexts")
        require_silent(
            chosen,
            answer,
            role="distractor",
            where="contexts, distractors",
            expected="A distractor does not state the answer",
        )
        texts = st.sampled_from(tuple(dict.fromkeys(chosen)))
    # Behind the gold passage before in front of it, so that it shrinks to the first place. One
    # more than there is room for, because some are drawn again.
    addition = st.tuples(texts, st.integers(0, 1))
    return st.lists(addition, max_size=passages if passages > 1 else 0)


def _operations(changes: Changes, passages: int) -> list[st.SearchStrategy[Operation]]:
    """List, for each change, the strategy of making it: in which way, and of which passage."""
    target = st.just(0) | st.integers(1, passages - 1) if passages > 1 else st.just(0)
    drawn: list[st.SearchStrategy[Operation]] = []
    for change in _chosen(changes):
        if isinstance(change, st.SearchStrategy):
            drawn.append(st.builds(Operation, change, st.just(0), target))
        elif not isinstance(change, str):
            drawn.append(st.builds(Operation, st.just(change), st.just(0), target))
        elif change == REPETITION:
            drawn.append(st.builds(Operation, st.none(), st.integers(0, passages - 1), target))
        else:
            ways = st.integers(0, CHANGES[change].n_ways - 1)
            drawn.append(st.builds(Operation, st.just(CHANGES[change]), ways, target))
    return drawn


def _chosen(changes: Changes) -> list[Named]:
    """List the changes that are meant.

    Raises:
        CaseError: if one is neither a name of a change nor a function nor a strategy.
    """
    given: Sequence[Named]
    if isinstance(changes, str | st.SearchStrategy) or callable(changes):
        given = (changes,)
    else:
        given = changes
    chosen: list[Named] = []
    for change in given:
        if change == "all":
            chosen += [*CHANGE_NAMES, *_TWICE_AS_OFTEN]
        elif change in CHANGE_NAMES or isinstance(change, st.SearchStrategy) or callable(change):
            chosen.append(change)
        else:
            raise CaseError(
                f"{change!r} is no change of a passage",
                where="contexts, changes",
                expected=f"'all', any of {listed(CHANGE_NAMES)}, a function of a passage, or a "
                "strategy of such functions",
                action="Correct the name, or pass the function itself",
            )
    return chosen


def _require_room(assembly: Assembly) -> None:
    if assembly.max_tokens is not None and not assembly.fits([assembly.gold]):
        n_tokens = assembly.count_tokens(assembly.gold)
        raise CaseError(
            f"max_tokens is {assembly.max_tokens}, and the gold passage alone has {n_tokens}",
            where="contexts, max_tokens",
            expected="The gold passage fits, whatever else is left out",
            action=f"Pass max_tokens={n_tokens} or more, or a shorter gold passage",
        )
