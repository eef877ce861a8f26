"""Where a phrase stands in a text, and which tokens cover it: by offsets, never by decoding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from unicodedata import east_asian_width

CharSpan = tuple[int, int]
TokenSpan = tuple[int, int]


def occurrences(text: str, phrase: str) -> tuple[CharSpan, ...]:
    """Find every whole-word occurrence of a phrase; its exact case first, any case otherwise.

    Returns:
        (start, stop) character spans in order, not overlapping.

    Example:
        >>> occurrences("Corkscrews are made in Cork. Cork!", "Cork")
        ((23, 27), (29, 33))
        >>> occurrences("in PARIS", "Paris")
        ((3, 8),)
    """
    phrase = phrase.strip()
    if not phrase:
        return ()
    return _whole_words(text, phrase) or _whole_words(_folded(text), _folded(phrase))


def replace_spans(text: str, spans: Sequence[CharSpan], replacement: str) -> str:
    """Replace each span of a text.

    Example:
        >>> replace_spans("Cork, then Cork", [(0, 4), (11, 15)], "Rome")
        'Rome, then Rome'
    """
    for start, stop in sorted(spans, reverse=True):
        text = text[:start] + replacement + text[stop:]
    return text


def tokens_of(
    text: str, offsets: Sequence[CharSpan], spans: Iterable[CharSpan]
) -> tuple[TokenSpan, ...]:
    """Say which tokens share a character that is not a space with any of the spans.

    Args:
        text: the whole tokenized text.
        offsets: (n_tokens,) character span of each token; may include a leading space.
        spans: character spans.

    Returns:
        Runs of token positions as (start, stop), in order. Source: a token may hold the space
        before a word, and a letter may be split over several tokens, so neither decoding nor
        counting characters would do.

    Example:
        >>> tokens_of("in New York", [(0, 2), (2, 6), (6, 11)], [(3, 11)])
        ((1, 3),)
    """
    wanted = {i for start, stop in spans for i in range(start, stop) if not text[i].isspace()}
    hit = [
        index
        for index, (start, stop) in enumerate(offsets)
        if any(i in wanted for i in range(start, stop))
    ]
    return runs(hit)


def runs(positions: Iterable[int]) -> tuple[TokenSpan, ...]:
    """Group positions into runs of neighbours.

    Example:
        >>> runs([4, 5, 6, 9])
        ((4, 7), (9, 10))
    """
    grouped: list[list[int]] = []
    for position in sorted(set(positions)):
        if grouped and grouped[-1][1] == position:
            grouped[-1][1] = position + 1
        else:
            grouped.append([position, position + 1])
    return tuple((start, stop) for start, stop in grouped)


def positions(spans: Iterable[TokenSpan]) -> tuple[int, ...]:
    """List the positions that runs cover.

    Example:
        >>> positions(((4, 7), (9, 10)))
        (4, 5, 6, 9)
    """
    return tuple(i for start, stop in spans for i in range(start, stop))


def _whole_words(text: str, phrase: str) -> tuple[CharSpan, ...]:
    found: list[CharSpan] = []
    start = text.find(phrase)
    while start >= 0:
        stop = start + len(phrase)
        if not _joined(text, start) and not _joined(text, stop):
            found.append((start, stop))
            start = text.find(phrase, stop)
        else:
            start = text.find(phrase, start + 1)
    return tuple(found)


def _joined(text: str, boundary: int) -> bool:
    """Whether the characters on both sides of a boundary belong to one word."""
    if boundary in (0, len(text)):
        return False
    return _is_word(text[boundary - 1]) and _is_word(text[boundary])


def _is_word(character: str) -> bool:
    # Scripts written without spaces have no word boundaries to respect.
    unspaced = east_asian_width(character) in "WF" or "\u0e00" <= character <= "\u0eff"
    return character.isalnum() and not unspaced


def _folded(text: str) -> str:
    # Character by character, so that offsets keep their meaning ('ß'.upper() is two letters).
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
