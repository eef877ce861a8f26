"""Stored results as pictures, drawn with matplotlib. Pure functions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from calibration.columns import CONTEXTS
from calibration.paper import BY_LAYER
from pytest_ragshortcut.core.arms import Arm, ArmsResult, Protocol
from pytest_ragshortcut.core.figures import plot_curves

Stored = dict[str, Any]
DRAWN = {"copier": "reads its context alone", "memoriser": "ignores its context"}
"""The models whose arms are drawn, and what was planted."""


def pictures(stored: Stored) -> Mapping[str, Figure]:
    """Draw everything; file name -> picture."""
    return {"degrees.svg": degrees(stored), "paper.svg": paper(stored)}


def write(stored: Stored, folder: Path) -> None:
    """Write the pictures, each with the digest of the results that it shows."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "calibration"}):
        for name, figure in pictures(stored).items():
            figure.savefig(folder / name, metadata={"Date": None, "Description": digest(stored)})


def digest(stored: Stored) -> str:
    """Return what tells the results of one run from those of another."""
    return hashlib.sha256(json.dumps(stored, sort_keys=True).encode()).hexdigest()[:16]


def degrees(stored: Stored) -> Figure:
    """Draw the default score against the planted degree: every case, and each degree's mean."""
    families = list(dict.fromkeys(row["family"] for row in stored["degrees"]))
    figure = Figure(figsize=(3.6 * len(families) + 0.6, 3.8), layout="constrained")
    figure.suptitle("context reliance against the planted degree")
    axes = figure.subplots(1, len(families), sharey=True, squeeze=False)[0]
    for axis, family in zip(axes, families, strict=True):
        axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
        for context, colour, aside in zip(CONTEXTS, ("#2166ac", "#b2182b"), (-1, 1), strict=True):
            rows = [
                row
                for row in stored["degrees"]
                if (row["family"], row["context"]) == (family, context)
            ]
            _degrees(axis, rows, context, colour, 0.012 * aside)
        axis.set_title(family, fontsize=10)
        axis.set_xlabel("planted degree of following the context", fontsize=8)
        axis.legend(fontsize=7, loc="upper left")
    axes[0].set_ylabel("score", fontsize=8)
    return figure


def _degrees(axis: Any, rows: list[Stored], label: str, colour: str, aside: float) -> None:
    for row in rows:
        scores = np.array(row["scores"], dtype=float)
        # Side by side, so that equal scores do not hide each other.
        spread = np.linspace(-0.01, 0.01, len(scores)) if len(scores) > 1 else np.zeros(1)
        at = row["planted"] + aside + spread
        axis.plot(at, scores, ".", color=colour, markersize=3, alpha=0.5)
    planted = [row["planted"] + aside for row in rows]
    means = [np.nanmean(np.array(row["scores"], dtype=float)) for row in rows]
    axis.plot(planted, means, "D", color=colour, markersize=5, label=f"mean, {label}")


def paper(stored: Stored) -> Figure:
    """Draw the paper's three readings by layer, both arms, of a model of each kind."""
    rows = {
        row["model"]: row
        for row in stored["paper"]
        if row["protocol"] == BY_LAYER and row["model"] in DRAWN and "open" in row
    }
    figure = Figure(figsize=(10.5, 2.9 * max(1, len(rows)) + 0.4), layout="constrained")
    figure.suptitle("closed-book beside open-book, one layer at a time")
    axes = figure.subplots(max(1, len(rows)), 3, squeeze=False, sharey="col")
    for line, (model, row) in zip(axes, rows.items(), strict=False):
        panels = _arms(row).panels()
        for axis, panel in zip(line, panels, strict=True):
            plot_curves(axis, panel)
        line[0].set_ylabel(f"{model}: {DRAWN[model]}", fontsize=9)
    return figure


def _arms(row: Stored) -> ArmsResult:
    def arm(kept: Stored) -> Arm:
        values = {name: _numbers(kept[name]) for name in Arm.__dataclass_fields__}
        return Arm(**values)

    return ArmsResult(
        protocol=Protocol(name=row["protocol"]),
        open_book=arm(row["open"]),
        closed_book=arm(row["closed"]),
        n_kept=row["n_kept"],
        n_cases=row["n_cases"],
    )


def _numbers(kept: float | list[float | None] | None) -> Any:
    """Read what was stored: None is NaN again."""
    read = np.array(kept, dtype=np.float64)
    return read if read.ndim else float(read)
