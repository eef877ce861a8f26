"""The prompts that are measured: one question over five passages, of exactly so many tokens.

The subject is three tokens and starts nine before the end; the third passage states the answer, in
its first sentence. A corruption is drawn here once, so that the probes and the code that they are
compared with disturb the model alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from benchmarks import percell
from benchmarks.models import Loaded, made_up, stop_ids
from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.plans import Array
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.models.rag_model import RagModel

N_PASSAGES = 5
SUBJECT_FROM_END = 9
_N_SUBJECT = 3
_N_STATED = 7
_N_AROUND = 15
MIN_TOKENS = _N_AROUND + _N_STATED + N_PASSAGES - 1
_NOISE_SCALE = 3.0
_MAX_SEEDS = 40
# What is asked should be neither certain nor unlikely, and the corruption should move it.
_MIN_CLEAN, _MAX_CLEAN, _MIN_EFFECT = 0.15, 0.97, 0.1


@dataclass(frozen=True, eq=False)
class Scene:
    """One case on one model, with its prompts and its corruptions."""

    loaded: Loaded
    case: RagCase
    open_book: TokenizedPrompt
    closed_book: TokenizedPrompt
    n_samples: int
    seed: int

    def noise(self, n_positions: int) -> Array:
        """Draw (n_samples, n_positions, d_model) noise: the same at every call."""
        subject = [self.open_book.input_ids[p] for p in self.open_book.positions("subject")]
        states = percell.embedded(self.loaded.model, subject)
        shape = (self.n_samples, n_positions, states.shape[-1])
        scale = _NOISE_SCALE * float(states.std())
        return scale * np.random.default_rng(0).standard_normal(shape)

    def replacement(self, n_positions: int) -> tuple[int, ...]:
        """Draw the token ids that stand in a span's place: the same at every call."""
        known = made_up(len(self.loaded.tokenizer))
        drawn = np.random.default_rng(1).integers(known.start, known.stop, n_positions)
        return tuple(int(token) for token in drawn)

    def with_subject_at(self, start: int) -> Scene:
        """Return the scene with other tokens called its subject."""
        spans = {**self.open_book.spans, "subject": ((start, start + _N_SUBJECT),)}
        return replace(self, open_book=replace(self.open_book, spans=spans))


def find_scene(
    loaded: Loaded,
    n_tokens: int,
    *,
    n_samples: int,
    seed: int | None = None,
    subject_at: int | None = None,
) -> Scene:
    """Take the first seed whose corruption moves the answer; the largest effect if none does.

    Args:
        loaded: the model.
        n_tokens: of the open-book prompt.
        n_samples: how many noise samples the scene has.
        seed: take this one, whatever it gives.
        subject_at: call the tokens from here on the subject, instead of the question's.

    Raises:
        ValueError: if so few tokens hold no question and five passages, or no seed has an answer.
    """
    if n_tokens < MIN_TOKENS:
        raise ValueError(f"a prompt of {n_tokens} tokens; the least is {MIN_TOKENS}")
    best, largest = None, -1.0
    for candidate in range(_MAX_SEEDS) if seed is None else [seed]:
        scene = _scene(loaded, n_tokens, n_samples, candidate)
        if scene is None:
            continue
        if subject_at is not None:
            scene = scene.with_subject_at(subject_at)
        clean, effect = _moved(scene)
        if _MIN_CLEAN <= clean <= _MAX_CLEAN and effect >= _MIN_EFFECT:
            return scene
        if effect > largest:
            best, largest = scene, effect
    if best is None:
        raise ValueError(f"no prompt of {n_tokens} tokens has an answer")
    return best


def _scene(loaded: Loaded, n_tokens: int, n_samples: int, seed: int) -> Scene | None:
    """Make a scene; None where an arm's greedy answer would be empty."""
    rag = RagModel(loaded.model, loaded.tokenizer)
    case = make_case(loaded, n_tokens, seed)
    marked = rag.render(case).with_phrase("attribute", str(case.context_answer), region="context")
    stops = set(stop_ids(len(loaded.tokenizer)))
    prompts = []
    for rendered in (marked, rag.render(case, "closed")):
        asked = rendered.with_phrase("subject", str(case.subject), region="question", last=True)
        prompt = rag.tokenize(asked)
        token = percell.likeliest(loaded.model, prompt.input_ids)
        if token in stops:
            return None
        prompts.append(rag.reading(prompt, (token,)))
    assert len(prompts[0].input_ids) == n_tokens
    return Scene(loaded, case, prompts[0], prompts[1], n_samples, seed)


def _moved(scene: Scene) -> tuple[float, float]:
    """Return p of the answer, and how far two samples of noise on the subject move it."""
    prompt = scene.open_book
    span = prompt.positions("subject")
    disturbance = percell.Disturbance(span, noise=scene.noise(len(span))[:2])
    clean = percell.plain(scene.loaded.model, prompt)
    corrupted = percell.disturbed(scene.loaded.model, prompt, disturbance)
    return clean, abs(clean - float(corrupted.mean()))


def make_case(loaded: Loaded, n_tokens: int, seed: int) -> RagCase:
    """Write a case whose open-book prompt has this many tokens; nothing but answers is left out."""
    ids = list(made_up(len(loaded.tokenizer)))
    vocabulary = [str(word) for word in loaded.tokenizer.convert_ids_to_tokens(ids)]
    generator = np.random.default_rng(seed)
    names = generator.permutation([word for word in vocabulary if word.istitle()])
    filler = iter(generator.choice([word for word in vocabulary if word.islower()], n_tokens))
    subject, answer = " ".join(names[:_N_SUBJECT]), str(names[_N_SUBJECT])
    sizes = _passage_sizes(n_tokens - _N_AROUND)
    sizes[N_PASSAGES // 2] -= _N_STATED
    passages = [" ".join(islice(filler, size)) for size in sizes]
    stating = f"{subject} lives in {answer}. {passages[N_PASSAGES // 2]}"
    passages[N_PASSAGES // 2] = stating.strip()
    question = f"where was {subject} born and raised?"
    return RagCase(question, passages, subject=subject, context_answer=answer)


def _passage_sizes(n_context: int) -> list[int]:
    """Share the context out alike; a middle passage too short for its sentence takes its due."""
    alike = _shares(n_context, N_PASSAGES)
    if alike[N_PASSAGES // 2] >= _N_STATED:
        return alike
    others = _shares(n_context - _N_STATED, N_PASSAGES - 1)
    return [*others[: N_PASSAGES // 2], _N_STATED, *others[N_PASSAGES // 2 :]]


def _shares(total: int, count: int) -> list[int]:
    return [len(part) for part in np.array_split(np.arange(total), count)]


def spread(items: Sequence[int], count: int) -> list[int]:
    """Take some items, evenly from the first to the last.

    Example:
        >>> spread(range(12), 6)
        [0, 2, 4, 7, 9, 11]
    """
    chosen = np.linspace(0, len(items) - 1, min(count, len(items)))
    return [items[round(index)] for index in chosen]
