"""From a case to a prompt: text with character spans, then tokens with token spans."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.spans import (
    CharSpan,
    TokenSpan,
    occurrences,
    positions,
    runs,
    tokens_of,
)
from pytest_ragshortcut.errors import PlanError, SpanNotFoundError, TemplateError

Book = Literal["open", "closed"]

# How vocabularies write a space and a line's end inside a token.
_MARKS = str.maketrans({"Ġ": " ", "▁": " ", "Ċ": "\n"})


@dataclass(frozen=True)
class Template:
    """How passages and question become one prompt. The default is plain and instructs nothing.

    Raises:
        TemplateError: if a placeholder is missing or doubled, or the text ends in white space.
    """

    open_book: str = "Context: {context}\nQuestion: {question}\nAnswer:"
    """The prompt with passages."""
    closed_book: str = "Question: {question}\nAnswer:"
    """The prompt without."""
    separator: str = "\n"
    """What stands between two passages."""
    answer_prefix: str = " "
    """What stands between the prompt and an answer that the caller names."""
    chat: bool = False
    """Whether the text is the user's turn of the tokenizer's own chat template."""

    def __post_init__(self) -> None:
        wanted = {"open_book": ("{context}", "{question}"), "closed_book": ("{question}",)}
        for name, placeholders in wanted.items():
            text = getattr(self, name)
            for placeholder in placeholders:
                if (count := text.count(placeholder)) != 1:
                    reason = f"{name} has {placeholder} {count} times"
                    raise TemplateError(template=text, reason=reason)
            if not self.chat and text != text.rstrip():
                raise TemplateError(template=text, reason=f"{name} ends in white space")


PLAIN = Template()
CHAT = Template(
    open_book="{context}\n\n{question}", closed_book="{question}", answer_prefix="", chat=True
)


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt and the character spans of its parts."""

    text: str
    """The whole prompt."""
    spans: Mapping[str, tuple[CharSpan, ...]]
    """role -> (start, stop) in characters: context, passage_0, ..., question."""

    def placed_in(self, rendered: str) -> Prompt:
        """Shift all spans to where this prompt's text stands inside a larger rendering.

        Raises:
            TemplateError: if it does not stand there exactly once.
        """
        if (count := rendered.count(self.text)) != 1:
            reason = f"the chat template renders the user's turn {count} times"
            raise TemplateError(template=rendered, reason=reason)
        shift = rendered.index(self.text)
        moved = {
            role: tuple((start + shift, stop + shift) for start, stop in spans)
            for role, spans in self.spans.items()
        }
        return Prompt(rendered, moved)

    def tokenized(
        self, ids: Sequence[int], tokens: Sequence[str], offsets: Sequence[CharSpan]
    ) -> TokenizedPrompt:
        """Carry the spans over to tokens; what is neither context nor question is the template.

        Args:
            ids: (n_tokens,) token ids.
            tokens: (n_tokens,) each token's text.
            offsets: (n_tokens,) each token's character span.
        """
        spans = {role: tokens_of(self.text, offsets, chars) for role, chars in self.spans.items()}
        parts = [spans[role] for role in ("context", "question") if role in spans]
        inside = {position for part in parts for position in positions(part)}
        spans["template"] = runs(set(range(len(ids))) - inside)
        spans["last"] = ((len(ids) - 1, len(ids)),)
        return TokenizedPrompt(
            self.text,
            tuple(ids),
            tuple(tokens),
            spans,
            n_prompt=len(ids),
            offsets=tuple((start, stop) for start, stop in offsets),
        )

    def with_phrase(self, role: str, phrase: str, *, region: str, last: bool = False) -> Prompt:
        """Add a role: the occurrences of a phrase inside a region, or its last one alone.

        Raises:
            SpanNotFoundError: if the phrase does not occur in the region.
        """
        found = tuple(
            (region_start + start, region_start + stop)
            for region_start, region_stop in self.spans[region]
            for start, stop in occurrences(self.text[region_start:region_stop], phrase)
        )
        if not found:
            within = " ".join(self.text[start:stop] for start, stop in self.spans[region])
            raise SpanNotFoundError(role=role, text=phrase, region=region, within=within)
        return replace(self, spans={**self.spans, role: found[-1:] if last else found})


Rendering = Callable[[RagCase, Book], str | None]
"""A caller's own way to write a prompt; None leaves it to the template."""


def located(text: str, case: RagCase, book: Book) -> Prompt:
    """Find the parts of a case in a prompt that somebody else rendered.

    The passages are looked for from the beginning on, in order; the question from the end.

    Raises:
        TemplateError: if a part is not there as it is.

    Example:
        >>> located("Read: Here. Asked: Where?", RagCase("Where?", "Here."), "open").spans
        {'context': ((6, 11),), 'passage_0': ((6, 11),), 'question': ((19, 25),)}
    """
    spans: dict[str, tuple[CharSpan, ...]] = {}
    start = 0
    for index, passage in enumerate(case.passages if book == "open" else ()):
        at = text.find(passage, start)
        if at < 0:
            raise TemplateError(template=text, reason=f"it lacks passage {index} as it is")
        start = at + len(passage)
        spans[f"passage_{index}"] = ((at, start),)
    if spans:
        spans = {"context": ((spans["passage_0"][0][0], start),), **spans}
    asked = text.rfind(case.question)
    if asked < 0:
        raise TemplateError(template=text, reason="it lacks the question as it is")
    spans["question"] = ((asked, asked + len(case.question)),)
    return Prompt(text, spans)


