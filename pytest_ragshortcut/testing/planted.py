"""PlantedModel: a language model set by hand, whose every probe reading is known in closed form."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.plans import Array, PlanRow, ProbePlan, RowReading
from pytest_ragshortcut.core.ports import Generated
from pytest_ragshortcut.core.prompts import (
    PLAIN,
    Book,
    Prompt,
    Template,
    TokenizedPrompt,
    render,
)
from pytest_ragshortcut.core.screening import Screening
from pytest_ragshortcut.errors import AnswerNotFoundError, OptionError, PlanError
from pytest_ragshortcut.testing.mechanism import N_LAYERS, UNKNOWN, Mechanism, token_id

_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, eq=False)
class PlantedModel:
    """A model that answers from its context and its memory as strongly as it is told to.

    A token is a word or a sign. The model says one word: one of its answers, or 'unknown'. It has
    no norms, and attends to words of a kind alike, so that logits are sums:

    - layer 0 has an MLP alone, which writes the fact at a subject's last word;
    - layer 1 has attention alone: two heads that look at each word of their kind up to the
      reader, and at the reader itself, with equal weights. The context head's words are the
      answers, the memory head's the subjects; a reader has nothing to say to itself.

    With n answers in the prompt, n(a) of them a, and k subjects, k(a) of them with the fact a,

        logit(a) = GAIN * (context_strength * n(a) / (n + 1) + memory_strength * k(a) / (k + 1))

    logit('unknown') has DOUBT added, and the softmax of the logits is p. It follows that

    - masking an attribute takes it out of n and n(a), masking a subject takes it out of k and
      k(a), and total effects are differences of two such p;
    - noise on an attribute adds GAIN * context_strength / (n + 1) times its entries in
      answer_axes to the logits; noise on a subject adds GAIN * memory_strength / (k + 1) times
      its entries in fact_axes and, for each subject's entry in subject_axes, that to its fact's.
      A word is of a kind while its entry in kind_axes is above 1/2;
    - restored at layer 0 a site gives back what its own token lost, so that the only corrupted
      token gives back all; at layer 1 the last token gives back all, any other site nothing;
    - a knockout in layer 1 takes words out of n and k as a mask does, one in layer 0 nothing;
    - an attribute contributes GAIN * context_strength / (n + 1) in layer 1, a subject
      GAIN * memory_strength / (k + 1), every other token and all of layer 0 nothing.

    Raises:
        OptionError: if a strength leaves [0, 1] or an answer is more than a word.

    Example:
        >>> model = PlantedModel({"Ada Quill": "Oslo"}, answers=["Rome"], context_strength=1.0)
        >>> case = RagCase("Where was Ada Quill born?", "Ada Quill was born in Rome.")
        >>> model.generate([model.tokenize(model.render(case))])[0].text
        'Rome'
    """

    facts: Mapping[str, str]
    """subject -> what memory says of it. A subject is known by its last word."""
    answers: Sequence[str] = ()
    """Other words that it can read in a context, and say."""
    context_strength: float = 0.5
    """How much the context path carries, in [0, 1]."""
    memory_strength: float | None = None
    """How much the memory path carries, in [0, 1]; None is 1 - context_strength."""
    template: Template = PLAIN
    """How it is asked."""
    name: str = "planted"
    """What a person calls it."""

    def __post_init__(self) -> None:
        strengths = {
            "context_strength": self.mechanism.context_strength,
            "memory_strength": self.mechanism.memory_strength,
        }
        for option, value in strengths.items():
            if not 0.0 <= value <= 1.0:
                raise OptionError(option=option, value=str(value), expected="a number in [0, 1]")
        for word in self.mechanism.vocabulary:
            if _TOKEN.findall(word) != [word]:
                raise OptionError(option="answers", value=word, expected="single words")

    @cached_property
    def mechanism(self) -> Mechanism:
        """The arithmetic, and where the residual stream keeps what."""
        memory = self.memory_strength
        return Mechanism(
            subjects=tuple(_TOKEN.findall(subject)[-1] for subject in self.facts),
            facts=tuple(self.facts.values()),
            vocabulary=tuple(dict.fromkeys((UNKNOWN, *self.facts.values(), *self.answers))),
            context_strength=self.context_strength,
            memory_strength=1.0 - self.context_strength if memory is None else memory,
        )

    @property
    def n_layers(self) -> int:
        """Two: one recalls, one attends."""
        return N_LAYERS

    @property
    def d_model(self) -> int:
        """The width of the residual stream."""
        return self.mechanism.width

    def with_template(self, template: Template) -> PlantedModel:
        """Return the same model asked through another prompt template."""
        return replace(self, template=template)

    def render(self, case: RagCase, book: Book = "open") -> Prompt:
        """Render a case with the model's template."""
        return render(case, self.template, book)

    def tokenize(self, prompt: Prompt) -> TokenizedPrompt:
        """Split a prompt into words and signs."""
        found = list(_TOKEN.finditer(prompt.text))
        words = [match.group() for match in found]
        return prompt.tokenized(list(map(token_id, words)), words, [m.span() for m in found])

    def reading(self, prompt: TokenizedPrompt, answer: str | tuple[int, ...]) -> TokenizedPrompt:
        """Set a prompt to read one of the answers.

        Raises:
            AnswerNotFoundError: if the model cannot say it.
        """
        ids = self.token_ids(answer) if isinstance(answer, str) else answer
        words = [word for word in self.mechanism.vocabulary if (token_id(word),) == ids]
        if not words:
            says = ", ".join(self.mechanism.vocabulary)
            raise AnswerNotFoundError(
                role="answer",
                reason=f"{self.name} says one of {says}, and {answer!r} is none of them",
                within=prompt.text,
                keyword="answers",
            )
        return prompt.reading(ids, tuple(words))

    def generate(self, prompts: Sequence[TokenizedPrompt]) -> tuple[Generated, ...]:
        """Say the likeliest word after each prompt."""
        return tuple(self._ranked(prompt)[0] for prompt in prompts)

    def alternatives(
        self, prompts: Sequence[TokenizedPrompt], ranks: range
    ) -> tuple[tuple[Generated, ...], ...]:
        """Say the likeliest words after each prompt, likeliest first."""
        return tuple(tuple(self._ranked(p)[ranks.start : ranks.stop]) for p in prompts)

    def _ranked(self, prompt: TokenizedPrompt) -> list[Generated]:
        states = self.mechanism.forward(PlanRow(prompt), {})
        logits = self.mechanism.logits(states)[prompt.n_prompt - 1]
        words = (self.mechanism.vocabulary[index] for index in np.argsort(-logits, kind="stable"))
        return [Generated(word, (token_id(word),)) for word in words]

    def embeddings(self, token_ids: Sequence[int]) -> Array:
        """Return (n, d_model), zero for a word that is neither subject nor answer."""
        return self.mechanism.embed(token_ids)

    def mask_token(self) -> int:
        """Return a word that means nothing to the model."""
        return token_id("[mask]")

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Split a phrase into words and signs."""
        return tuple(map(token_id, _TOKEN.findall(text)))

    def estimate_effects(self, screenings: Sequence[Screening]) -> tuple[Array, ...]:
        """Refuse: a word's kind is a step, which no gradient sees.

        Raises:
            PlanError: if anything is to be screened.
        """
        if screenings:
            raise PlanError(
                f"{self.name} has no gradients to screen by",
                where="causal_trace, screen",
                expected="A model of torch; the planted one runs every cell at once",
                action="Leave screen= out",
            )
        return ()

    def run_all(self, plans: Sequence[ProbePlan]) -> tuple[tuple[RowReading, ...], ...]:
        """Carry plans out, each by itself."""
        return tuple(map(self.run, plans))

    def run(self, plan: ProbePlan) -> tuple[RowReading, ...]:
        """Carry a plan out, row by row."""
        plan.require(n_layers=self.n_layers, d_model=self.d_model)
        return tuple(map(self._read, plan.rows))

    def _read(self, row: PlanRow) -> RowReading:
        clean = self.mechanism.forward(PlanRow(row.prompt), {})
        logits = self.mechanism.logits(self.mechanism.forward(row, clean))[row.prompt.readers[0]]
        (said,) = row.prompt.answer_ids
        answer = [token_id(word) for word in self.mechanism.vocabulary].index(said)
        logprob = logits[answer] - np.logaddexp.reduce(logits)
        return RowReading(
            logprobs=np.array([logprob]),
            said=bool(logits.argmax() == answer),
            contributions=self.mechanism.contributions(row, clean) if row.contributions else None,
        )
