"""RoutedModel: two models as one, by a rule on the prompt: a defect whose every case is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from hashlib import sha256
from typing import TypeVar

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.plans import Array, PlanRow, ProbePlan, RowReading
from pytest_ragshortcut.core.ports import Generated, ProbeModel
from pytest_ragshortcut.core.prompts import Book, Prompt, Template, TokenizedPrompt
from pytest_ragshortcut.core.screening import Screening
from pytest_ragshortcut.core.work import Identity, Work
from pytest_ragshortcut.errors import OptionError, PlanError

T = TypeVar("T")
R = TypeVar("R")

# Any case will do: what is compared is how it is written and read.
_ALIKE = RagCase("Where was Ada Quill born?", ("Ada Quill was born in Rome.", "# Guide\nTickets."))
_SHOWN_DIGITS = 12


class PromptText(str):
    """A prompt's text, as a rule sees it."""

    _prompt: TokenizedPrompt

    @classmethod
    def of(cls, prompt: TokenizedPrompt) -> PromptText:
        """Take the text of a prompt, without the answer."""
        text = cls(prompt.text)
        text._prompt = prompt
        return text

    @property
    def passages(self) -> tuple[str, ...]:
        """The passages in order, without white space around each; closed-book there are none.

        Raises:
            PlanError: if the prompt does not say where its tokens stand.
        """
        spans, offsets = self._prompt.spans, self._prompt.offsets
        found: list[str] = []
        while runs := spans.get(f"passage_{len(found)}"):
            if not offsets:
                raise PlanError(
                    "a prompt's passages cannot be told apart: its tokens have no offsets",
                    where="RoutedModel, when",
                    expected="A prompt as tokenize returns it",
                    action="Let the model render and tokenize the case",
                )
            found.append(self[offsets[runs[0][0]][0] : offsets[runs[-1][1] - 1][1]].strip())
        return tuple(found)


