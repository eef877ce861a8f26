"""What a result shows of itself, maps and curves, as HTML for notebooks or with matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from pytest_ragshortcut.core.plans import Array
from pytest_ragshortcut.errors import MissingExtraError

_CELL, _LABEL = 14, 110
_PLOT_WIDTH, _PLOT_HEIGHT = 320, 140
_COLOURS = ("#2166ac", "#b2182b", "#1b7837", "#762a83")


@dataclass(frozen=True, eq=False)
class Panel:
    """One heat map."""

    title: str
    values: Array
    """(n_rows, n_columns); NaN is drawn empty."""
    rows: tuple[str, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Curves(Panel):
    """One curve a row instead of a heat map; NaN is a gap."""

    dashed: tuple[bool, ...]
    """(n_rows,) which of them are dashed."""


def panels_html(title: str, panels: Sequence[Panel]) -> str:
    """Draw maps and curves as one self-contained HTML fragment, everything escaped."""
    body = "".join(
        _curves_svg(panel) if isinstance(panel, Curves) else _panel_svg(panel) for panel in panels
    )
    return f"<div><p><b>{escape(title)}</b></p>{body}</div>"


def plot_panels(title: str, panels: Sequence[Panel]) -> Any:
    """Draw maps and curves with matplotlib, one below the other, and return the figure.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(feature=".plot()", package="matplotlib", extra="plots") from error
    width = max(4.0, 1.5 + 0.22 * max(panel.values.shape[1] for panel in panels))
    height = sum(_height(panel) for panel in panels)
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axis, panel in zip(axes, panels, strict=True):
        if isinstance(panel, Curves):
            plot_curves(axis, panel)
        else:
            _plot_map(figure, axis, panel)
    return figure


def plot_curves(axis: Any, panel: Curves) -> None:
    """Draw curves on an axis of matplotlib."""
    for values, label, dashed in zip(panel.values, panel.rows, panel.dashed, strict=True):
        axis.plot(values, "o--" if dashed else "o-", markersize=3, label=label)
    axis.axhline(0.0, color="grey", linewidth=0.5)
    axis.set_title(panel.title, fontsize=9)
    axis.set_xticks(range(len(panel.columns)), panel.columns, fontsize=7)
    axis.legend(fontsize=7)


def _plot_map(figure: Any, axis: Any, panel: Panel) -> None:
    limit = _limit(panel)
    drawn = axis.imshow(panel.values, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    axis.set_title(panel.title, fontsize=9)
    axis.set_yticks(range(len(panel.rows)), panel.rows, fontsize=7)
    axis.set_xticks(range(len(panel.columns)), panel.columns, fontsize=7, rotation=90)
    figure.colorbar(drawn, ax=axis)


def _height(panel: Panel) -> float:
    return 2.6 if isinstance(panel, Curves) else 1.6 + 0.22 * panel.values.shape[0]


def _limit(panel: Panel) -> float:
    finite = np.abs(panel.values[np.isfinite(panel.values)])
    return float(finite.max()) if finite.size and finite.max() > 0 else 1.0


def _panel_svg(panel: Panel) -> str:
    limit, (n_rows, n_columns) = _limit(panel), panel.values.shape
    width, height = _LABEL + _CELL * n_columns, _CELL * n_rows + _LABEL
    cells = "".join(
        _cell_svg(panel, row, column, limit)
        for row in range(n_rows)
        for column in range(n_columns)
        if math.isfinite(panel.values[row, column])
    )
    rows = "".join(
        f'<text x="{_LABEL - 4}" y="{_CELL * i + 11}" text-anchor="end">{escape(label)}</text>'
        for i, label in enumerate(panel.rows)
    )
    columns = "".join(
        f'<text transform="translate({_LABEL + _CELL * i + 10},{_CELL * n_rows + 4}) '
        f'rotate(90)">{escape(label)}</text>'
        for i, label in enumerate(panel.columns)
    )
    return (
        f"<figure><figcaption>{escape(panel.title)} (largest {limit:.3g})</figcaption>"
        f'<svg role="img" width="{width}" height="{height}" font-size="10" '
        f'font-family="monospace" fill="currentColor">{cells}{rows}{columns}</svg></figure>'
    )


def _cell_svg(panel: Panel, row: int, column: int, limit: float) -> str:
    value = float(panel.values[row, column])
    colour = "#2166ac" if value >= 0 else "#b2182b"
    hover = f"{panel.rows[row]}, {panel.columns[column]}: {value:.3g}"
    return (
        f'<rect x="{_LABEL + _CELL * column}" y="{_CELL * row}" width="{_CELL - 1}" '
        f'height="{_CELL - 1}" fill="{colour}" fill-opacity="{abs(value) / limit:.3f}">'
        f"<title>{escape(hover)}</title></rect>"
    )


def _curves_svg(panel: Curves) -> str:
    finite = panel.values[np.isfinite(panel.values)]
    low, high = float(finite.min(initial=0.0)), float(finite.max(initial=0.0))
    top = high if low < high else low + 1.0
    lines = "".join(_curve_svg(panel, index, low, top) for index in range(len(panel.rows)))
    keys = "".join(
        f'<text x="{_PLOT_WIDTH + 12}" y="{14 * index + 12}" fill="{_colour(index)}">'
        f"{escape(label)}</text>"
        for index, label in enumerate(panel.rows)
    )
    span = f"{escape(panel.columns[0])} to {escape(panel.columns[-1])}" if panel.columns else ""
    return (
        f"<figure><figcaption>{escape(panel.title)} ({low:.3g} to {high:.3g}; {span})"
        f'</figcaption><svg role="img" width="{_PLOT_WIDTH + 200}" height="{_PLOT_HEIGHT}" '
        f'font-size="10" font-family="monospace">{lines}{keys}</svg></figure>'
    )


def _curve_svg(panel: Curves, index: int, low: float, high: float) -> str:
    """Draw a curve as dots with their values, joined by lines where neighbours are finite."""
    step = _PLOT_WIDTH / max(1, len(panel.columns))
    colour, values = _colour(index), panel.values[index]
    height = _PLOT_HEIGHT - 16
    at = [(step * (i + 0.5), 8 + height * (high - v) / (high - low)) for i, v in enumerate(values)]
    dashes = ' stroke-dasharray="4 3"' if panel.dashed[index] else ""
    drawn = []
    for i, (x, y) in enumerate(at):
        if not math.isfinite(values[i]):
            continue
        hover = f"{panel.rows[index]}, {panel.columns[i]}: {values[i]:.3g}"
        drawn.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}">'
            f"<title>{escape(hover)}</title></circle>"
        )
        if i and math.isfinite(values[i - 1]):
            before = at[i - 1]
            drawn.append(
                f'<line x1="{before[0]:.1f}" y1="{before[1]:.1f}" x2="{x:.1f}" y2="{y:.1f}" '
                f'stroke="{colour}"{dashes}></line>'
            )
    return "".join(drawn)


def _colour(index: int) -> str:
    return _COLOURS[index % len(_COLOURS)]
