"""What each probe returns: frozen values that know their prompt and can show themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np

from pytest_ragshortcut.core.effects import restored_fraction
from pytest_ragshortcut.core.figures import Panel, panels_html, plot_panels
from pytest_ragshortcut.core.plans import Array, Component
from pytest_ragshortcut.core.prompts import TokenizedPrompt, token_texts


class Shown:
    """What all results can do: become builtins, and show themselves. They are dataclasses."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.title}>"

    def to_dict(self) -> dict[str, Any]:
        """Return the result as builtins that json.dumps takes; NaN becomes None."""
        return {"probe": type(self).__name__} | {
            f.name: plain(getattr(self, f.name))
            for f in fields(self)  # type: ignore[arg-type]
        }

    def panels(self) -> tuple[Panel, ...]:
        """Return what there is to draw."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """One line over the drawing."""
        return type(self).__name__

    def plot(self) -> Any:
        """Draw the result with matplotlib (extra [plots]) and return the figure.

        Raises:
            MissingExtraError: if matplotlib is not installed.
        """
        return plot_panels(self.title, self.panels())

    def _repr_html_(self) -> str:
        return panels_html(self.title, self.panels())


@dataclass(frozen=True, eq=False, repr=False)
class Result(Shown):
    """What all results of one prompt share."""

    prompt: TokenizedPrompt
    """The prompt that was read, with input_ids, tokens and spans."""


@dataclass(frozen=True, eq=False, repr=False)
class TraceResult(Result):
    """Causal mediation: clean, corrupted and restored runs. Probabilities of the whole answer."""

    clean: float
    """Probability of the answer in the clean run."""
    corrupted: float
    """Its mean over the corrupted runs."""
    total_effect: float
    """clean - corrupted, in [-1, 1]."""
    restored: Array
    """(n_layers, n_tokens) mean probability of the runs restored there; NaN where not run."""
    indirect_effect: Array
    """(n_layers, n_tokens) restored - corrupted; NaN where not run."""
    component: Component
    """What was restored."""
    window: int
    """How many layers were restored together."""
    corrupt: str
    """Which span was corrupted."""
    corruption: str
    """How."""
    n_samples: int
    """How many corrupted runs."""
    estimate: Array | None = None
    """(n_layers, n_tokens) first-order estimate of the indirect effect, by which the cells that
    were run were picked: no effect itself. NaN where not asked for; None where all were run."""

    def restored_fraction(self, *, min_total_effect: float = 0.01) -> Array:
        """Return (n_layers, n_tokens) indirect over total effect.

        Raises:
            UndefinedEffectError: if the total effect is below min_total_effect.
        """
        return restored_fraction(
            self.indirect_effect,
            clean=self.clean,
            corrupted=self.corrupted,
            min_total_effect=min_total_effect,
        )

    @property
    def title(self) -> str:
        """What was corrupted and restored, and the total effect."""
        return (
            f"indirect effect of the {self.component}, {self.corrupt} corrupted "
            f"({self.corruption}): p {self.clean:.3f} -> {self.corrupted:.3f}"
        )

    def panels(self) -> tuple[Panel, ...]:
        """Return the map of indirect effects, and that of their estimates, if there are any."""
        exact = _layer_panel("indirect effect", self.indirect_effect, self.prompt)
        if self.estimate is None:
            return (exact,)
        return exact, _layer_panel("gradient estimate of it", self.estimate, self.prompt)


@dataclass(frozen=True, eq=False, repr=False)
class KnockoutResult(Result):
    """Attention knockouts: what the answer loses when readers cannot see a source span."""

    clean: float
    """Probability of the answer with nothing cut."""
    sources: tuple[str, ...]
    """(n_sources,) the roles cut from the readers."""
    probability: Array
    """(n_sources, n_layers) with edges cut in the window at each centre; one column if all."""
    relative_change: Array
    """(n_sources, n_layers) (probability - clean) / clean, at least -1."""
    window: int | None
    """How many layers a cut spans; None is all of them."""
    route: str = "direct"
    """direct: edges source -> readers alone; through question: the two-hop route is cut too."""

    def change(self, source: str) -> Array:
        """Return (n_layers,) relative change of one source."""
        return np.asarray(self.relative_change[self.sources.index(source)])

    @property
    def title(self) -> str:
        """Which edges were cut."""
        span = "all layers" if self.window is None else f"windows of {self.window} layers"
        return f"knockout of source -> readers ({self.route}), {span}: clean p {self.clean:.3f}"

    def panels(self) -> tuple[Panel, ...]:
        """Return the knockout curves as a map."""
        n_columns = self.relative_change.shape[1]
        columns = ("all",) if self.window is None else tuple(map(str, range(n_columns)))
        return (Panel("relative change", self.relative_change, self.sources, columns),)


@dataclass(frozen=True, eq=False, repr=False)
class ContributionsResult(Result):
    """Attention contributions of each source token to the readers; mean over the readers."""

    per_head: Array
    """(n_layers, n_heads, n_tokens) 2-norms, at least 0."""
    summed: Array
    """(n_layers, n_tokens) 2-norm of the sum over heads, at least 0."""

    def of(self, role: str) -> Array:
        """Return (n_layers,) largest head-summed norm over a role's tokens.

        Source: Yuksekgonul et al. 2024, eq. 4: the maximum over the constraint tokens.
        """
        return np.asarray(self.summed[:, list(self.prompt.positions(role))].max(axis=1))

    def panels(self) -> tuple[Panel, ...]:
        """Return the head-summed map."""
        return (_layer_panel("contribution to the readers", self.summed, self.prompt),)


@dataclass(frozen=True, eq=False, repr=False)
class SwapResult(Result):
    """Counterfactual swap: would the answer have followed the context, had it said otherwise?"""

    context_answer: str
    """What the context said before the swap."""
    memory_answer: str
    """What parametric memory says."""
    clean_probability: float
    """p(a), the answer in question, before the swap."""
    substitutes: tuple[str, ...]
    """(n,) what the context said instead."""
    answer_probability: Array
    """(n,) p(a) in the prompts swapped to them."""
    substitute_probability: Array
    """(n,) p(o'), each in the prompt swapped to it."""
    memory_probability: Array
    """(n,) p(m) in the same prompts."""
    follow_each: Array
    """(n,) p(o') / (p(o') + p(m))."""
    n_substitute: int
    """In how many swapped prompts a greedy reader says the substitute."""
    n_original: int
    """In how many it says the memory answer."""

    @property
    def follow(self) -> float:
        """Mean of follow_each, in [0, 1]."""
        return float(self.follow_each.mean())

    @property
    def mass(self) -> float:
        """Mean of p(o') + p(m): how much of what the model may say the two account for."""
        return float((self.substitute_probability + self.memory_probability).mean())

    @property
    def kept(self) -> float:
        """Mean p(a) after the swap, relative to p(a) before it; NaN where that was 0."""
        after = float(self.answer_probability.mean())
        return after / self.clean_probability if self.clean_probability > 0.0 else math.nan

    @property
    def memorization_ratio(self) -> float:
        """n_original / (n_original + n_substitute); NaN where neither is ever said.

        Source: Longpre et al. 2021, section 4.
        """
        said = self.n_original + self.n_substitute
        return self.n_original / said if said else math.nan

    def panels(self) -> tuple[Panel, ...]:
        """Return both probabilities by substitute."""
        values = np.stack([self.substitute_probability, self.memory_probability])
        rows = ("substitute", f"memory: {self.memory_answer}")
        return (Panel("probability after the swap", values, rows, self.substitutes),)


def plain(value: Any) -> Any:
    """Turn arrays, enums and dataclasses into builtins; NaN and infinity into None.

    Example:
        >>> plain({"effect": np.array([0.5, np.nan])})
        {'effect': [0.5, None]}
    """
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _layer_panel(title: str, values: Array, prompt: TokenizedPrompt) -> Panel:
    layers = tuple(f"layer {index}" for index in range(values.shape[0]))
    tokens = tuple(text.replace("\n", "⏎") for text in token_texts(prompt))
    return Panel(title, values, layers, tokens)
