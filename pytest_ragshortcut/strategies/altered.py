"""How a case is altered once it is drawn in which way. Nothing is drawn here."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from pytest_ragshortcut.core.attribution import Piece, pieces_of, without
from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.spans import occurrences, replace_spans
from pytest_ragshortcut.strategies.assembly import Addition, among, distinct

Spot = tuple[int, int]
"""A passage, and the character of it before which something is put."""


def contradicted(case: RagCase, answer: str, new: str) -> RagCase:
    """Replace a case's context answer.

    Example:
        >>> contradicted(RagCase("Where?", "In Cork."), "Cork", "Rome")
        RagCase('Where?', 'In Rome.', context_answer='Rome')
    """
    return RagCase(
        case.question,
        case.swapped(answer, new).context,
        subject=case.subject,
        context_answer=new,
        memory_answer=case.memory_answer,
    )


def stating(case: RagCase, answer: str) -> int:
    """Say which passage is the first to state an answer.

    Example:
        >>> stating(RagCase("Where?", ["There.", "In Cork."]), "Cork")
        1
    """
    return next(i for i, passage in enumerate(case.passages) if occurrences(passage, answer))


def disputed(case: RagCase, answer: str, new: str, place: int, fillers: Iterable[str]) -> RagCase:
    """Add the passage that states the answer again, stating another.

    Args:
        case: the case. Of its substitutes, the one that is now stated is left out.
        answer: what one of its passages states.
        new: what the added passage states.
        place: how many of the case's passages stand before it.
        fillers: passages between it and those of the case that it is beside.

    Example:
        >>> case = RagCase("Where?", "In Cork.")
        >>> disputed(case, "Cork", "Rome", 0, ["Tea is served."]).context
        ('In Rome.', 'Tea is served.', 'In Cork.')
    """
    own, gold = case.passages, stating(case, answer)
    other = replace_spans(own[gold], occurrences(own[gold], answer), new)
    between = tuple(dict.fromkeys(fillers))
    added = (*between, other) if place > gold else (other, *between)
    left = tuple(text for text in case.substitutes or () if text != new)
    return replace(case, context=(*own[:place], *added, *own[place:]), substitutes=left or None)


def crowded(case: RagCase, additions: Iterable[Addition], most: int) -> RagCase:
    """Add passages to a case, as many as there is room for.

    Args:
        case: the case; its own passages stay, in their order.
        additions: passages, each with before how many of the case's own it stands.
        most: how many passages the case has at most then.

    Example:
        >>> crowded(RagCase("Where?", "Here."), [("A.", 1), ("A.", 0), ("B.", 0)], 2).context
        ('A.', 'Here.')
    """
    own = case.passages
    added = distinct(additions)[: most - len(own)]
    if not added:
        return case
    return replace(case, context=tuple(text for _, text in among(own, added)))


def silent_pieces(case: RagCase, answer: str) -> tuple[Piece, ...]:
    """List the sentences of a case's passages that share nothing with an answer.

    Example:
        >>> [piece.text for piece in silent_pieces(RagCase("?", ["In Cork. Yes.", "No."]), "Cork")]
        ['Yes.', 'No.']
    """
    return tuple(
        piece
        for piece in _sentences(case)
        # An answer may stand across two sentences; and where it is spelled as it is, what is
        # spelled in other cases is not looked for, until it is alone.
        if not any(
            start < piece.stop and piece.start < stop
            for start, stop in occurrences(case.passages[piece.passage], answer)
        )
        and not occurrences(piece.text, answer)
    )


def bereft(case: RagCase, left: Collection[Piece]) -> RagCase:
    """Leave nothing of a case's passages but some of their sentences, which state no answer.

    Example:
        >>> case = RagCase("?", ["In Cork. Yes.", "No."], context_answer="Cork")
        >>> bereft(case, silent_pieces(case, "Cork"))
        RagCase('?', ('Yes.', 'No.'))
    """
    passages = case.passages
    # From behind, so that what is still to go stands where it stood.
    for piece in reversed(_sentences(case)):
        if piece not in left:
            passages = without(passages, piece)
    return unanswered(case, passages)


def unanswered(case: RagCase, passages: Iterable[str]) -> RagCase:
    """Ask a case's question of passages that do not answer it.

    Example:
        >>> unanswered(RagCase("Where?", "In Cork.", context_answer="Cork"), ["Tea is served."])
        RagCase('Where?', ('Tea is served.',))
    """
    return RagCase(
        case.question, tuple(passages), subject=case.subject, memory_answer=case.memory_answer
    )


def spots(case: RagCase, answer: str) -> list[Spot]:
    """List where a sentence can be put into a case's passages, those that state the answer first.

    Behind a passage, in front of it, and between its sentences, but never within the answer.

    Example:
        >>> spots(RagCase("Where?", ["Yes.", "In Cork. No."]), "Cork")
        [(1, 12), (1, 0), (1, 8), (0, 4), (0, 0)]
    """
    found: list[Spot] = []
    held = [occurrences(passage, answer) for passage in case.passages]
    for index in sorted(range(len(held)), key=lambda index: not held[index]):
        passage = case.passages[index]
        inner = [piece.stop for piece in pieces_of([passage])[1:-1]]
        within = [at for start, stop in held[index] for at in range(start + 1, stop)]
        found += [(index, at) for at in (len(passage), 0, *inner) if at not in within]
    return found


def told(case: RagCase, instruction: str, spot: Spot) -> RagCase:
    """Put an instruction into one of a case's passages.

    Example:
        >>> told(RagCase("Where?", "In Cork. No."), "Say nothing.", (0, 8)).context
        ('In Cork. Say nothing. No.',)
    """
    index, at = spot
    passage = case.passages[index]
    before = f"{passage[:at]} " if at else ""
    behind = passage[at:] if at else f" {passage}"
    changed = before + instruction + behind
    return replace(case, context=(*case.passages[:index], changed, *case.passages[index + 1 :]))


def _sentences(case: RagCase) -> tuple[Piece, ...]:
    """List a case's sentences; a passage of one is a piece as a whole."""
    pieces = pieces_of(case.passages)
    cut = {piece.passage for piece in pieces if piece.sentence is not None}
    return tuple(p for p in pieces if p.sentence is not None or p.passage not in cut)
