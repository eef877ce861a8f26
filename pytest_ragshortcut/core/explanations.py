"""An explanation: what every probe shows of one answer, side by side, by token and by layer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from pytest_ragshortcut.core.attribution import AttributionResult
from pytest_ragshortcut.core.figures import Curves, Panel
from pytest_ragshortcut.core.plans import Array
from pytest_ragshortcut.core.prompts import Book, TokenizedPrompt
from pytest_ragshortcut.core.reliance import Reliance
from pytest_ragshortcut.core.results import ContributionsResult, KnockoutResult, Shown, TraceResult

_DEEP_LAYERS, _DEEP_WINDOW = 18, 9


@dataclass(frozen=True, eq=False)
class LayerCurve:
    """One curve by layer."""

    role: str
    """The span it is about."""
    book: Book
    values: Array
    """(n_layers,) in the unit of its group; NaN where undefined."""


@dataclass(frozen=True, eq=False)
class LayerCurves:
    """Curves by layer that share a unit."""

    title: str
    unit: str
    curves: tuple[LayerCurve, ...]
    """At least one."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers' names, the lowest first."""
        return tuple(f"layer {index}" for index in range(len(self.curves[0].values)))

    def panel(self) -> Curves:
        """Return them as a drawing; closed-book curves are dashed."""
        return Curves(
            f"{self.title}: {self.unit}",
            np.stack([curve.values for curve in self.curves]),
            tuple(f"{curve.role}, {curve.book}-book" for curve in self.curves),
            self.layers,
            tuple(curve.book == "closed" for curve in self.curves),
        )


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(Shown):
    """Where an answer came from, in as much detail as there is."""

    reliance: Reliance
    """The reading that is explained; all open-book probes read its prompt."""
    trace: TraceResult | None
    """The context answer masked, one state restored at a time."""
    knockout_open: KnockoutResult | None
    """Subject and attribute cut from the readers of the answer, window by window."""
    knockout_closed: KnockoutResult | None
    """The subject cut from the readers of the memory answer, closed-book."""
    contributions: ContributionsResult | None
    """What attention carries from every token to the readers."""
    attribution: AttributionResult | None
    """What the answer loses without each piece of the context."""
    missing: Mapping[str, str]
    """probe -> why there is nothing of it."""

    @property
    def prompt(self) -> TokenizedPrompt:
        """The open-book prompt, set to read the answer."""
        return self.reliance.prompt

    @property
    def title(self) -> str:
        """Score, interval and verdict."""
        return self.reliance.title

    @property
    def shades(self) -> dict[str, Array]:
        """By probe, (n_tokens,) its reading of every token; NaN where it was not computed.

        Contributions are summed over the layers; of indirect effects the largest is taken.
        """
        shades = {}
        if self.contributions is not None:
            shades["attention contribution"] = self.contributions.summed.sum(axis=0)
        if self.trace is not None:
            shades["causal trace"] = np.fmax.reduce(self.trace.indirect_effect, axis=0)
        return shades

    @property
    def curves(self) -> tuple[LayerCurves, ...]:
        """Cuts and contributions by layer."""
        return (*self._cuts(), *self._carried())

    def panels(self) -> tuple[Panel, ...]:
        """Return everything that there is to draw, the swap first."""
        traced = () if self.trace is None else self.trace.panels()
        left_out = () if self.attribution is None else self.attribution.panels()
        by_layer = (curves.panel() for curves in self.curves)
        return (*self.reliance.panels(), *traced, *by_layer, *left_out)

    def _cuts(self) -> tuple[LayerCurves, ...]:
        books: dict[Book, KnockoutResult | None] = {
            "open": self.knockout_open,
            "closed": self.knockout_closed,
        }
        cuts = {book: result for book, result in books.items() if result is not None}
        windows = {_window_words(result.window) for result in cuts.values()}
        curves = tuple(
            LayerCurve(source, book, result.change(source))
            for book, result in cuts.items()
            for source in result.sources
        )
        title = f"attention knockout, {' and '.join(sorted(windows))}"
        return (LayerCurves(title, "relative change of p(answer)", curves),) if curves else ()

    def _carried(self) -> tuple[LayerCurves, ...]:
        if self.contributions is None:
            return ()
        read = self.contributions.of
        curves = tuple(LayerCurve(role, "open", read(role)) for role in ("subject", "attribute"))
        title = "attention contribution to the readers"
        return (LayerCurves(title, "norm of what attention carries", curves),)


def knockout_window(n_layers: int) -> int:
    """Say how many layers a cut spans: 9, or about a third of a shallow model.

    Source: Geva et al. 2023, section 5, there 9 of 32 and more layers.

    Example:
        >>> [knockout_window(n_layers) for n_layers in (1, 2, 4, 12, 32)]
        [1, 1, 1, 4, 9]
    """
    return _DEEP_WINDOW if n_layers >= _DEEP_LAYERS else max(1, round(n_layers / 3))


def trace_forwards(positions: Collection[int], *, n_tokens: int, n_layers: int) -> float:
    """Count what it takes to restore the residual stream at these positions, after every layer.

    A state restored after a layer is felt in the layers above it, from its position on; so a
    position costs n_tokens - position tokens in n_layers (n_layers - 1) / 2 layers.

    Returns:
        Token-layers in plain forwards of n_tokens, for one corrupted run.

    Example:
        >>> trace_forwards(range(10), n_tokens=10, n_layers=5)
        11.0
    """
    suffixes = sum(n_tokens - position for position in positions)
    return suffixes * (n_layers - 1) / (2 * n_tokens)


def _window_words(window: int | None) -> str:
    if window is None:
        return "all layers"
    return "one layer at a time" if window == 1 else f"windows of {window} layers"
