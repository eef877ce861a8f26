"""The reference executor: one hooked full forward a row, batched. Slow, and obviously right.

Rows without an intervention run alone and unhooked, so that an empty plan is the untouched model
bit for bit. Rows of one length run together: nothing is ever padded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import torch
from transformers import Cache, PreTrainedModel

from pytest_ragshortcut.core.plans import Component, PlanRow, ProbePlan, RowReading
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.models.architectures import ArchitectureMap
from pytest_ragshortcut.models.contributions import read_contributions
from pytest_ragshortcut.models.hooks import (
    States,
    attention_implementation,
    captured,
    intervened,
    quiet,
)
from pytest_ragshortcut.models.reading import (
    forward_logits,
    precise,
    require_finite,
    runnable_rows,
)

_MAX_BATCH_TOKENS = 8192


class ReferenceExecutor:
    """Runs any plan on any causal language model, and leaves the model as it was."""

    def __init__(self, model: PreTrainedModel, architecture: ArchitectureMap) -> None:
        self.model, self.architecture = model, architecture
        self.token_layers = 0
        """How many tokens have been through a layer so far, added up over layers."""
        self._caches: dict[tuple[int, ...], Cache] = {}

    def run(self, plan: ProbePlan) -> tuple[RowReading, ...]:
        """Run a plan's rows.

        Raises:
            PlanError: if a row does not fit the model.
            UnsupportedArchitectureError: if a layer lacks what a row intervenes on.
            NonFiniteLogitsError: if the model returns NaN or infinity.
        """
        rows = runnable_rows(plan, self.model, self.architecture)
        readings: dict[int, RowReading] = {}
        with quiet(self.model), attention_implementation(self.model, weights=False):
            for group in _batches(rows):
                batch = self._run_batch([rows[index] for index in group])
                readings |= zip(group, batch, strict=True)
        require_finite(self.model, (readings[index] for index in range(len(rows))))
        for index, row in enumerate(rows):
            if row.contributions:
                self._count(len(row.prompt.input_ids))
                read = read_contributions(self.model, self.architecture, row.prompt)
                readings[index] = replace(readings[index], contributions=read.asked(row))
        return tuple(readings[index] for index in range(len(rows)))

    def next_logits(self, sequences: Sequence[tuple[int, ...]]) -> torch.Tensor:
        """Return (n_sequences, n_vocabulary) logits of the token after each sequence.

        A sequence that is one of the last call's and a token more costs that token alone.
        """
        with quiet(self.model):
            steps = [self._step(ids) for ids in sequences]
        # Only now, so that a call that fails leaves what the last one kept.
        kept = zip(sequences, steps, strict=True)
        self._caches = {ids: cache for ids, (_, cache) in kept if cache is not None}
        return torch.stack([logits for logits, _ in steps])

    def forget(self) -> None:
        """Forget what the last call to next_logits kept."""
        self._caches = {}

    def _step(self, ids: tuple[int, ...]) -> tuple[torch.Tensor, Cache | None]:
        cache = self._caches.pop(ids[:-1], None)
        inputs = torch.tensor([ids if cache is None else ids[-1:]], device=self.model.device)
        self._count(inputs.numel())
        mask = torch.ones(1, len(ids), dtype=torch.long, device=self.model.device)
        output = self.model(
            input_ids=inputs, attention_mask=mask, past_key_values=cache, use_cache=True
        )
        return output.logits[0, -1], output.past_key_values

    def _count(self, n_tokens: int) -> None:
        self.token_layers += n_tokens * len(self.architecture.layers)

    def _run_batch(self, rows: list[PlanRow]) -> list[RowReading]:
        if not _is_touched(rows[0]):
            return self._read(rows[:1]) * len(rows)
        clean = self._clean_states(rows)
        with intervened(self.architecture, rows, clean):
            return self._read(rows)

    def _clean_states(self, rows: Sequence[PlanRow]) -> list[States]:
        components: set[Component] = {r.component for row in rows for r in row.restorations}
        if not components:
            return [{} for _ in rows]
        kept: dict[tuple[int, ...], States] = {}
        for row in rows:
            if row.prompt.input_ids not in kept:
                with captured(self.architecture, sorted(components)) as states:
                    self._read([replace(row, corruption=None)])
                kept[row.prompt.input_ids] = states
        return [kept[row.prompt.input_ids] for row in rows]

    def _read(self, rows: Sequence[PlanRow]) -> list[RowReading]:
        ids = torch.tensor([_embedded_ids(row) for row in rows], device=self.model.device)
        answers = torch.tensor([row.prompt.answer_ids for row in rows], device=self.model.device)
        self._count(ids.numel())
        logits = forward_logits(self.model, ids, rows[0].prompt.readers)
        logprobs = torch.log_softmax(precise(logits), dim=-1)
        chosen = logprobs.gather(-1, answers[..., None])[..., 0].double().cpu().numpy()
        said = (logits.argmax(dim=-1) == answers).all(dim=-1).tolist()
        return [
            RowReading(values, said=is_said) for values, is_said in zip(chosen, said, strict=True)
        ]


def _embedded_ids(row: PlanRow) -> Sequence[int]:
    ids = row.prompt.input_ids
    return row.corruption.embedded(ids) if row.corruption else ids


def _is_touched(row: PlanRow) -> bool:
    return bool(row.corruption or row.restorations or row.knockouts)


def _batches(rows: Sequence[PlanRow]) -> list[list[int]]:
    """Group rows that can share a forward, by length and readers; untouched ones by prompt."""
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        prompt: TokenizedPrompt = row.prompt
        alone = () if _is_touched(row) else (prompt.input_ids, prompt.answer_ids)
        groups[len(prompt.input_ids), prompt.readers, alone].append(index)
    batches = []
    for key, group in groups.items():
        size = max(1, _MAX_BATCH_TOKENS // int(str(key[0]))) if not key[2] else len(group)
        batches += [group[start : start + size] for start in range(0, len(group), size)]
    return batches