def render(case: RagCase, template: Template, book: Book = "open") -> Prompt:
    r"""Render a case and keep the character span of every part.

    Example:
        >>> prompt = render(RagCase("Where?", ["Here.", "There."]), PLAIN)
        >>> prompt.text
        'Context: Here.\nThere.\nQuestion: Where?\nAnswer:'
        >>> prompt.spans["passage_1"]
        ((15, 21),)
    """
    source = template.open_book if book == "open" else template.closed_book
    parts = {"{question}": case.question, "{context}": template.separator.join(case.passages)}
    text, spans = "", dict[str, tuple[CharSpan, ...]]()
    while source:
        found = min((p for p in parts if p in source), key=source.index, default=None)
        if found is None:
            text, source = text + source, ""
            continue
        before, _, source = source.partition(found)
        start = len(text) + len(before)
        text += before + parts[found]
        spans[found[1:-1]] = ((start, len(text)),)
    if "context" in spans:
        spans |= _passage_spans(case, template, spans["context"][0][0])
    return Prompt(text, spans)


def _passage_spans(
    case: RagCase, template: Template, start: int
) -> dict[str, tuple[CharSpan, ...]]:
    spans: dict[str, tuple[CharSpan, ...]] = {}
    for index, passage in enumerate(case.passages):
        spans[f"passage_{index}"] = ((start, start + len(passage)),)
        start += len(passage) + len(template.separator)
    return spans


@dataclass(frozen=True)
class TokenizedPrompt:
    """A prompt as the model reads it, with the answer's tokens but the last teacher-forced."""

    text: str
    """The prompt's text, without the answer."""
    input_ids: tuple[int, ...]
    """(n_tokens,) token ids: the prompt, then the answer without its last token."""
    tokens: tuple[str, ...]
    """(n_tokens,) each token's text as the model's vocabulary writes it."""
    spans: Mapping[str, tuple[TokenSpan, ...]]
    """role -> runs of positions (start, stop)."""
    n_prompt: int
    """How many of the tokens belong to the prompt."""
    answer_ids: tuple[int, ...] = ()
    """(n_answer,) the answer's token ids, which the readers predict."""
    offsets: tuple[CharSpan, ...] = ()
    """(n_prompt,) where each of the prompt's tokens stands in its text; may be left out."""

    @cached_property
    def readers(self) -> tuple[int, ...]:
        """(n_answer,) the positions that predict the answer's tokens."""
        return tuple(range(self.n_prompt - 1, self.n_prompt - 1 + len(self.answer_ids)))

    @cached_property
    def read_ids(self) -> tuple[int, ...]:
        """The token ids up to the last reader: nothing behind it is ever read."""
        return self.input_ids[: max(self.readers) + 1]

    def positions(self, *roles: str) -> tuple[int, ...]:
        """List the positions of one or more roles, in order and once each.

        Raises:
            PlanError: if the prompt has no such role.
        """
        unknown = [role for role in roles if role not in self.spans]
        if unknown:
            raise PlanError(
                f"the prompt has no span {unknown[0]!r}",
                where=f"roles {', '.join(self.spans)}",
                expected="A source or position names a role of this prompt",
                action="Name one of these roles",
            )
        return tuple(sorted({p for role in roles for p in positions(self.spans[role])}))

    def reading(self, answer_ids: tuple[int, ...], tokens: tuple[str, ...]) -> TokenizedPrompt:
        """Return this prompt set to read one answer, given as token ids and their texts."""
        n_read = len(answer_ids)
        readers = range(self.n_prompt - 1, self.n_prompt - 1 + n_read)
        spans = {role: s for role, s in self.spans.items() if role not in ("readers", "answer")}
        forced = range(self.n_prompt, self.n_prompt + n_read - 1)
        spans |= {"readers": runs(readers)} | ({"answer": runs(forced)} if forced else {})
        return replace(
            self,
            input_ids=self.input_ids[: self.n_prompt] + answer_ids[:-1],
            tokens=self.tokens[: self.n_prompt] + tokens[:-1],
            spans=spans,
            answer_ids=answer_ids,
        )


def as_template(template: Template | str | None) -> Template:
    """Take a template, its name, or None for the plain one.

    Raises:
        TemplateError: if a name is neither 'plain' nor 'chat'.
    """
    if isinstance(template, Template):
        return template
    named = {None: PLAIN, "plain": PLAIN, "chat": CHAT}
    if template not in named:
        raise TemplateError(template=str(template), reason="no template has this name")
    return named[template]


def token_texts(prompt: TokenizedPrompt) -> tuple[str, ...]:
    r"""Return each token's text: joined they are the prompt, then the answer but its last token.

    Text that no token covers goes to the token behind it, and a character that several tokens
    share to the first of them. Of the answer's tokens, and where a prompt has no offsets, it is
    the vocabulary's own text, with its marks of spaces read as such.

    Example:
        >>> bytes_of_a_letter = ((0, 2), (3, 4), (3, 4), (4, 5))
        >>> token_texts(TokenizedPrompt("in ō.", (1, 2, 3, 4), (*"abcd",), {}, 4,
        ...     offsets=bytes_of_a_letter))
        ('in', ' ō', '', '.')
    """
    texts: list[str] = []
    reached = 0
    for _, stop in prompt.offsets:
        texts.append(prompt.text[reached:stop])
        reached = max(reached, stop)
    if texts:
        texts[-1] += prompt.text[reached:]
    return (*texts, *(token.translate(_MARKS) for token in prompt.tokens[len(texts) :]))
