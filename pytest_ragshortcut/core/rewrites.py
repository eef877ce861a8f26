"""What ingestion and people do to a passage: cut, wrapped, mistyped, in other characters.

A change has so many ways, and each way one result: they are enumerated, never random. What is to
be kept, the answer above all, stays verbatim, and is stated nowhere else.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType

from pytest_ragshortcut.core.attribution import pieces_of
from pytest_ragshortcut.core.spans import CharSpan, occurrences

Way = Callable[[str, Sequence[str]], str]
"""A passage, and what to keep of it -> the passage changed."""

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_BLANK = re.compile(r" +")
_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?]) +")
_START_OF_LINE = re.compile(r"^", re.MULTILINE)
_WORDS_A_LINE = 6
_N_CUTS = 6
_N_MISTYPED_WORDS = 8
_SHORTEST_MISTYPED = 4

_HOMOGLYPHS = str.maketrans("aceiopsxyABCEHIKMOPTX", "асеіорѕхуАВСЕНІКМОРТХ")
_FULL_WIDTH = {code: code + 0xFEE0 for code in range(ord("!"), ord("~") + 1)}
_TYPOGRAPHY = (
    (re.compile(r'(?<!\w)"(?=\w)'), "“"),
    (re.compile(r'"'), "”"),
    (re.compile(r"(?<!\w)'(?=\w)"), "‘"),
    (re.compile(r"'"), "’"),
    (re.compile(r"(?<=\d)-(?=\d)|(?<=\s)--?(?=\s)"), "–"),
    (re.compile(r"(?<=\w)-(?=\w)"), "\u2010"),
    (re.compile(r"\.\.\."), "…"),
)
# Each says that the museum is open every day.
_FOREIGN = (
    "Музей открыт каждый день.",
    "Το μουσείο είναι ανοιχτό κάθε μέρα.",
    "المتحف مفتوح كل يوم.",
    "המוזיאון פתוח בכל יום.",
    "संग्रहालय हर दिन खुला रहता है।",
    "博物馆每天开放。",
    "博物館は毎日開いています。",
    "박물관은 매일 문을 엽니다.",
    "พิพิธภัณฑ์เปิดทุกวัน",
)


@dataclass(frozen=True)
class Change:
    r"""One kind of change of a passage.

    Example:
        >>> CHANGES["heading"].apply("Born in Cork.", 0)
        '# Overview\nBorn in Cork.'
        >>> CHANGES["case"].apply("Born in Cork.", 0, kept=["Cork"])
        'BORN IN Cork.'
        >>> CHANGES["metadata"].apply("Born in 2021.", 2, kept=["2021"])  # would date it 2021
        'Born in 2021.'
    """

    name: str
    """What a caller names it."""
    ways: tuple[Way, ...] = field(repr=False)
    """The ways to make it. Not every passage offers each; then it stays as it is."""

    @property
    def n_ways(self) -> int:
        """How many ways there are."""
        return len(self.ways)

    def apply(self, passage: str, way: int, kept: Sequence[str] = ()) -> str:
        """Change a passage, or return it as it is where it would not state what it stated.

        Args:
            passage: the passage.
            way: which way, from 0.
            kept: texts of which it must state neither less nor more.
        """
        changed = self.ways[way](passage, kept)
        return changed if is_intact(passage, changed, kept) else passage


def spellings(passage: str, text: str) -> frozenset[str]:
    """List how a passage spells a text; nothing, if it does not state it.

    Example:
        >>> spellings("In CORK.", "Cork"), spellings("In Rome.", "Cork")
        (frozenset({'CORK'}), frozenset())
    """
    return frozenset(passage[start:stop] for start, stop in occurrences(passage, text))


def is_intact(before: str, after: str, kept: Sequence[str]) -> bool:
    r"""Tell whether a changed passage states what it stated, spelled as it was, no more often.

    Example:
        >>> is_intact("In Cork.", "IN Cork.", ["Cork"]), is_intact("In Cork.", "IN CORK.", ["Cork"])
        (True, False)
        >>> is_intact("In Cork.", "# News\nIn Cork.", ["Cork", "News"])
        False
    """
    return all(
        bool(spellings(after, text)) == bool(spellings(before, text))
        and spellings(after, text) <= spellings(before, text)
        and len(occurrences(after, text)) <= len(occurrences(before, text))
        for text in kept
    )


def _free(pattern: re.Pattern[str], passage: str, kept: Sequence[str]) -> list[CharSpan]:
    """Locate a pattern where it shares no character with what is kept."""
    held = [span for text in kept for span in occurrences(passage, text)]
    return [
        match.span()
        for match in pattern.finditer(passage)
        if not any(start < match.end() and match.start() < stop for start, stop in held)
    ]


def _rewritten(passage: str, spans: Sequence[CharSpan], new: Callable[[str], str]) -> str:
    for start, stop in reversed(spans):
        passage = passage[:start] + new(passage[start:stop]) + passage[stop:]
    return passage


def _around(before: str, behind: str = "") -> Way:
    return lambda passage, _: before + passage + behind


def _each(pattern: re.Pattern[str], new: str | Callable[[str], str]) -> Way:
    made = (lambda _: new) if isinstance(new, str) else new
    return lambda passage, kept: _rewritten(passage, _free(pattern, passage, kept), made)


def _truncated(way: int, passage: str, kept: Sequence[str]) -> str:
    """Cut a passage at a sentence's end, behind the first mention of all that is kept."""
    said = [found[0][1] for text in kept if (found := occurrences(passage, text))]
    ends = [piece.stop for piece in pieces_of([passage])[1:-1]]
    allowed = [end for end in ends if end >= max(said, default=0)]
    return passage[: allowed[way % len(allowed)]] if allowed else passage


