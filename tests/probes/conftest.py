"""One tiny model for the probes' tests. Torch is imported when a test asks for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_ragshortcut.core.cases import RagCase

if TYPE_CHECKING:
    from pytest_ragshortcut.models.rag_model import RagModel


@pytest.fixture(scope="session")
def llama() -> RagModel:
    """A float64 llama of three layers over a byte-level vocabulary."""
    import tiny

    from pytest_ragshortcut.models.rag_model import RagModel

    return RagModel(*tiny.rag_parts("llama"), name="tiny")


@pytest.fixture(scope="session")
def case(llama: RagModel) -> RagCase:
    """A case with nothing left to find, whose answer is two words that the model likes to say."""
    asked = RagCase(
        "Where was Eavan Boland born?",
        ["Eavan Boland was born in Dublin.", "Cork is a city."],
        subject="Eavan Boland",
        context_answer="Dublin",
        memory_answer="Cork",
    )
    prompt = llama.tokenize(llama.render(asked))
    first, second = likeliest_words(llama, prompt.input_ids, count=2)
    return replace(asked, answer=f"{first} {second}")


def likeliest_words(llama: RagModel, start: tuple[int, ...], *, count: int) -> list[str]:
    """Continue greedily with tokens that are whole words."""
    import torch

    words: list[str] = []
    ids = list(start)
    for _ in range(count):
        with torch.no_grad():
            logits = llama.model(input_ids=torch.tensor([ids])).logits[0, -1]
        texts = llama.tokenizer.convert_ids_to_tokens(logits.argsort(descending=True).tolist())
        spaced = (text[1:] for text in texts if text.startswith("\u0120"))
        word = next(text for text in spaced if text.isalpha() and text.isascii())
        ids += llama.token_ids(word)
        words.append(word)
    return words
