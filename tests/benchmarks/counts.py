"""How much of the model a plan asks for: token-layers, the floor under any exact executor.

One token-layer is one layer computed for one token of one row. What causality settles is not
counted: a clean prefix is computed once, a corrupted run once a sample, and a restored run from the
layer above and the first position that it changes. The head, and what the last layer spares where
only the readers matter, are left out, so that a measured cost may come in below its count.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from pytest_ragshortcut.core.plans import Array, Corruption, PlanRow, ProbePlan, RowReading
from pytest_ragshortcut.core.ports import Generated
from pytest_ragshortcut.core.prompts import TokenizedPrompt
from pytest_ragshortcut.core.screening import Screening


class Counter:
    """Counts what is new in each thing asked.

    Args:
        n_layers: of the model.
        known: token ids of runs that have been made already.
    """

    def __init__(self, n_layers: int, known: Sequence[tuple[int, ...]] = ()) -> None:
        self.n_layers, self.token_layers = n_layers, 0
        self._known = list(known)
        # Corruptions are kept, so that no other takes the place of one in memory.
        self._corrupted: dict[tuple[int, int], tuple[TokenizedPrompt, Corruption]] = {}
        self._prompts: dict[int, TokenizedPrompt] = {}

    def add_plan(self, plan: ProbePlan) -> None:
        """Count a plan's rows."""
        for row in plan.rows:
            self.token_layers += self._clean(row.prompt) + self._touched(row)

    def add_screening(self, screening: Screening) -> None:
        """Count a screening: the clean suffix and the corrupted ones, forward and backward."""
        prompt = screening.prompt
        first = min(min(corruption.positions) for corruption in screening.corruptions)
        n_rows, n_tokens = 1 + len(screening.corruptions), len(prompt.input_ids) - first
        self.token_layers += self._clean(prompt) + 2 * n_rows * n_tokens * self.n_layers

    def add_generated(self, prompt: TokenizedPrompt, token_ids: Sequence[int]) -> None:
        """Count a greedy continuation."""
        whole = (*prompt.input_ids[: prompt.n_prompt], *token_ids)
        self.token_layers += self._run(whole) * self.n_layers

    def _clean(self, prompt: TokenizedPrompt) -> int:
        if id(prompt) in self._prompts:
            return 0
        self._prompts[id(prompt)] = prompt
        return self._run(prompt.input_ids) * self.n_layers

    def _run(self, ids: tuple[int, ...]) -> int:
        """Return how many tokens follow the longest prefix that has been run."""
        longest = max((_shared(ids, known) for known in self._known), default=0)
        if longest < len(ids):
            self._known.append(ids)
        return len(ids) - longest

    def _touched(self, row: PlanRow) -> int:
        n_tokens, corruption = len(row.prompt.input_ids), row.corruption
        changed = 0
        if corruption is not None:
            key = (id(row.prompt), id(corruption))
            if key not in self._corrupted:
                self._corrupted[key] = (row.prompt, corruption)
                changed += (n_tokens - min(corruption.positions)) * self.n_layers
        starts = [(min(k.targets), min(k.layers)) for k in row.knockouts if not k.cuts_nothing]
        if corruption is not None:
            first = min(corruption.positions)
            reached = [(r.layers, [p for p in r.positions if p >= first]) for r in row.restorations]
            starts += [(min(at), min(layers) + 1) for layers, at in reached if at]
        if starts:
            position, layer = (min(column) for column in zip(*starts, strict=True))
            changed += (n_tokens - position) * (self.n_layers - layer)
        return changed


def _shared(left: Sequence[int], right: Sequence[int]) -> int:
    pairs = zip(left, right, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


class Recorder:
    """A probe model that notes what it is asked, to be counted when the clock has stopped."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.plans: list[ProbePlan | Screening | tuple[TokenizedPrompt, tuple[int, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def run(self, plan: ProbePlan) -> tuple[RowReading, ...]:
        """Run a plan."""
        self.plans.append(plan)
        readings: tuple[RowReading, ...] = self._model.run(plan)
        return readings

    def generate(self, prompts: Sequence[TokenizedPrompt]) -> tuple[Generated, ...]:
        """Continue prompts greedily."""
        said: tuple[Generated, ...] = self._model.generate(prompts)
        self.plans += [(prompt, one.token_ids) for prompt, one in zip(prompts, said, strict=True)]
        return said

    def run_all(self, plans: Sequence[ProbePlan]) -> tuple[tuple[RowReading, ...], ...]:
        """Run plans side by side."""
        self.plans += plans
        readings: tuple[tuple[RowReading, ...], ...] = self._model.run_all(plans)
        return readings

    def alternatives(
        self, prompts: Sequence[TokenizedPrompt], ranks: range
    ) -> tuple[tuple[Generated, ...], ...]:
        """Continue prompts from their likeliest first tokens."""
        said: tuple[tuple[Generated, ...], ...] = self._model.alternatives(prompts, ranks)
        for prompt, continued in zip(prompts, said, strict=True):
            self.plans += [(prompt, generated.token_ids) for generated in continued]
        return said

    def estimate_effects(self, screenings: Sequence[Screening]) -> tuple[Array, ...]:
        """Estimate effects by gradients."""
        self.plans += screenings
        estimates: tuple[Array, ...] = self._model.estimate_effects(screenings)
        return estimates

    def token_layers(self, known: Sequence[tuple[int, ...]] = ()) -> int:
        """Count everything asked so far, given what had been run before."""
        counter = Counter(self._model.n_layers, known)
        for asked in self.plans:
            if isinstance(asked, ProbePlan):
                counter.add_plan(asked)
            elif isinstance(asked, Screening):
                counter.add_screening(asked)
            else:
                counter.add_generated(*asked)
        return counter.token_layers
