"""The prompts that are measured: one question over five passages, of exactly so many tokens.

The subject is three tokens and starts nine before the end; the third passage states the answer, in
its first sentence. A corruption is drawn here once, so that the probes and the code that they are
compared with disturb the model alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch

from benchmarks.models import Loaded, made_up, stop_ids
from benchmarks.percell import Disturbance, Reading, answer_probability, embedded
from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.plans import Array
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.models.rag_model import RagModel

N_PASSAGES = 5
SUBJECT_FROM_END = 9
_SPAN = 3
_NOISE_SCALE = 3.0
_OVERHEAD = 15
_STATED = 7
_MAX_SEEDS = 40
# What is asked is neither certain nor unlikely, and the corruption moves it.
_CLEAN = (0.15, 0.97)
_MIN_EFFECT = 0.1


@dataclass(frozen=True, eq=False)
class Scene:
    """One case on one model, with its prompts and its corruptions."""

    loaded: Loaded
    case: RagCase
    open_book: TokenizedPrompt
    closed_book: TokenizedPrompt
    n_samples: int
    seed: int

    def noise(self, n_span: int) -> Array:
        """Draw (n_samples, n_span, d_model) noise: the same at every call."""
        subject = [self.open_book.input_ids[p] for p in self.open_book.positions("subject")]
        states = embedded(self.loaded.model, subject)
        shape = (self.n_samples, n_span, states.shape[-1])
        scale = _NOISE_SCALE * float(states.std())
        return scale * np.random.default_rng(0).standard_normal(shape)

    def substitutes(self, n_span: int) -> tuple[int, ...]:
        """Draw the token ids that a replacement puts in a span's place."""
        known = made_up(len(self.loaded.tokenizer))
        drawn = np.random.default_rng(1).integers(known.start, known.stop, n_span)
        return tuple(int(token) for token in drawn)

    def with_subject(self, start: int) -> Scene:
        """Return the scene with another span called its subject."""
        spans = {**self.open_book.spans, "subject": ((start, start + _SPAN),)}
        return replace(self, open_book=replace(self.open_book, spans=spans))


def minimum_tokens() -> int:
    """Return the fewest tokens that a scene can have."""
    return _OVERHEAD + _STATED + N_PASSAGES - 1


def find_scene(loaded: Loaded, n_tokens: int, *, n_samples: int, seed: int | None = None) -> Scene:
    """Take the first seed whose corruption moves the answer; the largest effect if none does.

    Args:
        loaded: the model.
        n_tokens: of the open-book prompt.
        n_samples: how many noise samples the scene has.
        seed: take this one, whatever it gives.

    Raises:
        ValueError: if so few tokens hold no question and five passages.
    """
    if n_tokens < minimum_tokens():
        raise ValueError(f"a prompt of {n_tokens} tokens; the least is {minimum_tokens()}")
    tried: list[tuple[float, Scene]] = []
    for scene in _scenes(loaded, n_tokens, n_samples, seed):
        clean, effect = _moved(scene)
        if _CLEAN[0] <= clean <= _CLEAN[1] and effect >= _MIN_EFFECT:
            return scene
        tried.append((effect, scene))
    return max(tried, key=lambda pair: pair[0])[1]


def _scenes(loaded: Loaded, n_tokens: int, n_samples: int, seed: int | None) -> Iterator[Scene]:
    """Make the scenes in which neither arm's greedy answer is empty."""
    rag = RagModel(loaded.model, loaded.tokenizer)
    stops = set(stop_ids(len(loaded.tokenizer)))
    seeds = range(_MAX_SEEDS) if seed is None else [seed]
    asked = ((number, make_case(loaded, n_tokens, number)) for number in seeds)
    prompts = ((number, case, open_prompt(rag, case), closed_prompt(rag, case)) for number, case in asked)
    said = (
        (number, case, [(prompt, likeliest(loaded, prompt.input_ids)) for prompt in pair])
        for number, case, *pair in prompts
    )
    usable = (found for found in said if stops.isdisjoint(token for _, token in found[2]))
    first = next(usable, None)
    if first is None:
        raise ValueError(f"no prompt of {n_tokens} tokens has an answer")
    yield _scene(loaded, rag, n_samples, *first)
    for found in usable:
        yield _scene(loaded, rag, n_samples, *found)


def _scene(
    loaded: Loaded,
    rag: RagModel,
    n_samples: int,
    seed: int,
    case: RagCase,
    asked: list[tuple[TokenizedPrompt, int]],
) -> Scene:
    open_book, closed_book = (rag.reading(prompt, (token,)) for prompt, token in asked)
    return Scene(loaded, case, open_book, closed_book, n_samples, seed)


def make_case(loaded: Loaded, n_tokens: int, seed: int) -> RagCase:
    """Write a case whose open-book prompt has this many tokens."""
    ids = made_up(len(loaded.tokenizer))
    vocabulary = [str(loaded.tokenizer.convert_ids_to_tokens(index)) for index in ids]
    generator = np.random.default_rng(seed)
    names = iter(generator.permutation([word for word in vocabulary if word.istitle()]))
    plain = [word for word in vocabulary if word.islower()]
    subject, answer = " ".join(islice(names, _SPAN)), str(next(names))
    stated = f"{subject} lives in {answer}."
    filler = iter(generator.choice(plain, n_tokens))
    free = n_tokens - _OVERHEAD - _STATED
    sizes = [len(part) for part in np.array_split(np.arange(free), N_PASSAGES)]
    passages = [" ".join(islice(filler, size)) for size in _rounded(sizes, n_tokens)]
    middle = N_PASSAGES // 2
    passages[middle] = f"{stated} {passages[middle]}".strip()
    question = f"where was {subject} born and raised?"
    return RagCase(question, passages, context_answer=answer)


def _rounded(sizes: list[int], n_tokens: int) -> list[int]:
    """Take the stated sentence's tokens off the middle passage where it is long enough."""
    middle, spare = N_PASSAGES // 2, len(sizes) - 1
    moved = max(0, sizes[middle] - max(0, (n_tokens - _OVERHEAD) // N_PASSAGES - _STATED))
    rest = [index for index in range(len(sizes)) if index != middle]
    shared = [len(part) for part in np.array_split(np.arange(moved), spare)]
    for index, extra in zip(rest, shared, strict=True):
        sizes[index] += extra
    sizes[middle] -= moved
    return sizes


def open_prompt(rag: RagModel, case: RagCase) -> TokenizedPrompt:
    """Tokenize a case with its passages, its subject and attribute marked."""
    subject = case.question.removeprefix("where was ").removesuffix(" born and raised?")
    prompt = rag.render(case).with_phrase("subject", subject, region="question", last=True)
    marked = prompt.with_phrase("attribute", str(case.context_answer), region="context")
    return rag.tokenize(marked)


def closed_prompt(rag: RagModel, case: RagCase) -> TokenizedPrompt:
    """Tokenize a case's question alone, its subject marked."""
    subject = case.question.removeprefix("where was ").removesuffix(" born and raised?")
    prompt = rag.render(case, "closed")
    return rag.tokenize(prompt.with_phrase("subject", subject, region="question", last=True))
