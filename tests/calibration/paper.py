"""What the paper's own comparison says of models whose reliance is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from calibration.columns import Measured
from calibration.planted import Planted
from pytest_ragshortcut.core.arms import LIKE_FOR_LIKE, WADHWA_2024, Arm, Protocol
from pytest_ragshortcut.core.results import plain
from pytest_ragshortcut.errors import RagShortcutError
from pytest_ragshortcut.models.rag_model import RagModel
from pytest_ragshortcut.probes.arms import compare_arms

_DIALS = ("context 0, memory 1", "context 1, memory 0", "context 1, memory 1")
"""Of the hand-weighted models these settings are asked: the paths alone, and both."""
BY_LAYER = "the same, layer by layer"
_COMPARED = (
    LIKE_FOR_LIKE,
    WADHWA_2024,
    # The paper's prompt is one that a trained model has never seen.
    replace(WADHWA_2024, name=f"{WADHWA_2024.name}, own prompt", template=None),
    # Its windows span all layers of models as small as these: no curve could be seen.
    replace(WADHWA_2024, name=BY_LAYER, template=None, mediation_window=1, knockout_window=1),
)


def paper_rows(
    model: RagModel, planted: Planted, measured: Sequence[Measured], n_cases: int
) -> list[dict[str, Any]]:
    """Run the protocols on agreeing cases of each truth, as the paper does on known facts.

    Args:
        model: the model.
        planted: what it is.
        measured: its cases, of which those that could be read are taken.
        n_cases: how many of each truth.
    """
    kind = planted.cases[0].kind
    if planted.family == "dials" and (planted.name != "dials, llama" or kind not in _DIALS):
        return []
    name = f"{planted.name}, {kind}" if planted.family == "dials" else planted.name
    groups: dict[float, list[Measured]] = {}
    for each in measured:
        if each.case.agrees and each.has_truth and not (each.unread or each.case.is_held_out):
            groups.setdefault(each.case.truth, []).append(each)
    return [
        {"model": name, "planted": truth, "protocol": protocol.name}
        | _compared(model, group[:n_cases], protocol)
        for truth, group in sorted(groups.items())
        for protocol in _COMPARED
    ]


def _compared(model: RagModel, group: Sequence[Measured], protocol: Protocol) -> dict[str, Any]:
    try:
        arms = compare_arms(model, [each.case.case for each in group], protocol=protocol)
    except RagShortcutError as error:
        return {"failed": type(error).__name__, "n_cases": len(group)}
    return {
        "n_kept": arms.n_kept,
        "n_cases": arms.n_cases,
        "open": _arm(arms.open_book),
        "closed": _arm(arms.closed_book),
    }


def _arm(arm: Arm) -> dict[str, Any]:
    headlines = ("subject_aie", "subject_knockout", "attribute_knockout")
    return plain(arm) | {name: getattr(arm, name) for name in headlines}
