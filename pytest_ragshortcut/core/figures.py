"""Panels: what a result shows of itself, drawn as HTML for notebooks or with matplotlib."""

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


@dataclass(frozen=True, eq=False)
class Panel:
    """One heat map."""

    title: str
    values: Array
    """(n_rows, n_columns); NaN is drawn empty."""
    rows: tuple[str, ...]
    columns: tuple[str, ...]


def panels_html(title: str, panels: Sequence[Panel]) -> str:
    """Draw panels as one self-contained HTML fragment, everything escaped."""
    body = "".join(_panel_svg(panel) for panel in panels)
    return f"<div><p><b>{escape(title)}</b></p>{body}</div>"


def plot_panels(title: str, panels: Sequence[Panel]) -> Any:
    """Draw panels with matplotlib and return the figure.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(feature=".plot()", package="matplotlib", extra="plots") from error
    width = max(4.0, 1.5 + 0.22 * max(panel.values.shape[1] for panel in panels))
    height = sum(1.6 + 0.22 * panel.values.shape[0] for panel in panels)
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axis, panel in zip(axes, panels, strict=True):
        limit = _limit(panel)
        drawn = axis.imshow(panel.values, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
        axis.set_title(panel.title, fontsize=9)
        axis.set_yticks(range(len(panel.rows)), panel.rows, fontsize=7)
        axis.set_xticks(range(len(panel.columns)), panel.columns, fontsize=7, rotation=90)
        figure.colorbar(drawn, ax=axis)
    return figure


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
