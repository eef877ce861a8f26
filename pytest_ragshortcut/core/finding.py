"""Finding what the caller left out: subject, context answer, substitutes. Text alone, no model."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise

from pytest_ragshortcut.core.spans import occurrences
from pytest_ragshortcut.errors import AmbiguousSpanError, AnswerNotFoundError

_WORD = re.compile(r"\w+(?:[.'’-]\w+)*")
_QUOTED = re.compile(r"\"([^\"]+)\"|“([^”]+)”|«([^»]+)»|(?<!\w)‘(.+?)’(?!\w)|(?<!\w)'(.+?)'(?!\w)")
_POSSESSIVE = re.compile(r"['’]s$")
# After these a full stop ends no sentence; nor does it after an initial.
_ABBREVIATED = frozenset(("St", "Mt", "Ft", "Dr", "Mr", "Mrs", "Ms"))
_INVENTED = ("Veltano", "Morvane", "Quistel")
_NOBODY = ("Tarbek", "Ilsworth", "Pandrova", "Gremwick", "Sollivar", "Hadderby")
_NAME_SIGNS = frozenset(" .'’-&,_")
_NO_ANSWER = frozenset(("unknown", "unfortunately", "none", "sorry", "n/a"))
# What is longer than an answer by more words is a sentence.
_MORE_WORDS = 2
_ARTICLES = frozenset(("a", "an", "the"))
_SENTENCE_END = re.compile(
    r"(?<=[.!?。])(?<!\b[A-Z]\.)(?<!\b(?:St|Mt|Ft|Dr|Mr|Ms)\.)(?<!\bMrs\.)\s+"
)
_CONNECTORS = frozenset("of the de la le du del della di da van von der den al el bin".split())
_FUNCTION_WORDS = frozenset(
    (
        "a an the and or but if then than so as at by for from in into of on to with about after "
        "before during is are was were be been being do does did has have had can could will would "
        "shall should may might must who whom whose what which where when why how that this these "
        "those it its he she they them his her their there name tell give state say me us i you "
        "since until while because between under over near "
        "your my our not no yes please one all any each city country capital person people"
    ).split()
)


def find_subject(question: str, context: str) -> tuple[str, str]:
    """Find the entity that a question asks about.

    Quoted titles come first, then names, then the longest phrase shared with the context. Of
    several, those that the context mentions.

    Returns:
        The subject as the question spells it, and how it was found.

    Raises:
        AmbiguousSpanError: if several candidates remain.
        AnswerNotFoundError: if there is none.

    Example:
        >>> find_subject("Where was Eavan Boland born?", "Eavan Boland, the poet, ...")
        ('Eavan Boland', 'the only name in the question')
    """
    quoted = ("".join(groups) for groups in _QUOTED.findall(question))
    found = _distinct(quoted) or _names(question, numbered=True)
    if len(found) == 1:
        return found[0], "the only name in the question"
    mentioned = [name for name in found if occurrences(context, name)]
    if len(mentioned) == 1:
        return mentioned[0], "the only name in the question that the context mentions"
    if found:
        raise AmbiguousSpanError(
            role="subject", candidates=mentioned or found, within=question, keyword="subject"
        )
    return _shared_phrase(question, context), "the longest phrase shared with the context"


def find_context_answer(
    *, context: str, subject: str, question: str, said: str, memory: str
) -> tuple[str, str]:
    """Find what the context states in answer to the question.

    The model's own answer where the context contains it; else the only name, or number, beside
    the subject, of the kind that the memory answer is.

    Returns:
        The answer as the context spells it, and how it was found.

    Raises:
        AmbiguousSpanError: if several candidates remain.
        AnswerNotFoundError: if there is none.

    Example:
        >>> find_context_answer(context="Ada Quill was born in Rome.", subject="Ada Quill",
        ...     question="Where was Ada Quill born?", said="Oslo", memory="Oslo")
        ('Rome', 'the only name beside the subject')
    """
    if spelled := _longest_stated_prefix(said, context, question):
        return spelled, "the open-book answer, which the context contains"
    kind, candidates = _beside(context, subject, question, memory)
    if len(candidates) == 1:
        return candidates[0], f"the only {kind} beside the subject"
    if candidates:
        raise AmbiguousSpanError(
            role="context answer", candidates=candidates, within=context, keyword="context_answer"
        )
    reason = f"the model says {said!r}, and no {kind} stands beside {subject!r}"
    raise AnswerNotFoundError(
        role="context answer", reason=reason, within=context, keyword="context_answer"
    )


def usable_substitutes(
    candidates: Iterable[str], *, like: str, taken: Sequence[str], text: str, count: int
) -> tuple[str, ...]:
    """Keep the first candidates that look like an answer, are new to the prompt, and not taken.

    No candidate beyond the last one needed is looked at: each may cost a generation.

    Args:
        candidates: answers, best first.
        like: the answer to stand in for: its case, digits and rough length must be shared.
        taken: answers that a substitute may neither be, hold, nor be part of.
        text: the prompt.
        count: how many to keep.

    Example:
        >>> usable_substitutes(["Rome", "rome", "it", "Oslo", "?"], like="Cork", taken=["Oslo"],
        ...     text="", count=2)
        ('Rome',)
    """
    kept: list[str] = []
    for candidate in candidates:
        overlaps = any(
            occurrences(candidate, other) or occurrences(other, candidate)
            for other in (*taken, *kept)
        )
        if _looks_like(candidate, like) and not overlaps and not occurrences(text, candidate):
            kept.append(candidate)
        if len(kept) == count:
            break
    return tuple(kept)


def _looks_like(candidate: str, like: str) -> bool:
    is_word = bool(_WORD.search(candidate)) and _signs(candidate) <= _signs(like) | _NAME_SIGNS
    same_case = candidate[:1].isupper() == like.strip()[:1].isupper()
    is_short = len(candidate.split()) <= len(like.split()) + _MORE_WORDS
    same_digits = _has_digit(candidate) == _has_digit(like)
    return is_word and same_case and is_short and same_digits and not _is_refusal(candidate, like)


def _is_refusal(candidate: str, like: str) -> bool:
    """Tell whether an answer says that there is none: it opens as no name or number does."""
    opens, liked = (text.casefold().split()[0] for text in (candidate, like))
    return opens in _NO_ANSWER or (opens in _FUNCTION_WORDS - _ARTICLES and opens != liked)


def _signs(text: str) -> set[str]:
    """List what is neither letter, mark nor number: vowels of many scripts are marks."""
    return {character for character in text if unicodedata.category(character)[0] not in "LMN"}


def _has_digit(text: str) -> bool:
    return any(character.isdigit() for character in text)


def invented_substitutes(answer: str) -> tuple[str, ...]:
    """Invent answers of the same kind: other last digits for a number, made-up names for a name.

    Example:
        >>> invented_substitutes("1944")
        ('1911', '1988', '1977')
    """
    digits = [index for index, character in enumerate(answer) if character.isdigit()][-2:]
    if not digits:
        return _INVENTED
    return tuple(
        "".join(str((int(c) + shift) % 9 + 1) if i in digits else c for i, c in enumerate(answer))
        for shift in (5, 3, 2)
    )


def invented_subjects(subject: str) -> tuple[str, ...]:
    """Invent names that nobody knows anything of, of one word or two as the subject is.

    Example:
        >>> invented_subjects("Eavan Boland")[:2], invented_subjects("Dracula")[:2]
        (('Tarbek Pandrova', 'Ilsworth Gremwick'), ('Tarbek', 'Ilsworth'))
    """
    if len(subject.split()) == 1:
        return _NOBODY
    last = (*_NOBODY[2:], *_NOBODY[:2])
    return tuple(f"{one} {other}" for one, other in zip(_NOBODY, last, strict=True))


def sentences(text: str) -> tuple[str, ...]:
    r"""Split a text at the ends of its sentences and lines.

    Example:
        >>> sentences("One. Two!\nThree")
        ('One.', 'Two!', 'Three')
    """
    parts = (part.strip() for line in text.splitlines() for part in _SENTENCE_END.split(line))
    return tuple(part for part in parts if part)


def _names(text: str, *, numbered: bool = False) -> list[str]:
    """List runs of capitalised words, without the function word that opens a sentence.

    Args:
        text: where all is capitals, they tell nothing.
        numbered: whether a number right after a name belongs to it (Apollo 11).
    """
    words = [] if text.isupper() else list(_WORD.finditer(text))
    names: list[str] = []
    start = 0
    while start < len(words):
        if not _is_name(words[start].group(), opens=start == 0):
            start += 1
            continue
        stop = _name_end(text, words, start, numbered)
        name = text[words[start].start() : words[stop - 1].end()]
        names.append(_POSSESSIVE.sub("", name))
        start = stop
    return _distinct(names)


def _name_end(text: str, words: Sequence[re.Match[str]], start: int, numbered: bool) -> int:
    stop = start + 1
    while stop < len(words) and _adjacent(text, words[stop - 1], words[stop]):
        word = words[stop].group()
        if word[0].isupper() or (numbered and word.isdigit()):
            stop += 1
            continue
        ahead = stop
        while ahead < len(words) and words[ahead].group() in _CONNECTORS:
            ahead += 1
        if ahead == stop or ahead == len(words) or not words[ahead].group()[0].isupper():
            break
        stop = ahead + 1
    return stop


def _adjacent(text: str, left: re.Match[str], right: re.Match[str]) -> bool:
    word, between = left.group(), text[left.end() : right.start()].strip()
    if between == ".":
        return word in _ABBREVIATED or (len(word.split(".")[-1]) == 1 and word[-1].isupper())
    return between in ("", "&") and not _POSSESSIVE.search(word)


def _is_name(word: str, *, opens: bool) -> bool:
    # 'US' and 'WHO' are names, and so is 'Will' where it does not open the question.
    if len(word) > 1 and (word.isupper() or (word in ("Will", "May") and not opens)):
        return True
    return any(c.isupper() for c in word) and word.casefold() not in _FUNCTION_WORDS


def _numbers(text: str) -> list[str]:
    return _distinct(w.group() for w in _WORD.finditer(text) if _has_digit(w.group()))


def _longest_stated_prefix(said: str, context: str, question: str) -> str | None:
    words = list(_WORD.finditer(said))
    for stop in range(len(words), 0, -1):
        prefix = said[words[0].start() : words[stop - 1].end()]
        found = occurrences(context, prefix)
        is_content = prefix.casefold() not in _FUNCTION_WORDS
        if found and is_content and not occurrences(question, prefix):
            return _without_openers(context[slice(*found[0])])
    return None


def _without_openers(phrase: str) -> str:
    """Drop lower-case function words from the start: of 'in Dublin', but not 'In Cold Blood'."""
    word, _, rest = phrase.partition(" ")
    return _without_openers(rest) if rest and word in _FUNCTION_WORDS else phrase


def _beside(context: str, subject: str, question: str, memory: str) -> tuple[str, list[str]]:
    beside = [s for s in sentences(context) if occurrences(s, subject)] or sentences(context)
    if _has_digit(memory):
        return "number", [n for s in beside for n in _numbers(s) if not occurrences(question, n)]
    names = [n for s in beside for n in _names(s)]
    return "name", _distinct(
        n for n in names if not occurrences(question, n) and not occurrences(n, subject)
    )


def _shared_phrase(question: str, context: str) -> str:
    words = list(_WORD.finditer(question))
    phrases = (
        _POSSESSIVE.sub("", question[words[i].start() : words[j].end()])
        for i in range(len(words))
        for j in range(i, len(words))
        if _is_phrase([word.group().casefold() for word in words[i : j + 1]])
    )
    shared = _distinct(p for p in phrases if occurrences(context, p))
    longest = [p for p in shared if len(p) == max(map(len, shared))]
    if len(longest) > 1:
        raise AmbiguousSpanError(
            role="subject", candidates=longest, within=question, keyword="subject"
        )
    if not longest:
        raise AnswerNotFoundError(
            role="subject",
            reason="the question has no name and shares no phrase with the context",
            within=question,
            keyword="subject",
        )
    return longest[0]


def _is_phrase(words: Sequence[str]) -> bool:
    """Whether words can name one thing: 'Lord of the Rings', but not 'makes the iPhone'."""
    opens_within = (
        left not in _FUNCTION_WORDS and right in _ARTICLES for left, right in pairwise(words)
    )
    return not {words[0], words[-1]} & _FUNCTION_WORDS and not any(opens_within)


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text.strip()))
