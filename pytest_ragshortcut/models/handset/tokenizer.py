"""The vocabulary of a hand-weighted model: a token for every name and every word."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from pytest_ragshortcut.core.prompts import Template
from pytest_ragshortcut.models.handset.facts import ENDS, OPENERS, Facts

UNKNOWN = "<unk>"
END = "<eos>"
N_RESERVED = 1000

_TOKEN = r"\n|\w+|[^\w\s]"  # noqa: S105
_PLACEHOLDER = re.compile(r"\{\w+\}")


@dataclass(frozen=True)
class Vocabulary:
    """Every token, in the order of its id: answers, subjects, reserved ones, words, two of its own.

    Answers come first, so that of tokens which are equally likely an answer is the likeliest.
    """

    facts: Facts
    words: tuple[str, ...]
    """The tokens that are no names, in order."""

    @cached_property
    def ids(self) -> Mapping[str, int]:
        """Each token's id."""
        reserved = (f"<reserved_{i}>" for i in range(N_RESERVED))
        names = (*self.facts.answers, *self.facts.subjects)
        tokens = (*names, *reserved, *self.words, UNKNOWN, END)
        return {token: i for i, token in enumerate(tokens)}

    @property
    def answer_ids(self) -> slice:
        """The ids of the answers."""
        return slice(0, len(self.facts.answers))

    @property
    def subject_ids(self) -> slice:
        """The ids of the subjects."""
        return slice(self.answer_ids.stop, self.answer_ids.stop + len(self.facts.subjects))

    @property
    def reserved_ids(self) -> slice:
        """The ids that no text holds."""
        return slice(self.subject_ids.stop, self.subject_ids.stop + N_RESERVED)


def split(text: str) -> list[str]:
    r"""Split a text into words, signs and line breaks.

    Example:
        >>> split("Ada's home.\n")
        ['Ada', "'", 's', 'home', '.', '\n']
    """
    return re.findall(_TOKEN, text)


def make_vocabulary(facts: Facts, template: Template, words: Sequence[str] = ()) -> Vocabulary:
    """Collect the words of a template, those that open and end sentences, and others."""
    texts = (template.open_book, template.closed_book, template.separator)
    found = dict.fromkeys([*ENDS, *sorted(OPENERS)])
    for text in (*(_PLACEHOLDER.sub(" ", text) for text in texts), *words):
        found |= dict.fromkeys(split(text))
    names = {*facts.answers, *facts.subjects}
    return Vocabulary(facts, tuple(word for word in found if word not in names))


def make_tokenizer(vocabulary: Vocabulary) -> PreTrainedTokenizerFast:
    """Make a fast tokenizer whose every name is one token, however many words it has."""
    tokenizer = Tokenizer(models.WordLevel(dict(vocabulary.ids), unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_TOKEN), "removed", invert=True)
    # A name of one word stays in the word list: where a longer name almost matches, as 'Ann Lee'
    # in 'Ann Leeds', added tokens would lose the 'Ann' in it.
    names = (*vocabulary.facts.answers, *vocabulary.facts.subjects)
    tokenizer.add_tokens(
        [
            AddedToken(name, single_word=True, normalized=False)
            for name in names
            if split(name) != [name]
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN,
        eos_token=END,
        pad_token=END,
        clean_up_tokenization_spaces=False,
    )