def _wrapped(passage: str, kept: Sequence[str]) -> str:
    blanks = _free(_BLANK, passage, kept)
    return _rewritten(passage, blanks[_WORDS_A_LINE - 1 :: _WORDS_A_LINE], lambda _: "\n")


def _typographic(passage: str, kept: Sequence[str]) -> str:
    for pattern, sign in _TYPOGRAPHY:
        passage = _each(pattern, sign)(passage, kept)
    return passage


def _parted(sign: str, word: str) -> str:
    half = len(word) // 2
    return word[:half] + sign + word[half:] if len(word) >= _SHORTEST_MISTYPED else word


def _mistyped(
    number: int, mistype: Callable[[str, int], str], passage: str, kept: Sequence[str]
) -> str:
    spans = [
        (start, stop)
        for start, stop in _free(_WORD, passage, kept)
        if stop - start >= _SHORTEST_MISTYPED and passage[start:stop].isalpha()
    ]
    if not spans:
        return passage
    return _rewritten(
        passage, [spans[number % len(spans)]], lambda word: mistype(word, len(word) // 2)
    )


def _swap(word: str, at: int) -> str:
    # Two letters that are the same would stay as they are.
    at = next((i for i in range(at, len(word)) if word[i] != word[i - 1]), at)
    return word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :]


def _drop(word: str, at: int) -> str:
    return word[:at] + word[at + 1 :]


def _double(word: str, at: int) -> str:
    return word[:at] + word[at] + word[at:]


def _capitalised(word: str) -> str:
    return word[:1].upper() + word[1:]


_WAYS: Mapping[str, Sequence[Way]] = {
    "truncation": [partial(_truncated, way) for way in range(_N_CUTS)],
    "heading": [
        _around("# Overview\n"),
        _around("## Background\n\n"),
        _around("### 1. Details\n"),
        _around("# Notes #\n\n"),
        _around("Overview\n--------\n"),
        _around("OVERVIEW\n"),
    ],
    "metadata": [
        _around("Source: https://archive.example/page/12\n"),
        _around("[doc-0042]\n"),
        _around("Date: 2021-03-14\n"),
        _around("id: 7f3a-42\nlang: en\nscore: 0.83\n"),
        _around("", "\n(Source: the archive, page 12)"),
        _around("", "\nLast updated: 14 March 2021"),
    ],
    "whitespace": [
        _each(_BLANK, "  "),
        _around("", "  \n"),
        _around("    "),
        _each(_BETWEEN_SENTENCES, "\n"),
        _each(_BETWEEN_SENTENCES, "\r\n\r\n"),
        _wrapped,
        _each(_BLANK, "\t"),
        _each(_BLANK, "\u00a0"),
    ],
    "markup": [
        _around("<p>", "</p>"),
        _around('<div class="passage"><span>', "</span></div>"),
        _each(_BETWEEN_SENTENCES, "<br/>\n"),
        _each(_BLANK, "&nbsp;"),
        _each(_START_OF_LINE, "- "),
        _each(_START_OF_LINE, "> "),
        _around("1. "),
        _around("**", "**"),
        _around("```\n", "\n```"),
    ],
    "case": [_each(_WORD, new) for new in (str.upper, str.lower, _capitalised)],
    "unicode": [
        _typographic,
        _each(_WORD, partial(unicodedata.normalize, "NFD")),
        _each(_WORD, partial(_parted, "\u200b")),
        _each(_WORD, partial(_parted, "\u00ad")),
        _around("\ufeff"),
        _each(_WORD, lambda word: word.translate(_HOMOGLYPHS)),
        _each(_WORD, lambda word: word.translate(_FULL_WIDTH)),
    ],
    "script": [
        way for foreign in _FOREIGN for way in (_around("", f" {foreign}"), _around(f"{foreign} "))
    ],
    "typo": [
        partial(_mistyped, number, mistype)
        for number in range(_N_MISTYPED_WORDS)
        for mistype in (_swap, _drop, _double)
    ],
}

CHANGES: Mapping[str, Change] = MappingProxyType(
    {name: Change(name, tuple(ways)) for name, ways in _WAYS.items()}
)
"""name -> the change of that name."""
