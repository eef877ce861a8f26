"""Completing a case: what the caller left out is found on the model, and the way is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.finding import (
    find_context_answer,
    find_subject,
    invented_substitutes,
    usable_substitutes,
)
from pytest_ragshortcut.core.ports import Generated, ProbeModel
from pytest_ragshortcut.core.prompts import Book, Prompt, TokenizedPrompt
from pytest_ragshortcut.core.reliance import Found
from pytest_ragshortcut.errors import AnswerNotFoundError
from pytest_ragshortcut.probes.inquiry import Alternatives, Continue, Inquiry

N_SUBSTITUTES = 3
_GIVEN = "given"
# Alternatives are asked for a few at a time: the first few mostly do.
_RANKS = (range(8), range(8, 16), range(16, 24))


@dataclass(frozen=True, eq=False)
class Resolved:
    """A case with nothing missing but substitutes, and its two prompts."""

    case: RagCase
    """The case with everything filled in."""
    found: Mapping[str, Found]
    """role -> text and how it was found."""
    open_book: TokenizedPrompt
    """The prompt with passages, set to read the answer."""
    closed_book: TokenizedPrompt
    """The prompt without, set to read the memory answer."""
    answer: str | tuple[int, ...]
    """What to read: the caller's text, or the tokens that the model said."""
    memory: str | tuple[int, ...]
    """The memory answer, likewise."""


def resolve(
    model: ProbeModel, case: RagCase, *, with_alternatives: bool = False
) -> Inquiry[Resolved]:
    """Find subject, answer, context answer and memory answer where they are not given.

    Args:
        model: the model to ask.
        case: the case.
        with_alternatives: find the memory answer among its alternatives, in the steps that these
            take, where substitutes are looked for next.

    Raises:
        CaseError: if one of them is not where it must be, or cannot be found.
    """
    found: dict[str, Found] = {}
    context = "\n".join(case.passages)
    subject = _take(found, "subject", case.subject) or _put(
        found, "subject", find_subject(case.question, context)
    )
    open_prompt, closed_prompt = _prompts(model, replace(case, subject=subject))
    closed = model.tokenize(closed_prompt)
    opened = model.tokenize(open_prompt)
    at_once = with_alternatives and case.substitutes is None
    answer, memory = yield from _answers(case, opened, closed, found, at_once=at_once)
    context_answer = _take(found, "context_answer", case.context_answer) or _put(
        found,
        "context_answer",
        find_context_answer(
            context=context,
            subject=subject,
            question=case.question,
            said=found["answer"].text,
            memory=found["memory_answer"].text,
        ),
    )
    marked = open_prompt.with_phrase("attribute", context_answer, region="context")
    return Resolved(
        case=replace(
            case,
            subject=subject,
            answer=found["answer"].text,
            context_answer=context_answer,
            memory_answer=found["memory_answer"].text,
        ),
        found=found,
        open_book=model.reading(model.tokenize(marked), answer),
        closed_book=model.reading(closed, memory),
        answer=answer,
        memory=memory,
    )


def find_substitutes(resolved: Resolved) -> Inquiry[tuple[tuple[str, ...], str]]:
    """Find answers of the same kind to swap in: the model's own closed-book alternatives.

    Returns:
        The substitutes, and how they were found.
    """
    case = resolved.case
    if case.substitutes is not None:
        return case.substitutes, _GIVEN
    said: list[str] = []
    usable: tuple[str, ...] = ()
    for ranks in _RANKS:
        (more,) = yield (Alternatives(resolved.closed_book, ranks),)
        said += [generated.text for generated in more]
        usable = usable_substitutes(
            said,
            like=str(case.context_answer),
            taken=[str(case.memory_answer), str(case.context_answer), str(case.answer)],
            text=resolved.open_book.text,
            count=N_SUBSTITUTES,
        )
        if len(usable) == N_SUBSTITUTES:
            return usable, "the model's next likeliest closed-book answers"
    invented = usable_substitutes(
        [*usable, *invented_substitutes(str(case.context_answer))],
        like=str(case.context_answer),
        taken=[str(case.memory_answer), str(case.context_answer)],
        text=resolved.open_book.text,
        count=N_SUBSTITUTES,
    )
    return invented, "closed-book answers and made-up ones"


def _prompts(model: ProbeModel, case: RagCase) -> tuple[Prompt, Prompt]:
    def marked(book: Book) -> Prompt:
        prompt = model.render(case, book)
        return prompt.with_phrase("subject", str(case.subject), region="question", last=True)

    return marked("open"), marked("closed")


def _answers(
    case: RagCase,
    opened: TokenizedPrompt,
    closed: TokenizedPrompt,
    found: dict[str, Found],
    *,
    at_once: bool,
) -> Inquiry[tuple[str | tuple[int, ...], str | tuple[int, ...]]]:
    """Take the open-book and the closed-book answer, or ask the model for what is not given."""
    asked: dict[Book, Continue | Alternatives] = {}
    if case.answer is None:
        asked["open"] = Continue(opened)
    if case.memory_answer is None:
        asked["closed"] = Alternatives(closed, _RANKS[0]) if at_once else Continue(closed)
    said = dict(zip(asked, (yield tuple(asked.values())) if asked else (), strict=True))

    def take(role: str, book: Book, given: str | None) -> str | tuple[int, ...]:
        if given is not None:
            return _put(found, role, (given, _GIVEN))
        generated = said[book]
        # The likeliest of the alternatives is the greedy answer.
        greedy: Generated = generated[0] if isinstance(generated, tuple) else generated
        if not greedy.token_ids or not greedy.text.strip():
            raise AnswerNotFoundError(
                role=role.replace("_", " "),
                reason=f"the model's greedy {book}-book answer is empty",
                within=(opened if book == "open" else closed).text,
                keyword=role,
            )
        _put(found, role, (greedy.text, f"the model's greedy {book}-book answer"))
        return greedy.token_ids

    return take("answer", "open", case.answer), take("memory_answer", "closed", case.memory_answer)


def _take(found: dict[str, Found], role: str, given: str | None) -> str | None:
    if given is not None:
        found[role] = Found(given, _GIVEN)
    return given


def _put(found: dict[str, Found], role: str, finding: tuple[str, str]) -> str:
    found[role] = Found(*finding)
    return finding[0]
