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

from pytest_ragshortcut.models.embedded.tokenizer import END
from pytest_ragshortcut.models.embedded.world import CONTEXT, PROMPT, Scene

LENGTH = 256
TEXT, ANSWER = 1, 2

Part = tuple[list[int], int]
Rows = dict[str, torch.Tensor]


@dataclass
class _Row:
    """The columns of one row while it is being filled."""

    ids: list[int]
    positions: list[int]
    scenes: list[int]
    parts: list[int]
    roles: list[int]

    def add(self, part: Part, start: int, scene: int, number: int) -> None:
        """Append one part: a context, or a question with its answer."""
        tokens, answer_from = part
        self.ids += tokens
        self.positions += range(start, start + len(tokens))
        self.scenes += [scene] * len(tokens)
        self.parts += [number] * len(tokens)
        predicted = range(1, len(tokens))
        self.roles += [ANSWER if i >= answer_from else TEXT for i in predicted] + [0]


@cache
def load(tokenizer: str) -> Tokenizer:
    """Load a tokenizer from its description, once in every process."""
    return Tokenizer.from_str(tokenizer)


def encode(tokenizer: Tokenizer, scene: Scene) -> list[Part]:
    """Tokenise a scene: its context (perhaps empty), then each question with its answer."""
    head = "\n" if scene.passages else ""
    context = CONTEXT.format(context="\n".join(scene.passages)).rstrip("\n")
    texts = [context if scene.passages else ""]
    for question, answer in scene.questions:
        texts += [head + PROMPT.format(question=question), f" {answer}{END}"]
    codes = [code.ids for code in tokenizer.encode_batch(texts)]
    parts: list[Part] = [(codes[0], len(codes[0]))]
    for asked, told in zip(codes[1::2], codes[2::2], strict=True):
        parts.append((asked + told, len(asked)))
    return parts


def rows(tokenizer: Tokenizer, scenes: Iterator[Scene]) -> Iterator[_Row]:
    """Pack scenes into rows of at most :data:`LENGTH` tokens."""
    row, number = _Row([], [], [], [], []), 0
    for scene in scenes:
        parts = encode(tokenizer, scene)
        size = sum(len(tokens) for tokens, _ in parts)
        while size > LENGTH and len(parts) > 2:
            size -= len(parts.pop()[0])
        if size > LENGTH:
            continue
        if len(row.ids) + size > LENGTH:
            yield row
            row, number = _Row([], [], [], [], []), 0
        number += 1
        start = len(parts[0][0])
        for index, part in enumerate(parts):
            if part[0]:
                row.add(part, start if index else 0, number, index)


def block(
    tokenizer: Tokenizer,
    draw: Callable[[random.Random], Scene],
    seed: str,
    count: int,
) -> np.ndarray:
    """Make `count` rows from a seed, as an array of (row, column kind, token)."""
    rng = random.Random(seed)
    made = np.zeros((count, 5, LENGTH), dtype=np.int16)
    scenes = (draw(rng) for _ in iter(int, 1))
    for index, row in zip(range(count), rows(tokenizer, scenes), strict=False):
        columns = (row.ids, row.positions, row.scenes, row.parts, row.roles)
        for kind, column in enumerate(columns):
            made[index, kind, : len(column)] = column
    return made


def unpack(made: torch.Tensor) -> Rows:
    """Turn rows into what the model takes: ids, positions, attention bias, targets and roles."""
    ids, positions, scenes, parts, roles = made.long().unbind(1)
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
    }
