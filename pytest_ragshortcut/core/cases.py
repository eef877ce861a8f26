"""The case: one question, what was retrieved for it, and what the caller knows of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace

from pytest_ragshortcut.core.spans import occurrences, replace_spans
from pytest_ragshortcut.errors import EmptyTextError, SpanNotFoundError


@dataclass(frozen=True, repr=False)
class RagCase:
    """One question and its retrieved passages. What is left out is found, and said how.

    Raises:
        EmptyTextError: if the question, a passage or an answer is empty.

    Example:
        >>> RagCase("Where was Eavan Boland born?", "Eavan Boland was born in Dublin.")
        RagCase('Where was Eavan Boland born?', 'Eavan Boland was born in Dublin.')
    """

    question: str
    """What the user asks."""
    context: str | tuple[str, ...]
    """The retrieved passages: one text, or several in order."""
    _: KW_ONLY
    answer: str | None = None
    """What the probes read. Found: the model's own greedy open-book answer."""
    subject: str | None = None
    """The entity asked about, verbatim in the question."""
    context_answer: str | None = None
    """What the context states (the attribute), verbatim in the context."""
    memory_answer: str | None = None
    """What parametric memory says. Found: the greedy closed-book answer."""
    substitutes: tuple[str, ...] | None = None
    """Other answers of the same kind, for the counterfactual swap."""

    def __post_init__(self) -> None:
        if not isinstance(self.context, str):
            object.__setattr__(self, "context", tuple(self.context))
        if self.substitutes is not None:
            object.__setattr__(self, "substitutes", tuple(self.substitutes))
        self._require_text()

    def _require_text(self) -> None:
        required = {"question": [self.question], "context": list(self.passages) or [""]}
        optional = ("answer", "subject", "context_answer", "memory_answer")
        required |= {n: [getattr(self, n)] for n in optional if getattr(self, n) is not None}
        required |= {"substitute": list(self.substitutes or ())}
        for role, texts in required.items():
            for text in texts:
                if not text.strip():
                    raise EmptyTextError(role=role, text=text)

    @property
    def passages(self) -> tuple[str, ...]:
        """The passages in order."""
        return (self.context,) if isinstance(self.context, str) else self.context

    def __repr__(self) -> str:
        named = [f for f in fields(self) if f.kw_only and getattr(self, f.name) is not None]
        parts = [repr(self.question), repr(self.context)]
        parts += [f"{f.name}={getattr(self, f.name)!r}" for f in named]
        return f"RagCase({', '.join(parts)})"

    def swapped(self, old: str, new: str) -> RagCase:
        """Return the case with one phrase replaced everywhere in its context.

        Raises:
            SpanNotFoundError: if no passage contains the phrase.

        Example:
            >>> RagCase("Where?", ["Cork.", "In Cork."]).swapped("Cork", "Rome").context
            ('Rome.', 'In Rome.')
        """
        found = [occurrences(passage, old) for passage in self.passages]
        if not any(found):
            whole = "\n".join(self.passages)
            raise SpanNotFoundError(role="context answer", text=old, region="context", within=whole)
        swapped = tuple(
            replace_spans(p, spans, new) for p, spans in zip(self.passages, found, strict=True)
        )
        return replace(self, context=swapped[0] if isinstance(self.context, str) else swapped)

    def about(self, other: str) -> RagCase:
        """Return the case asking the same of another subject, of whom nothing is known.

        Raises:
            SpanNotFoundError: if the question does not contain the subject.

        Example:
            >>> RagCase("Where was Ada Quill born?", "Here.", subject="Ada Quill").about("Bo Reed")
            RagCase('Where was Bo Reed born?', 'Here.', subject='Bo Reed')
        """
        found = occurrences(self.question, str(self.subject))
        if not found:
            raise SpanNotFoundError(
                role="subject", text=str(self.subject), region="question", within=self.question
            )
        question = replace_spans(self.question, found, other)
        return RagCase(question, self.context, subject=other)


def as_case(question: RagCase | str, context: str | Sequence[str] | None) -> RagCase:
    """Take a case, or a question and its context, as a case.

    Raises:
        EmptyTextError: if a question comes without a context.

    Example:
        >>> as_case("Where?", ["Here."]).passages
        ('Here.',)
    """
    if isinstance(question, RagCase):
        return question
    if context is None:
        raise EmptyTextError(role="context", text="")
    return RagCase(question, context if isinstance(context, str) else tuple(context))
