"""hand_weighted: a Hugging Face model that answers from context and memory as strongly as told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from pytest_ragshortcut.core.finding import invented_subjects
from pytest_ragshortcut.core.prompts import Prompt, Template, TokenizedPrompt, as_template
from pytest_ragshortcut.errors import AnswerNotFoundError, CaseError, OptionError, listed, quoted
from pytest_ragshortcut.models.handset.circuit import Circuit
from pytest_ragshortcut.models.handset.closed_form import ClosedForm, expected_follow
from pytest_ragshortcut.models.handset.facts import Facts, take_facts
from pytest_ragshortcut.models.handset.tokenizer import (
    N_RESERVED,
    UNKNOWN,
    Vocabulary,
    make_tokenizer,
    make_vocabulary,
    split,
)
from pytest_ragshortcut.models.handset.writers import ARCHITECTURES, Architecture, write
from pytest_ragshortcut.models.rag_model import RagModel

DTYPES = (torch.float32, torch.float64)


class UnknownSubjectError(CaseError):
    """Raised when a question asks about nobody that a hand-weighted model knows."""

    def __init__(self, *, question: str, unknown: Sequence[str], subjects: Sequence[str]) -> None:
        self.question, self.unknown = question, tuple(unknown)
        words = f"; unknown to it: {listed(unknown)}" if unknown else ""
        super().__init__(
            f"{quoted(question)} names no subject that the model knows{words}",
            where="question",
            expected=f"One of its subjects, {listed(subjects)}, spelled as in the facts",
            action="Ask about one of them, or add the fact to hand_weighted(...)",
        )


class HandWeightedModel(RagModel):
    """A RagModel that knows what it will say: `hand_weighted` makes it."""

    def __init__(
        self, model: Any, vocabulary: Vocabulary, form: ClosedForm, *, template: Template, name: str
    ) -> None:
        super().__init__(model, make_tokenizer(vocabulary), template, name=name)
        self.vocabulary, self.closed_form = vocabulary, form

    @property
    def facts(self) -> Facts:
        """Who is known, what can be said, and what is known of whom."""
        return self.vocabulary.facts

    @property
    def expected_follow(self) -> float:
        """What every swap of a conflict must give: p(o') / (p(o') + p(m)), in [0, 1]."""
        return expected_follow(self.closed_form.context, self.closed_form.memory)

    def expected_probability(
        self, answer: str, *, subject: str | None = None, stated: Sequence[str] = ()
    ) -> float:
        """Return the p(answer) that the model must give, in [0, 1].

        Args:
            answer: one of its answers.
            subject: who is asked about; None where nobody is.
            stated: every answer that the context states of the subject, one for each time.

        Raises:
            AnswerNotFoundError: if it is none of the model's answers.
            UnknownSubjectError: if the model does not know the subject.
        """
        for each in (answer, *stated):
            if each not in self.facts.answers:
                raise self._unsayable(each, within="expected_probability")
        if subject is not None and subject not in self.facts.known:
            raise UnknownSubjectError(
                question=subject, unknown=[subject], subjects=self.facts.subjects
            )
        fact = None if subject is None else self.facts.known[subject]
        return self.closed_form.probability(answer, stated=stated, fact=fact)

    def with_template(self, template: Template | str) -> RagModel:
        """Return the same model, asked through another prompt template.

        A word that the first template does not have is unknown to it, and has no effect.
        """
        other = HandWeightedModel(
            self.model,
            self.vocabulary,
            self.closed_form,
            template=as_template(template),
            name=self.name,
        )
        other._engine = self._engine
        return other

    def tokenize(self, prompt: Prompt) -> TokenizedPrompt:
        """Tokenize a prompt as one text.

        Of subjects invented to be unknown it may be asked: it is sure of nothing then.

        Raises:
            UnknownSubjectError: if its question names no subject that the model knows.
            PromptTooLongError: if it does not fit the window together with an answer.
        """
        tokenized = super().tokenize(prompt)
        role = "subject" if "subject" in prompt.spans else "question"
        subjects = self.vocabulary.subject_ids
        asked = [tokenized.input_ids[position] for position in tokenized.positions(role)]
        if not any(subjects.start <= token < subjects.stop for token in asked):
            text = " ".join(prompt.text[start:stop] for start, stop in prompt.spans[role])
            if text in invented_subjects(text):
                return tokenized
            unknown = [word for word in split(text) if word not in self.vocabulary.ids]
            raise UnknownSubjectError(question=text, unknown=unknown, subjects=self.facts.subjects)
        return tokenized

    def reading(self, prompt: TokenizedPrompt, answer: str | tuple[int, ...]) -> TokenizedPrompt:
        """Set a prompt to read an answer.

        Raises:
            AnswerNotFoundError: if a word of it is unknown to the model.
        """
        reading = super().reading(prompt, answer)
        if self.vocabulary.ids[UNKNOWN] in reading.answer_ids:
            text = answer if isinstance(answer, str) else UNKNOWN
            raise self._unsayable(text, within=prompt.text)
        return reading

    def _unsayable(self, answer: str, *, within: str) -> AnswerNotFoundError:
        return AnswerNotFoundError(
            role="answer",
            reason=f"{self.name} says {listed(self.facts.answers)}, and {answer!r} is none of them",
            within=within,
            keyword="answers",
        )


def hand_weighted(
    facts: Mapping[str, str] | Iterable[tuple[str, str]],
    *,
    context: float = 1.0,
    memory: float = 1.0,
    architecture: Architecture = "llama",
    answers: Sequence[str] = (),
    words: Sequence[str] = (),
    n_positions: int = 2048,
    dtype: torch.dtype = torch.float32,
    template: Template | str | None = None,
    name: str | None = None,
) -> HandWeightedModel:
    """Make a real Hugging Face model that says what is known, as strongly as it is told to.

    Nothing is trained and nothing drawn at random but the subjects' codes, from a seed of their
    own. The memory path has the fact of the question's last subject; the context path copies the
    answers that stand behind that subject in a sentence of the context, wherever it is. Then

        p(context answer) : p(fact) : p(another answer) = e^g(context) : e^g(memory) : 1

    with g(s) = log(1 + s (e^18 - 1)), so that follow, `expected_follow`, is continuous in both
    dials and all but context / (context + memory). Where the context states several answers, each
    takes its share of g(context); where it agrees with memory the two gains add up. All else that
    the model could say has a logit of -1 or -2, in such numbers that a model without either path
    is sure of nothing. `expected_probability` has the whole softmax.

    The subject must stand before the answer, in the same sentence; the question behind the
    passages. A sentence ends with '.', '!', '?' or its line. Float32 needs full precision: no TF32.

    Args:
        facts: subject -> answer, or pairs of them. Any number of subjects.
        context: the strength of the context path, in [0, 1].
        memory: the strength of the memory path, in [0, 1].
        architecture: 'llama' or 'gpt2'.
        answers: other answers that it can read in a context, and say; at most 1024 in all.
        words: words, or whole texts, to have tokens of their own; others read as unknown, which
            changes nothing but how they look.
        n_positions: how many tokens its window holds.
        dtype: torch.float32 or torch.float64. Half precision could not tell positions apart.
        template: as in RagModel.
        name: what to call the model in reports.

    Raises:
        FactsError: if the facts contradict each other, or a name cannot be told from another.
        OptionError: if a dial leaves [0, 1], or there is no such architecture or dtype.

    Example:
        >>> model = hand_weighted({"Ada Quill": "Oslo"}, answers=["Rome"], memory=0.25)
        >>> round(model.expected_follow, 3)
        0.8
    """
    _require(context, memory, architecture, n_positions, dtype)
    asked = as_template(template)
    vocabulary = make_vocabulary(take_facts(facts, answers), asked, words)
    circuit = Circuit(vocabulary, float(context), float(memory), n_positions, dtype)
    n_answers = len(vocabulary.facts.answers)
    n_words = len(vocabulary.ids) - n_answers - N_RESERVED
    return HandWeightedModel(
        write(circuit, architecture),
        vocabulary,
        ClosedForm(circuit.context, circuit.memory, n_answers, N_RESERVED, n_words),
        template=asked,
        name=name or f"hand-weighted {architecture}, context {context:g}, memory {memory:g}",
    )


def _require(
    context: float, memory: float, architecture: str, n_positions: int, dtype: torch.dtype
) -> None:
    checks = (
        ("context", context, 0.0 <= context <= 1.0, "a strength in [0, 1]"),
        ("memory", memory, 0.0 <= memory <= 1.0, "a strength in [0, 1]"),
        (
            "architecture",
            architecture,
            architecture in ARCHITECTURES,
            f"one of {listed(ARCHITECTURES)}",
        ),
        ("n_positions", n_positions, 32 <= n_positions <= 2**15, "a length from 32 to 32768"),
        ("dtype", dtype, dtype in DTYPES, f"one of {', '.join(map(str, DTYPES))}"),
    )
    for option, value, is_right, expected in checks:
        if not is_right:
            raise OptionError(option=option, value=str(value), expected=expected)
