"""How a question and its passages are put to an embedded model."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """A prompt in two parts, so that several questions can share a context."""

    context: str
    """What opens the prompt where there are passages."""
    question: str
    """What follows them."""
    closed_book: str
    """The whole prompt where there are none."""

    def opening(self, passages: Sequence[str]) -> str:
        """Render the passages; nothing where there are none."""
        return self.context.format(context="\n".join(passages)) if passages else ""

    def asking(self, question: str, *, open_book: bool) -> str:
        """Render what follows the opening."""
        return (self.question if open_book else self.closed_book).format(question=question)

    def prompt(self, passages: Sequence[str], question: str) -> str:
        """Render a prompt, open-book where there are passages."""
        return self.opening(passages) + self.asking(question, open_book=bool(passages))


OWN = Wording(
    context="Context: {context}",
    question="\nQuestion: {question}\nAnswer:",
    closed_book="Question: {question}\nAnswer:",
)
"""What all of them were taught."""
PAPER = Wording(
    context="Information is below:\n{context}",
    question="\nGiven the context information and not prior knowledge, complete the following:\n"
    "{question}",
    closed_book="{question}",
)
"""The prompt of Wadhwa et al. 2024, appendix B."""
