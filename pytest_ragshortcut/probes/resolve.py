"""Completing a case: what the caller left out is found on the model, and the way is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.finding import (
    find_context_answer,
    find_subject,
    invented_subjects,
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
# Further alternatives are asked for a few at a time: the answers themselves mostly do.
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


def resolve(model: ProbeModel, case: RagCase, *, ahead: bool = False) -> Inquiry[Resolved]:
    """Find subject, answer, context answer and memory answer where they are not given.

    Args:
        model: the model to ask.
        case: the case.
        ahead: whether to ask, in the same step, what substitutes are looked for among.

    Raises:
        CaseError: if one of them is not where it must be, or cannot be found.
    """
    found: dict[str, Found] = {}
    context = "\n".join(case.passages)
    subject = _take(found, "subject", case.subject) or _put(
        found, "subject", find_subject(case.question, context)
    )
    named = replace(case, subject=subject)
    open_prompt, closed_prompt = _marked(model, named, "open"), _marked(model, named, "closed")
    closed = model.tokenize(closed_prompt)
    opened = model.tokenize(open_prompt)
    asked_next = elsewhere(model, named) if ahead and case.substitutes is None else ()
    answer, memory = yield from _answers(case, opened, closed, found, ahead=asked_next)
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
            named,
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


def elsewhere(model: ProbeModel, case: RagCase) -> tuple[TokenizedPrompt, ...]:
    """Make closed-book prompts that ask the same of subjects that nobody knows."""
    return tuple(
        model.tokenize(_marked(model, case.about(other), "closed"))
        for other in invented_subjects(str(case.subject))
    )


def find_substitutes(model: ProbeModel, resolved: Resolved) -> Inquiry[tuple[tuple[str, ...], str]]:
    """Find answers of the same kind to swap in: what the model says of subjects nobody knows.

    Its own alternatives for the subject itself would not do: memory half supports them, and a
    model that follows its context a quarter of the time follows them half of it.

    Returns:
        The substitutes, and how they were found.
    """
    case = resolved.case
    if case.substitutes is not None:
        return case.substitutes, _GIVEN
    said: list[str] = []
    prompts = elsewhere(model, case)
    for ranks in (None, *_RANKS):
        said += yield from _said(prompts, ranks)
        if len(kept := usable(said, resolved)) == N_SUBSTITUTES:
            return kept, "what the model says of subjects nobody knows"
    more = [*kept, *invented_substitutes(str(case.context_answer))]
    return usable(more, resolved), "what the model says of subjects nobody knows, and made-up ones"


def _said(prompts: Sequence[TokenizedPrompt], ranks: range | None) -> Inquiry[list[str]]:
    """Ask for the answer to each prompt, or for alternatives to the first one's."""
    if ranks is None:
        said = yield tuple(map(Continue, prompts))
    else:
        (said,) = yield (Alternatives(prompts[0], ranks),)
    return [generated.text for generated in said]


def usable(
    said: Sequence[str], resolved: Resolved, *, count: int = N_SUBSTITUTES
) -> tuple[str, ...]:
    """Keep the first of these answers that can stand in for the context answer."""
    case = resolved.case
    return usable_substitutes(
        said,
        like=str(case.context_answer),
        taken=[
            str(case.memory_answer),
            str(case.context_answer),
            str(case.answer),
            *invented_subjects(str(case.subject)),
        ],
        text=resolved.open_book.text,
        count=count,
    )


def _marked(model: ProbeModel, case: RagCase, book: Book) -> Prompt:
    """Render a prompt with its subject marked."""
    prompt = model.render(case, book)
    return prompt.with_phrase("subject", str(case.subject), region="question", last=True)


def _answers(
    case: RagCase,
    opened: TokenizedPrompt,
    closed: TokenizedPrompt,
    found: dict[str, Found],
    *,
    ahead: Sequence[TokenizedPrompt],
) -> Inquiry[tuple[str | tuple[int, ...], str | tuple[int, ...]]]:
    """Take the open-book and the closed-book answer, or ask the model for what is not given.

    What is asked ahead is remembered by the model, and asked again where it is needed.
    """
    asked: dict[Book, TokenizedPrompt] = {}
    if case.answer is None:
        asked["open"] = opened
    if case.memory_answer is None:
        asked["closed"] = closed
    prompts = (*asked.values(), *ahead)
    answers = (yield tuple(map(Continue, prompts))) if prompts else ()
    said: dict[Book, Generated] = dict(zip(asked, answers, strict=False))

    def take(role: str, book: Book, given: str | None) -> str | tuple[int, ...]:
        if given is not None:
            return _put(found, role, (given, _GIVEN))
        greedy = said[book]
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
