"""What strategies refuse where they are defined, always with the argument's name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.finding import invented_substitutes
from pytest_ragshortcut.core.spans import occurrences
from pytest_ragshortcut.errors import CaseError, EmptyTextError, SpanNotFoundError, listed, quoted


def several(texts: str | Iterable[str]) -> tuple[str, ...]:
    """Take one text as a sequence of one.

    Example:
        >>> several("Cork"), several(["Cork", "Rome"])
        (('Cork',), ('Cork', 'Rome'))
    """
    return (texts,) if isinstance(texts, str) else tuple(texts)


def require_number(
    number: object, *, least: int, argument: str, of: str, because: str = ""
) -> None:
    """Refuse what is no whole number, or too small a one.

    Args:
        number: what the caller passed.
        least: the smallest that will do.
        argument: its name.
        of: the strategy it was passed to.
        because: why no smaller one will do, if that is not plain.

    Raises:
        CaseError: if it is either.
    """
    if not isinstance(number, int) or isinstance(number, bool) or number < least:
        raise CaseError(
            f"{argument} is {number!r}",
            where=f"{of}, {argument}",
            expected=f"{argument} is a whole number, {least} or more{because}",
            action=f"Pass {argument}={least} or more",
        )


def require_texts(texts: Sequence[str], *, argument: str, of: str) -> None:
    """Refuse texts that are none, or empty, and a sequence without any.

    Raises:
        CaseError: if there is such a text, or no text at all.
    """
    wrong = [text for text in texts if not isinstance(text, str) or not text.strip()]
    if wrong or not texts:
        raise CaseError(
            f"{argument} has the text {wrong[0]!r}" if wrong else f"{argument} is empty",
            where=f"{of}, {argument}",
            expected=f"{argument} is one text or several, none of them empty",
            action=f"Pass texts as {argument}",
        )


def require_stated(gold: str, texts: Sequence[str], *, role: str) -> None:
    """Refuse a gold passage that does not state what it must.

    Raises:
        SpanNotFoundError: if it lacks one of the texts.
    """
    for text in texts:
        if not occurrences(gold, text):
            raise SpanNotFoundError(role=role, text=text, region="gold passage", within=gold)


def require_silent(
    texts: Sequence[str], answer: str, *, role: str, where: str, expected: str
) -> None:
    """Refuse texts that state the answer.

    Args:
        texts: what stands beside the passage that states it.
        answer: the answer.
        role: what one of the texts is.
        where: the strategy and its argument.
        expected: why none of them may.

    Raises:
        CaseError: if one does.
    """
    for text in texts:
        if occurrences(text, answer):
            raise CaseError(
                f"the {role} {quoted(text)} states the answer {answer!r}",
                where=where,
                expected=expected,
                action="Leave it out, or reword it",
            )


def named_subject(case: RagCase) -> str:
    """Return a case's subject.

    Raises:
        EmptyTextError: if the case names none.

    Example:
        >>> named_subject(RagCase("Where is Cork?", "Here.", subject="Cork"))
        'Cork'
    """
    if case.subject is None:
        raise EmptyTextError(role="subject", text="", is_needed=True)
    return case.subject


def stated_answer(case: RagCase) -> str:
    """Return a case's context answer.

    Raises:
        EmptyTextError: if the case names none.
        SpanNotFoundError: if its passages do not state it.

    Example:
        >>> stated_answer(RagCase("Where?", ["Here.", "In Cork."], context_answer="Cork"))
        'Cork'
    """
    if case.context_answer is None:
        raise EmptyTextError(role="context answer", text="", is_needed=True)
    if not any(occurrences(passage, case.context_answer) for passage in case.passages):
        raise SpanNotFoundError(
            role="context answer",
            text=case.context_answer,
            region="context",
            within="\n".join(case.passages),
        )
    return case.context_answer


def states_any(text: str, phrases: Iterable[str]) -> bool:
    """Tell whether a text holds one of several phrases.

    Example:
        >>> states_any("In Cork.", ["Rome", "Cork"])
        True
    """
    return any(occurrences(text, phrase) for phrase in phrases)


def silent(
    corpus: Sequence[str], phrases: Sequence[str], of: str, own: Sequence[str] = ()
) -> list[str]:
    """List the passages of a corpus that hold none of several phrases, each once.

    Args:
        corpus: passages.
        phrases: what they may not mention.
        of: the strategy that they are for.
        own: passages that are there without them.

    Raises:
        CaseError: if there is none.

    Example:
        >>> silent(["In Cork.", "Tea is served.", " "], ["Cork"], "irrelevant")
        ['Tea is served.']
    """
    kept = [
        text
        for text in corpus
        if text.strip() and text not in own and not states_any(text, phrases)
    ]
    if not kept:
        is_own = ", or is the case's own" if own else ""
        raise CaseError(
            f"every passage of corpus mentions {listed(phrases)}{is_own}"
            if corpus
            else "corpus is empty",
            where=f"{of}, corpus",
            expected=f"A passage that mentions none of {listed(phrases)}",
            action="Add such a passage to corpus",
        )
    return list(dict.fromkeys(kept))


def other_answers(
    case: RagCase, answer: str, substitutes: str | Sequence[str] | None, of: str
) -> list[str]:
    """List what to state instead of an answer: as named, as the case names it, or invented.

    Raises:
        CaseError: if none is another answer.

    Example:
        >>> other_answers(RagCase("Where?", "In Cork."), "Cork", ["cork", "Rome"], "conflicts")
        ['Rome']
    """
    named = case.substitutes or None if substitutes is None else several(substitutes)
    given = invented_substitutes(answer) if named is None else named
    others = [text for text in given if text.strip() and not _overlap(text, answer)]
    if not others:
        raise CaseError(
            f"no substitute is another answer than {answer!r}: {listed(given) or 'none is given'}",
            where=f"{of}, substitutes",
            expected="A substitute neither is the answer, nor holds it, nor is part of it",
            action="Name another answer of the same kind, or leave substitutes out",
        )
    return list(dict.fromkeys(others))


def _overlap(one: str, other: str) -> bool:
    return bool(occurrences(one, other) or occurrences(other, one))
