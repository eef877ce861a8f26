"""How the planted model computes: embeddings, facts, two attention heads, logits. Sums alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from pytest_ragshortcut.core.plans import Array, Component, Contributions, Knockout, PlanRow

GAIN = 20.0
"""Logits that a path of strength 1 could give at most."""
DOUBT = 5.0
"""The logit of 'unknown', which is said where neither path outweighs it."""
UNKNOWN = "unknown"
N_LAYERS = 2

States = dict[tuple[Component, int], Array]


def token_id(word: str) -> int:
    """Return a word's token id: the same in every process, and no vocabulary to keep."""
    return crc32(word.encode())


@dataclass(frozen=True, eq=False)
class Mechanism:
    """Layer 0 recalls facts, layer 1 attends: everything that PlantedModel's docstring states."""

    subjects: tuple[str, ...]
    """(n_subjects,) the words that name a subject."""
    facts: tuple[str, ...]
    """(n_subjects,) the answer that memory has for each."""
    vocabulary: tuple[str, ...]
    """(n_answers,) what can be read in a context, and said."""
    context_strength: float
    """How much the context head carries, in [0, 1]."""
    memory_strength: float
    """How much the memory head carries, in [0, 1]."""

    @property
    def kind_axes(self) -> slice:
        """Where an embedding says whether its token is an answer, and whether a subject."""
        return slice(0, 2)

    @property
    def subject_axes(self) -> slice:
        """Where an embedding says which subject its token names."""
        return _after(self.kind_axes, len(self.subjects))

    @property
    def answer_axes(self) -> slice:
        """Where an embedding says which answer its token is."""
        return _after(self.subject_axes, len(self.vocabulary))

    @property
    def fact_axes(self) -> slice:
        """Where layer 0 writes the fact."""
        return _after(self.answer_axes, len(self.vocabulary))

    @property
    def said_axes(self) -> slice:
        """Where layer 1 writes the logits."""
        return _after(self.fact_axes, len(self.vocabulary))

    @property
    def width(self) -> int:
        """The width of the residual stream: the five kinds of axes side by side."""
        return int(self.said_axes.stop)

    def embed(self, token_ids: Sequence[int]) -> Array:
        """Return (n, width), all zero for a word that is neither subject nor answer."""
        words = (*self.subjects, *self.vocabulary)
        axes = {token_id(word): self.subject_axes.start + i for i, word in enumerate(words)}
        embedded = np.zeros((len(token_ids), self.width))
        for row, token in zip(embedded, token_ids, strict=True):
            if token in axes:
                row[axes[token]] = 1.0
                row[0 if axes[token] >= self.answer_axes.start else 1] = 1.0
        return embedded

    def forward(self, row: PlanRow, clean: States) -> States:
        """Return every component's (n_tokens, width) output; clean ones are restored from."""
        stream = self._embedded(row)
        states: States = {}

        def restored(component: Component, layer: int, state: Array) -> Array:
            for restoration in row.restorations:
                if restoration.component == component and layer in restoration.layers:
                    at = list(restoration.positions)
                    state[at] = clean[component, layer][at]
            states[component, layer] = state
            return state

        for layer in range(N_LAYERS):
            attended = self._parts(stream, layer, row.knockouts).sum(axis=(0, 2))
            stream = stream + restored("attention", layer, attended)
            stream = stream + restored("mlp", layer, self._recalled(stream, layer))
            stream = restored("residual", layer, stream.copy())
        return states

    def logits(self, states: States) -> Array:
        """Return (n_tokens, n_answers)."""
        doubt = DOUBT * (np.array(self.vocabulary) == UNKNOWN)
        return np.asarray(states["residual", N_LAYERS - 1][:, self.said_axes] + doubt)

    def contributions(self, row: PlanRow, clean: States) -> Contributions:
        """Return what each token adds to the reader."""
        (reader,) = row.prompt.readers
        streams = (self.embed(row.prompt.input_ids), clean["residual", 0])
        parts = np.stack([self._parts(x, layer, ())[:, reader] for layer, x in enumerate(streams)])
        return Contributions(
            per_head=np.linalg.norm(parts, axis=-1),
            summed=np.linalg.norm(parts.sum(axis=1), axis=-1),
        ).asked(row)

    def _embedded(self, row: PlanRow) -> Array:
        if row.corruption is None:
            return self.embed(row.prompt.input_ids)
        embedded = self.embed(row.corruption.embedded(row.prompt.input_ids))
        if row.corruption.noise is not None:
            embedded[list(row.corruption.positions)] += row.corruption.noise
        return embedded

    def _recalled(self, stream: Array, layer: int) -> Array:
        """Return what the MLP adds: at layer 0 each subject's fact."""
        added = np.zeros_like(stream)
        if layer == 0:
            for axis, fact in enumerate(self.facts):
                column = self.fact_axes.start + self.vocabulary.index(fact)
                added[:, column] += stream[:, self.subject_axes.start + axis]
        return added

    def _parts(self, stream: Array, layer: int, knockouts: Sequence[Knockout]) -> Array:
        """Return (n_heads, n_targets, n_sources, width), what each source adds to each target."""
        n_tokens = len(stream)
        parts = np.zeros((2, n_tokens, n_tokens, self.width))
        if layer == 0:
            return parts
        uncut = np.tril(np.ones((n_tokens, n_tokens), dtype=bool))
        for knockout in knockouts:
            if layer in knockout.layers:
                uncut[np.ix_(knockout.targets, knockout.sources)] = False
        wanted = stream[:, self.kind_axes].T > 0.5
        heads = (
            (self.answer_axes, self.context_strength),
            (self.fact_axes, self.memory_strength),
        )
        for part, kind, (axes, strength) in zip(parts, wanted, heads, strict=True):
            seen = (kind & uncut) | np.eye(n_tokens, dtype=bool)
            weights = seen / seen.sum(axis=1, keepdims=True)
            part[..., self.said_axes] = GAIN * strength * weights[..., None] * stream[:, axes]
        return parts


def _after(axes: slice, size: int) -> slice:
    return slice(axes.stop, axes.stop + size)
