"""RagModel: the user's own Hugging Face model and tokenizer, wrapped and never changed."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.plans import Array, ProbePlan, RowReading
from pytest_ragshortcut.core.ports import Generated
from pytest_ragshortcut.core.prompts import (
    Book,
    Prompt,
    Rendering,
    Template,
    TokenizedPrompt,
    as_template,
    located,
    render,
)
from pytest_ragshortcut.core.screening import Screening
from pytest_ragshortcut.core.work import Identity, Work
from pytest_ragshortcut.errors import PromptTooLongError
from pytest_ragshortcut.models.answers import Answers
from pytest_ragshortcut.models.architectures import map_architecture, max_tokens
from pytest_ragshortcut.models.executors import Engine, ExecutorName
from pytest_ragshortcut.models.generation import MAX_ANSWER_TOKENS
from pytest_ragshortcut.models.hooks import quiet
from pytest_ragshortcut.models.identity import identify
from pytest_ragshortcut.models.loading import load
from pytest_ragshortcut.models.screening import estimate_effects
from pytest_ragshortcut.models.tokenization import PromptTokenizer


class RagModel:
    """A causal language model that the probes can ask, read and intervene on.

    Args:
        model: a Hugging Face causal language model. It stays where and as it is.
        tokenizer: its fast tokenizer.
        template: a Template, 'plain', or 'chat' for the tokenizer's own chat template.
        name: what to call the model in reports.
        executor: 'incremental', 'reference', or 'auto' for the first wherever it is exact.
        memory: how many bytes the incremental executor plans for; None takes half of what is
            free.
        cache: a directory in which results outlive the process; None remembers them for the life
            of this object. Several processes may share one, and models: a result is found by the
            content of all that it depends on.

    No plan is run twice. A model that changes between two calls is noticed, but for writes
    through `.data`, which torch does not count, and for a tokenizer's changes: call `forget` after
    these. While hooks of your own are on the model, nothing is remembered.

    Raises:
        UnsupportedArchitectureError: if the model has no layers to probe.
        TokenizerError: if the tokenizer is slow, or has no chat template and one was asked for.
        OptionError: if nothing can be written to the cache.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        template: Template | str | None = None,
        *,
        name: str | None = None,
        executor: ExecutorName = "auto",
        memory: int | None = None,
        cache: Path | str | None = None,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.template = as_template(template)
        self.architecture = map_architecture(model)
        config: Any = model.config
        self.name = name or str(getattr(config, "name_or_path", "") or type(model).__name__)
        self._prompts = PromptTokenizer(tokenizer, self.template)
        self._rendering: Rendering | None = None
        self._use(
            Engine(
                model,
                tokenizer,
                self.architecture,
                kind=executor,
                memory=memory,
                cache=None if cache is None else Path(cache).expanduser(),
            )
        )

    def _use(self, engine: Engine) -> None:
        self._engine, self._answers = engine, Answers(engine, self._prompts)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str,
        device: str = "auto",
        dtype: str = "auto",
        *,
        revision: str | None = None,
        trust_remote_code: bool = False,
        template: Template | str | None = None,
        executor: ExecutorName = "auto",
        memory: int | None = None,
        cache: Path | str | None = None,
    ) -> Self:
        """Load a checkpoint: a directory, a hub name, or embedded:reader, embedded:memoriser.

        Args:
            name_or_path: what to load.
            device: 'auto' is CUDA where there is one, else the CPU.
            dtype: 'auto' is the checkpoint's own.
            revision: of a hub repository.
            trust_remote_code: whether code from the checkpoint may run.
            template: as in RagModel.
            executor: as in RagModel.
            memory: as in RagModel.
            cache: as in RagModel.

        Raises:
            CheckpointNotFoundError: if nothing can be loaded from there.
        """
        model, tokenizer = load(
            str(name_or_path),
            device=device,
            dtype=dtype,
            revision=revision,
            trust_remote_code=trust_remote_code,
        )
        return cls(
            model,
            tokenizer,
            template,
            name=str(name_or_path),
            executor=executor,
            memory=memory,
            cache=cache,
        )

    def __repr__(self) -> str:
        return f"<RagModel {self.name}>"

    def with_template(self, template: Template | str) -> RagModel:
        """Return the same model, asked through another prompt template."""
        other = RagModel(self.model, self.tokenizer, template, name=self.name)
        other._use(self._engine)
        other._rendering = self._rendering
        return other

    def with_rendering(self, rendering: Rendering | None) -> RagModel:
        """Return the same model, asked in prompts of the caller's own making.

        Args:
            rendering: given a case and 'open' or 'closed', returns the whole prompt, with the
                passages and the question in it as they are, or None for the template's.
        """
        other = self.with_template(self.template)
        other._rendering = rendering
        return other

    def afresh(self) -> Self:
        """Return the same model with nothing remembered of what it was asked."""
        other = copy(self)
        other._use(self._engine.afresh())
        return other

    @property
    def work(self) -> Work:
        """What has been asked of the model and done so far."""
        return self._engine.work

    @property
    def identity(self) -> Identity:
        """Which model this is, by content, and how it is run. All weights are read once."""
        return identify(self.name, self.model, self._engine)

    @property
    def note(self) -> str:
        """What a person should know of how this model is run; mostly nothing."""
        return self._engine.note

    def forget(self) -> None:
        """Forget every state and result kept in memory, and look at the weights again."""
        self._engine.forget()

    @property
    def n_layers(self) -> int:
        """How many decoder layers the model has."""
        return len(self.architecture.layers)

    @property
    def d_model(self) -> int:
        """The width of the residual stream."""
        return int(self.model.config.get_text_config().hidden_size)

    @property
    def max_tokens(self) -> int | None:
        """How many tokens fit the model's window; None where the configuration does not say."""
        return max_tokens(self.model)

    def render(self, case: RagCase, book: Book = "open") -> Prompt:
        """Render a case with this model's template.

        Raises:
            TemplateError: if a rendering of the caller's own lacks a passage or the question.
        """
        own = self._own(case, book)
        if own is not None:
            return own
        prompt = render(case, self.template, book)
        return self._prompts.chat(prompt) if self.template.chat else prompt

    def worded(self, case: RagCase, book: Book = "open") -> Prompt:
        """Render a case as it is before the tokenizer's own chat template, if it has a part in it.

        Raises:
            TemplateError: if a rendering of the caller's own lacks a passage or the question.
        """
        return self._own(case, book) or render(case, self.template, book)

    def _own(self, case: RagCase, book: Book) -> Prompt | None:
        """Render a case in the caller's own way, where there is one and it wants to."""
        text = self._rendering(case, book) if self._rendering else None
        return None if text is None else located(text, case, book)

    def tokenize(self, prompt: Prompt) -> TokenizedPrompt:
        """Tokenize a prompt as one text.

        Raises:
            PromptTooLongError: if it does not fit the window together with an answer.
        """
        tokenized = self._prompts.tokenize(prompt)
        self._require_room(tokenized, MAX_ANSWER_TOKENS)
        return tokenized

    def reading(self, prompt: TokenizedPrompt, answer: str | tuple[int, ...]) -> TokenizedPrompt:
        """Set a prompt to read an answer."""
        reading = self._prompts.reading(prompt, answer)
        self._require_room(reading, 0)
        return reading

    def generate(self, prompts: Sequence[TokenizedPrompt]) -> tuple[Generated, ...]:
        """Continue each prompt greedily to the end of its answer."""
        return self._answers.greedy([prompt.input_ids[: prompt.n_prompt] for prompt in prompts])

    def alternatives(
        self, prompts: Sequence[TokenizedPrompt], ranks: range
    ) -> tuple[tuple[Generated, ...], ...]:
        """Continue each prompt greedily from each of its likeliest first tokens.

        Tokens that begin inside a word where the likeliest begins one, or the other way round, are
        left out: what they open is a piece of a word.

        Args:
            prompts: the prompts.
            ranks: which of the first tokens, the likeliest being 0.
        """
        asked = [prompt.input_ids[: prompt.n_prompt] for prompt in prompts]
        return self._answers.alternatives(asked, ranks)

    def embeddings(self, token_ids: Sequence[int]) -> Array:
        """Return (n, d_model), the output of the token embedding."""
        with quiet(self.model):
            ids = torch.tensor([list(token_ids)], device=self.model.device)
            embedded = self.architecture.embedding(ids)[0]
        return np.asarray(embedded.double().cpu().numpy(), dtype=np.float64)

    def mask_token(self) -> int:
        """Return the mask, unknown, padding, end or first token, whichever exists first."""
        names = ("mask_token_id", "unk_token_id", "pad_token_id", "eos_token_id")
        found = (getattr(self.tokenizer, name, None) for name in names)
        return next((int(token) for token in found if token is not None), 0)

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Tokenize a phrase as it stands after a space."""
        return self._prompts.token_ids(text)

    def run(self, plan: ProbePlan) -> tuple[RowReading, ...]:
        """Carry a plan out, and leave the model as it was."""
        return self.run_all([plan])[0]

    def run_all(self, plans: Sequence[ProbePlan]) -> tuple[tuple[RowReading, ...], ...]:
        """Carry plans out, those not yet run together; an error is what the plan alone gives."""
        return self._engine.run_all(plans)

    def estimate_effects(self, screenings: Sequence[Screening]) -> tuple[Array, ...]:
        """Estimate indirect effects to first order, one backward pass each."""
        executor = self._engine.executor
        return tuple(
            estimate_effects(self.model, self.architecture, executor, screening)
            for screening in screenings
        )

    def _require_room(self, prompt: TokenizedPrompt, extra: int) -> None:
        n_tokens = len(prompt.input_ids) + extra
        if self.max_tokens is not None and n_tokens > self.max_tokens:
            raise PromptTooLongError(
                n_tokens=n_tokens, max_tokens=self.max_tokens, text=prompt.text
            )
