"""What a probe needs of a model. Probes are written against this alone, never against torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.plans import Array, ProbePlan, RowReading
from pytest_ragshortcut.core.prompts import Book, Prompt, Template, TokenizedPrompt
from pytest_ragshortcut.core.screening import Screening


@dataclass(frozen=True)
class Generated:
    """A greedy continuation."""

    text: str
    """The answer without the prefix that precedes it."""
    token_ids: tuple[int, ...]
    """Its tokens, up to the end of the answer."""


class ProbeModel(Protocol):
    """A language model that can be asked, read and intervened on."""

    @property
    def name(self) -> str:
        """What a person calls it."""

    @property
    def n_layers(self) -> int:
        """How many decoder layers it has."""

    @property
    def d_model(self) -> int:
        """The width of its residual stream."""

    def with_template(self, template: Template) -> ProbeModel:
        """Return the same model asked through another prompt template."""

    def render(self, case: RagCase, book: Book = "open") -> Prompt:
        """Render a case with the model's own template."""

    def tokenize(self, prompt: Prompt) -> TokenizedPrompt:
        """Tokenize a prompt as one text and carry its spans over to tokens."""

    def reading(self, prompt: TokenizedPrompt, answer: str | tuple[int, ...]) -> TokenizedPrompt:
        """Set a prompt to read an answer, given as text or as token ids."""

    def generate(self, prompts: Sequence[TokenizedPrompt]) -> tuple[Generated, ...]:
        """Continue each prompt greedily to the end of its answer."""

    def alternatives(
        self, prompts: Sequence[TokenizedPrompt], ranks: range
    ) -> tuple[tuple[Generated, ...], ...]:
        """Continue each prompt greedily from each of its likeliest first tokens.

        Args:
            prompts: the prompts.
            ranks: which of the first tokens, the likeliest being 0. One that opens no answer is
                left out.
        """

    def embeddings(self, token_ids: Sequence[int]) -> Array:
        """Return (n, d_model), the token embeddings."""

    def mask_token(self) -> int:
        """Return the token that stands for a missing one in a mask corruption."""

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Tokenize a phrase as it would stand after a space."""

    def run(self, plan: ProbePlan) -> tuple[RowReading, ...]:
        """Carry a plan out, and leave the model as it was."""

    def run_all(self, plans: Sequence[ProbePlan]) -> tuple[tuple[RowReading, ...], ...]:
        """Carry plans out, side by side where that saves work."""

    def estimate_effects(self, screenings: Sequence[Screening]) -> tuple[Array, ...]:
        """Estimate, for each, every (n_layers, n_tokens) indirect effect to first order."""
