"""Training rows: scenes as token ids, several to a row, several questions to a scene.

Each question sees the context of its scene and itself, and its positions go on from the context,
so every one of them looks to the model like a single prompt that starts at position 0.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from tokenizers import Tokenizer

from pytest_ragshortcut.models.embedded.scenes import Scene
from pytest_ragshortcut.models.embedded.tokenizer import END

LENGTH = 256
TEXT, ANSWER = 1, 2

PERCENT = 100

Rows = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Part:
    """A context, or a question with an answer, as token ids."""

    tokens: list[int]
    answer_from: int
    """The index of the answer's first token."""
    share: float = 1.0
    """How often the answer is right."""


@dataclass
class _Row:
    """The columns of one row while it is being filled."""

    ids: list[int]
    positions: list[int]
    scenes: list[int]
    parts: list[int]
    roles: list[int]
    shares: list[int]

    def add(self, part: Part, start: int, scene: int, number: int) -> None:
        """Append one part: a context, or a question with its answer."""
        tokens = part.tokens
        self.ids += tokens
        self.positions += range(start, start + len(tokens))
        self.scenes += [scene] * len(tokens)
        self.parts += [number] * len(tokens)
        predicted = range(1, len(tokens))
        self.roles += [ANSWER if i >= part.answer_from else TEXT for i in predicted] + [0]
        self.shares += [round(PERCENT * part.share)] * len(tokens)


@cache
def load(tokenizer: str) -> Tokenizer:
    """Load a tokenizer from its description, once in every process."""
    return Tokenizer.from_str(tokenizer)


def encode(tokenizer: Tokenizer, scene: Scene) -> list[Part]:
    """Tokenise a scene: its context (perhaps empty), then each question with its answer."""
    texts = [scene.wording.opening(scene.passages)]
    for asked in scene.questions:
        question = scene.wording.asking(asked.question, open_book=bool(scene.passages))
        texts += [question, f" {asked.answer}{END}"]
    codes = [code.ids for code in tokenizer.encode_batch(texts)]
    asked_and_told = zip(codes[1::2], codes[2::2], scene.questions, strict=True)
    return [
        Part(codes[0], len(codes[0])),
        *(Part(asked + told, len(asked), each.share) for asked, told, each in asked_and_told),
    ]


def rows(tokenizer: Tokenizer, scenes: Iterator[Scene]) -> Iterator[_Row]:
    """Pack scenes into rows of at most :data:`LENGTH` tokens."""
    row, number = _Row([], [], [], [], [], []), 0
    for scene in scenes:
        parts = encode(tokenizer, scene)
        size = sum(len(part.tokens) for part in parts)
        while size > LENGTH and len(parts) > 2:
            size -= len(parts.pop().tokens)
        if size > LENGTH:
            continue
        if len(row.ids) + size > LENGTH:
            yield row
            row, number = _Row([], [], [], [], [], []), 0
        number += 1
        start = len(parts[0].tokens)
        for index, part in enumerate(parts):
            if part.tokens:
                row.add(part, start if index else 0, number, index)


def block(
    tokenizer: Tokenizer,
    draw: Callable[[random.Random], Scene],
    seed: str,
    count: int,
) -> np.ndarray:
    """Make `count` rows from a seed, as an array of (row, column kind, token)."""
    rng = random.Random(seed)
    made = np.zeros((count, 6, LENGTH), dtype=np.int16)
    scenes = (draw(rng) for _ in iter(int, 1))
    for index, row in zip(range(count), rows(tokenizer, scenes), strict=False):
        columns = (row.ids, row.positions, row.scenes, row.parts, row.roles, row.shares)
        for kind, column in enumerate(columns):
            made[index, kind, : len(column)] = column
    return made


def unpack(made: torch.Tensor) -> Rows:
    """Turn rows into what the model takes, and what it should say: targets, roles and shares."""
    ids, positions, scenes, parts, roles, shares = made.long().unbind(1)
    same_scene = scenes[:, :, None] == scenes[:, None, :]
    readable = (parts[:, None, :] == 0) | (parts[:, :, None] == parts[:, None, :])
    causal = torch.ones(LENGTH, LENGTH, dtype=torch.bool, device=made.device).tril()
    seen = (same_scene & readable & causal)[:, None]
    return {
        "ids": ids,
        "positions": positions,
        "bias": torch.zeros_like(seen, dtype=torch.bfloat16).masked_fill_(~seen, -1e4),
        "targets": ids.roll(-1, dims=1),
        "roles": roles,
        "shares": shares / PERCENT,
    }
