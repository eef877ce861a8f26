"""Rows run with gradients, from one position on, above the keys and values of a kept clean run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pytest_ragshortcut.core.plans import Corruption
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.models.hooks import add_noise, attention_implementation, edited, quiet
from pytest_ragshortcut.models.incremental.executor import IncrementalExecutor
from pytest_ragshortcut.models.incremental.frame import AttentionInput

Rows = Sequence[Corruption | None]
"""What disturbs each row; None is the clean one."""


class SuffixForward:
    """Runs rows of one prompt, disturbed from a position on, through a model's layers.

    Args:
        executor: keeps the clean run.
        prompt: the prompt, set to read an answer.
        first: the first position that is computed, at most the first disturbed one and the first
            reader.
    """

    def __init__(self, executor: IncrementalExecutor, prompt: TokenizedPrompt, first: int) -> None:
        self.frame, self.first = executor.frame, first
        ids = prompt.read_ids
        self.at = torch.arange(first, len(ids), device=executor.model.device)
        self.readers = [reader - first for reader in prompt.readers]
        with quiet(executor.model), attention_implementation(executor.model, weights=False):
            self.run = executor.keeper.clean_runs([ids])[ids]
            self.outfit = self.frame.outfit(self.run.outfit_tokens)

    def __call__(self, rows: Rows, ids: torch.Tensor) -> torch.Tensor:
        """Return (n_rows, n_readers, n_vocabulary) logits; the graph starts at the first layer.

        Args:
            rows: (n_rows,) whose noise is added to the embeddings.
            ids: (n_rows, n_tokens) the token ids that are embedded.
        """
        embedding = self.frame.architecture.embedding
        with torch.no_grad(), edited(embedding, lambda x: add_noise(x, rows)):
            embedded = self.frame.embed(ids)[:, self.first :]
        hidden = embedded.flatten(0, 1).requires_grad_()
        at = self.at.repeat(len(rows))
        with self.frame.packed():
            for layer in range(len(self.frame.architecture.layers)):
                attention = self._attention(layer, len(rows))
                output = self.frame.layer(layer, hidden, self.outfit, at, attention)
                assert output is not None
                hidden = output
        read = hidden.unflatten(0, (len(rows), -1))[:, self.readers].flatten(0, 1)
        logits = self.frame.logits(read)
        return logits.view(len(rows), len(self.readers), -1)

    def _attention(self, layer: int, n_rows: int) -> _SharedPrefixAttention:
        # Copied: a graph cannot hold what was made without one.
        keys, values = (x.clone() for x in self.run.keys_and_values(layer, self.first))
        hidden = self.outfit.hidden(layer, self.at)
        return _SharedPrefixAttention(n_rows, keys, values, hidden)


@dataclass(frozen=True, eq=False)
class _SharedPrefixAttention:
    """Attention of rows alike in length to a prefix that they share, and each to itself."""

    n_rows: int
    keys: torch.Tensor
    """(n_kv_heads, n_prefix, d_key)."""
    values: torch.Tensor
    """(n_kv_heads, n_prefix, d_value)."""
    hidden: torch.Tensor
    """(n_own, n_prefix + n_own) True where a query does not see a key."""

    def __call__(self, given: AttentionInput) -> torch.Tensor:
        """Attend."""
        query, value = given.query, given.value
        n_kv, n_prefix = self.keys.shape[:2]
        # By key head, row, head of its group and position: each row meets its own keys alone.
        grouped = query.unflatten(0, (n_kv, -1)).unflatten(2, (self.n_rows, -1)).transpose(1, 2)
        own_keys, own_values = (
            x.unflatten(1, (self.n_rows, -1))[:, :, None] for x in (given.key, value)
        )
        shape = grouped.shape[:-1]
        before = (grouped.flatten(1, 3) @ self.keys.mT).view(*shape, n_prefix)
        scores = given.scoring.of(torch.cat([before, grouped @ own_keys.mT], dim=-1))
        scores = scores.masked_fill(self.hidden, -torch.inf)
        if given.sinks is not None:
            sink = given.sinks.to(scores.dtype).view(n_kv, 1, -1, 1, 1)
            scores = torch.cat([scores, sink.expand(*shape, 1)], dim=-1)
        weights = scores.softmax(dim=-1).to(value.dtype)
        shared, own = weights[..., :n_prefix], weights[..., n_prefix : self.hidden.shape[1]]
        output: torch.Tensor = own @ own_values + (shared.flatten(1, 3) @ self.values).view(
            *shape, -1
        )
        return output.transpose(1, 2).reshape(query.shape[0], query.shape[1], -1).transpose(0, 1)
