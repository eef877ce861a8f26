"""One tokenization of the whole rendered prompt, and spans carried over by character offsets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError as JinjaError
from transformers import PreTrainedTokenizerBase

from pytest_ragshortcut.core.prompts import Prompt, Template, TokenizedPrompt
from pytest_ragshortcut.core.spans import CharSpan
from pytest_ragshortcut.errors import (
    AnswerNotFoundError,
    PlanError,
    SpecialTokenError,
    TemplateError,
    TokenizerError,
)


class PromptTokenizer:
    """Reads prompts with the user's own fast tokenizer, which it never changes."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template: Template) -> None:
        self._tokenizer, self._template = tokenizer, template
        self._name = type(tokenizer).__name__
        if not getattr(tokenizer, "is_fast", False):
            raise TokenizerError(tokenizer=self._name, reason="it is slow: it keeps no offsets")
        if template.chat and not getattr(tokenizer, "chat_template", None):
            reason = "template='chat' was asked for, and it has no chat template"
            raise TokenizerError(tokenizer=self._name, reason=reason)

    def chat(self, prompt: Prompt) -> Prompt:
        """Place a prompt in the user's turn of the tokenizer's chat template.

        Raises:
            TemplateError: if the chat template refuses the turn, or does not render it once.
        """
        turns = [{"role": "user", "content": prompt.text}]
        try:
            rendered = self._tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=True
            )
        except JinjaError as error:
            reason = f"the chat template refuses a user's turn alone ({error})"
            raise TemplateError(template=prompt.text, reason=reason) from error
        return prompt.placed_in(str(rendered))

    def tokenize(self, prompt: Prompt) -> TokenizedPrompt:
        """Tokenize a prompt and find the tokens of each of its spans.

        Raises:
            TokenizerError: if the offsets leave a character out.
            SpecialTokenError: if the question or the context holds a control token.
        """
        self._require_plain_text(prompt)
        ids, offsets = self._encode(prompt.text)
        self._require_cover(prompt.text, offsets)
        return prompt.tokenized(ids, self.token_texts(ids), offsets)

    def reading(self, prompt: TokenizedPrompt, answer: str | tuple[int, ...]) -> TokenizedPrompt:
        """Set a prompt to read an answer; a text is tokenized together with the prompt.

        Raises:
            PlanError: if the answer's first characters merge into the prompt's last token.
            AnswerNotFoundError: if the answer has no tokens.
        """
        if isinstance(answer, str):
            answer = self._answer_ids(prompt, answer)
        if not answer:
            raise AnswerNotFoundError(
                role="answer", reason="it has no tokens", within=prompt.text, keyword="answer"
            )
        return prompt.reading(answer, self.token_texts(answer))

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Tokenize a phrase as it stands after a space."""
        (before, _), (whole, _) = self._encode("a"), self._encode("a " + text.strip())
        return tuple(whole[len(before) :])

    def token_texts(self, ids: Sequence[int]) -> tuple[str, ...]:
        """Return each token as the vocabulary writes it."""
        return tuple(str(t) for t in self._tokenizer.convert_ids_to_tokens(list(ids)))

    def opens_word(self, before: int, token: int) -> bool:
        """Whether a token, standing after another, brings a space before its text."""
        # Together, because some tokenizers drop the space that a text would open with.
        return self.decode((before, token))[len(self.decode((before,))) :][:1].isspace()

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of generated tokens."""
        return str(self._tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))

    def _answer_ids(self, prompt: TokenizedPrompt, answer: str) -> tuple[int, ...]:
        text = prompt.text + self._template.answer_prefix + answer
        ids, _ = self._encode(text)
        own = prompt.input_ids[: prompt.n_prompt]
        if tuple(ids[: len(own)]) != own:
            raise PlanError(
                f"the answer {answer!r} merges with the end of the prompt into one token",
                where=f"prompt ends with {prompt.tokens[prompt.n_prompt - 1]!r}",
                expected="The last prompt token stays the same when the answer follows",
                action="End the template with a character that the tokenizer keeps apart",
            )
        return tuple(ids[len(own) :])

    def _encode(self, text: str) -> tuple[list[int], list[CharSpan]]:
        try:
            encoded: Any = self._tokenizer(
                text,
                add_special_tokens=not self._template.chat,
                return_offsets_mapping=True,
                return_attention_mask=False,
                truncation=False,
                verbose=False,
            )
        except (NotImplementedError, ValueError, TypeError) as error:
            reason = f"it returns no offsets ({error})"
            raise TokenizerError(tokenizer=self._name, reason=reason) from error
        ids, offsets = list(encoded["input_ids"]), [tuple(o) for o in encoded["offset_mapping"]]
        # Some tokenizers close every text with an end token, which no prompt may end with.
        while ids and ids[-1] in self._tokenizer.all_special_ids and offsets[-1] == (0, 0):
            ids.pop(), offsets.pop()
        return ids, offsets

    def _require_cover(self, text: str, offsets: Sequence[CharSpan]) -> None:
        covered = {i for start, stop in offsets for i in range(start, stop)}
        for index, character in enumerate(text):
            if not character.isspace() and index not in covered:
                reason = f"no token covers the character {character!r} at {index}"
                raise TokenizerError(tokenizer=self._name, reason=reason)

    def _require_plain_text(self, prompt: Prompt) -> None:
        # Added tokens that are not special (Phi's runs of spaces) are ordinary text.
        added = getattr(self._tokenizer, "added_tokens_decoder", {})
        control = {str(t.content) for t in added.values() if t.special}
        for role in ("question", "context"):
            for start, stop in prompt.spans.get(role, ()):
                part = prompt.text[start:stop]
                for token in sorted(control | set(self._tokenizer.all_special_tokens)):
                    if token and token in part:
                        raise SpecialTokenError(token=token, role=role, text=part)