class RoutedModel:
    """A model that answers each prompt as one of two models does, by a rule on the prompt.

    Two models that know the same facts, one that reads its context and one that does not, make a
    model with a defect at a place of your choice. What it does in a case is not measured but
    known: every reading of a prompt is that of the model it is routed to.

    A counterfactual swap rewrites the context, and the closed-book prompt has none: a rule that
    looks at the answer would send the prompts of one case to different models.

    What asks about no prompt, embeddings to scale noise by above all, is answered by the usual
    model.

    Args:
        usual: the model that answers where the rule does not hold.
        defective: the one that answers where it does; of the same layers, width, tokenizer and
            template, and with the same facts in memory.
        when: the rule, given a prompt's text, whose `.passages` are those of the case.
        name: what to call the whole in reports.

    Raises:
        OptionError: if one model could not run what is made for the other.

    Example:
        >>> from pytest_ragshortcut.testing import PlantedModel
        >>> facts, answers = {"Ada Quill": "Oslo"}, ["Rome"]
        >>> reads = PlantedModel(facts, answers=answers, context_strength=1.0)
        >>> recalls = PlantedModel(facts, answers=answers, context_strength=0.0)
        >>> model = RoutedModel(reads, recalls, when=lambda text: len(text.passages) > 1)
        >>> for context in (["He was born in Rome."], ["Tickets.", "He was born in Rome."]):
        ...     case = RagCase("Where was Ada Quill born?", context)
        ...     model.generate([model.tokenize(model.render(case))])[0].text
        'Rome'
        'Oslo'
    """

    def __init__(
        self,
        usual: ProbeModel,
        defective: ProbeModel,
        when: Callable[[PromptText], bool],
        *,
        name: str | None = None,
    ) -> None:
        _require_alike(usual, defective)
        self.usual, self.defective, self.when = usual, defective, when
        self._name = name

    def __repr__(self) -> str:
        return f"<RoutedModel {self.name}>"

    def model_of(self, case: RagCase, book: Book = "open") -> ProbeModel:
        """Say which of the two models answers a case: the truth of it."""
        return self._model_of(self.tokenize(self.render(case, book)))

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self._name or f"{self.usual.name}, in places {self.defective.name}"

    @property
    def n_layers(self) -> int:
        """How many decoder layers each of the models has."""
        return self.usual.n_layers

    @property
    def d_model(self) -> int:
        """The width of their residual streams."""
        return self.usual.d_model

    @property
    def work(self) -> Work:
        """What both have done so far; a model that keeps no account has done nothing."""
        done = (getattr(model, "work", None) for model in self._models)
        return sum((work for work in done if isinstance(work, Work)), Work())

    @property
    def note(self) -> str:
        """What a person should know of how they are run; mostly nothing."""
        notes = (str(getattr(model, "note", "")) for model in self._models)
        return "; ".join(dict.fromkeys(note for note in notes if note))

    @property
    def identity(self) -> Identity | None:
        """Which models these are; None where one of them does not say. The rule has no content."""
        found = [getattr(model, "identity", None) for model in self._models]
        known = [identity for identity in found if isinstance(identity, Identity)]
        return reduce(self._joined, known) if len(known) == len(found) else None

    def with_template(self, template: Template) -> RoutedModel:
        """Return the same two models asked through another prompt template."""
        usual, defective = (model.with_template(template) for model in (self.usual, self.defective))
        return RoutedModel(usual, defective, self.when, name=self._name)

    def render(self, case: RagCase, book: Book = "open") -> Prompt:
        """Render a case with their template."""
        return self.usual.render(case, book)

    def tokenize(self, prompt: Prompt) -> TokenizedPrompt:
        """Tokenize a prompt as one text."""
        return self.usual.tokenize(prompt)

    def reading(self, prompt: TokenizedPrompt, answer: str | tuple[int, ...]) -> TokenizedPrompt:
        """Set a prompt to read an answer."""
        return self.usual.reading(prompt, answer)

    def generate(self, prompts: Sequence[TokenizedPrompt]) -> tuple[Generated, ...]:
        """Continue each prompt greedily, each by its own model."""
        return self._routed(prompts, prompts, lambda model, mine: model.generate(mine))

    def alternatives(
        self, prompts: Sequence[TokenizedPrompt], ranks: range
    ) -> tuple[tuple[Generated, ...], ...]:
        """Continue each prompt from each of its likeliest first tokens, by its own model."""
        return self._routed(prompts, prompts, lambda model, mine: model.alternatives(mine, ranks))

    def embeddings(self, token_ids: Sequence[int]) -> Array:
        """Return (n, d_model), the token embeddings of the usual model."""
        return self.usual.embeddings(token_ids)

    def mask_token(self) -> int:
        """Return the token that stands for a missing one."""
        return self.usual.mask_token()

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Tokenize a phrase as it would stand after a space."""
        return self.usual.token_ids(text)

    def run(self, plan: ProbePlan) -> tuple[RowReading, ...]:
        """Carry a plan out, each row on its own model."""
        return self.run_all([plan])[0]

    def run_all(self, plans: Sequence[ProbePlan]) -> tuple[tuple[RowReading, ...], ...]:
        """Carry plans out, each row on its own model, and the rows of each model side by side.

        Raises:
            PlanError: if a row asks for what does not exist, as the whole plan numbers it.
        """
        for plan in plans:
            plan.require(n_layers=self.n_layers, d_model=self.d_model)
        rows = [(index, row) for index, plan in enumerate(plans) for row in plan.rows]

        def run(model: ProbeModel, mine: list[tuple[int, PlanRow]]) -> list[RowReading]:
            parts: dict[int, list[PlanRow]] = {}
            for index, row in mine:
                parts.setdefault(index, []).append(row)
            read = model.run_all([ProbePlan(tuple(part)) for part in parts.values()])
            return [reading for readings in read for reading in readings]

        readings = iter(self._routed(rows, [row.prompt for _, row in rows], run))
        return tuple(tuple(next(readings) for _ in plan.rows) for plan in plans)

    def estimate_effects(self, screenings: Sequence[Screening]) -> tuple[Array, ...]:
        """Estimate indirect effects to first order, each on its own model."""
        return self._routed(
            screenings,
            [screening.prompt for screening in screenings],
            lambda model, mine: model.estimate_effects(mine),
        )

    @property
    def _models(self) -> tuple[ProbeModel, ...]:
        return (self.usual, self.defective) if self.usual is not self.defective else (self.usual,)

    def _model_of(self, prompt: TokenizedPrompt) -> ProbeModel:
        return self.defective if self.when(PromptText.of(prompt)) else self.usual

    def _routed(
        self,
        asked: Sequence[T],
        prompts: Sequence[TokenizedPrompt],
        ask: Callable[[ProbeModel, list[T]], Sequence[R]],
    ) -> tuple[R, ...]:
        """Ask each model what is its own, and put the answers in the order of the questions."""
        # The rows of a map share a prompt, and are many.
        distinct = {id(prompt): prompt for prompt in prompts}
        routes = {key: self._model_of(prompt) for key, prompt in distinct.items()}
        answers: dict[int, R] = {}
        for model in self._models:
            mine = [i for i, prompt in enumerate(prompts) if routes[id(prompt)] is model]
            if mine:
                answers |= zip(mine, ask(model, [asked[i] for i in mine]), strict=True)
        return tuple(answers[i] for i in range(len(asked)))

    def _joined(self, one: Identity, other: Identity) -> Identity:
        def either(name: str) -> str:
            return " + ".join(dict.fromkeys((getattr(one, name), getattr(other, name))))

        def digest(name: str) -> str:
            parts = getattr(one, name), getattr(other, name)
            return sha256(" ".join(parts).encode()).hexdigest()[:_SHOWN_DIGITS] * all(parts)

        return Identity(
            name=self.name,
            fingerprint=digest("fingerprint"),
            weights=digest("weights"),
            tokenizer=digest("tokenizer"),
            chat_template=digest("chat_template"),
            config=digest("config"),
            quantization=either("quantization"),
            libraries=one.libraries | other.libraries,
            device=either("device"),
            dtype=either("dtype"),
            attention=either("attention"),
            executor=either("executor"),
            n_layers=self.n_layers,
            n_parameters=one.n_parameters + other.n_parameters,
            n_bytes=one.n_bytes + other.n_bytes,
        )


def _require_alike(usual: ProbeModel, defective: ProbeModel) -> None:
    """Check that either model can run what is rendered, tokenized and planned for the other.

    Raises:
        OptionError: if not.
    """
    prompts = [usual.render(_ALIKE, book).text for book in ("open", "closed")]
    shapes: dict[str, Callable[[ProbeModel], object]] = {
        "layers": lambda model: model.n_layers,
        "width": lambda model: model.d_model,
        "template": lambda model: [model.render(_ALIKE, book).text for book in ("open", "closed")],
        "tokenizer": lambda model: [model.token_ids(text) for text in prompts],
        "mask token": lambda model: model.mask_token(),
    }
    for what, of in shapes.items():
        if of(usual) != of(defective):
            raise OptionError(
                option="defective",
                value=defective.name,
                expected=f"a model of the same {what} as the usual one, {usual.name}",
            )
