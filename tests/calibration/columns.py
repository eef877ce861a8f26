"""The columns of the tables: which cases each rests on, and how scores are held against them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from calibration import metrics
from calibration.metrics import Floats
from calibration.planted import PlantedCase
from pytest_ragshortcut.core.reliance import Limits
from pytest_ragshortcut.models.embedded.policies import MIXTURES

THRESHOLD = Limits().min_context_follow
"""The claim that users are shown: context reliance above this."""
CONTEXTS = ("conflict", "agreement")
TOLD_APART, IN_DEGREE = "context or memory", "in degree"
# A path that is turned off has odds of one in e^18: next to nothing, but not nothing.
_NEARLY = 1e-3


@dataclass(frozen=True)
class Measured:
    """One case of one model, and what was read."""

    family: str
    """Hand-weighted (dials) or trained."""
    model: str
    """The model's name."""
    case: PlantedCase
    """The case and its truth."""
    values: dict[str, float] = field(default_factory=dict)
    """The readings of every probe."""
    said: str | None = None
    """The model's greedy open-book answer."""
    recalled: str | None = None
    """Its greedy closed-book answer."""
    verdict: str | None = None
    """The verdict of context_reliance."""
    unread: str | None = None
    """Why nothing was read."""

    @property
    def group(self) -> str:
        """What a table of verdicts calls the model: dials are one group."""
        return "dials" if self.family == "dials" else self.model

    @property
    def kind(self) -> str:
        """What it calls the case: dials go by their degree."""
        if self.family == "trained":
            return self.case.kind
        return f"follow {self.case.truth:.2f}" if self.has_truth else "neither path"

    @property
    def context(self) -> str:
        """Which of CONTEXTS the case has."""
        return CONTEXTS[self.case.agrees]

    @property
    def has_truth(self) -> bool:
        """Whether the answer comes from the context, from memory, or from both."""
        return not math.isnan(self.case.truth)

    @property
    def follows(self) -> bool:
        """Whether the case truly follows its context."""
        return self.case.truth > 1.0 - _NEARLY

    @property
    def remembers(self) -> bool:
        """Whether the case is truly answered from memory."""
        return self.case.truth < _NEARLY


@dataclass(frozen=True)
class Column:
    """One number a candidate, for conflicts and for agreements."""

    title: str
    table: str
    """Which table it stands in."""
    asks: Callable[[Measured], bool]
    """Which cases it rests on."""
    metric: Callable[[Floats, Floats], float]
    """From scores and truth to the number."""
    counts_undefined: bool = False
    """Whether undefined scores enter the number."""


def auroc(scores: Floats, truth: Floats) -> float:
    """Tell cases whose truth is 1 from those whose truth is 0."""
    return metrics.auroc(scores[truth == 1.0], scores[truth == 0.0])


def told_apart(name: str, models: tuple[str, ...] = (), *, held_out: bool = False) -> Column:
    """Make the column of some trained models' cases, or all of theirs, that are 1 or 0."""

    def asks(each: Measured) -> bool:
        # Of what is made up memory has nothing: there is no such case to tell it from.
        told = each.family == "trained" and each.case.kind != "made up"
        told = told and each.case.is_held_out == held_out
        return told and (not models or each.model in models) and (each.follows or each.remembers)

    return Column(f"AUROC {name}", TOLD_APART, asks, auroc)


def graded(each: Measured) -> str | None:
    """Say which models of a planted degree a case's is of: the dials, or the mixtures.

    Reader and memoriser are the mixtures of all and of nothing.
    """
    if each.family == "dials":
        return "dials" if each.has_truth else None
    is_mixture = each.model in (*MIXTURES, "reader", "memoriser") and each.case.kind != "made up"
    is_mixture = is_mixture and not each.case.is_held_out
    return "mixtures" if is_mixture else None


def _dials(each: Measured) -> bool:
    return graded(each) == "dials"


def _mixtures(each: Measured) -> bool:
    return graded(each) == "mixtures"


def _spearman_by_degree(scores: Floats, truth: Floats) -> float:
    return metrics.spearman(*metrics.by_degree(scores, truth))


def _error_by_degree(scores: Floats, truth: Floats) -> float:
    return metrics.calibration_error(*metrics.by_degree(scores, truth))


def _taught_to_follow(each: Measured) -> bool:
    return each.follows and not each.case.is_held_out


def _taught_to_remember(each: Measured) -> bool:
    return each.remembers and not each.case.is_held_out


def _failing(scores: Floats, _: Floats) -> float:
    return metrics.failing(scores, threshold=THRESHOLD)


def _passing(scores: Floats, _: Floats) -> float:
    return metrics.passing(scores, threshold=THRESHOLD)


def _undefined(scores: Floats, _: Floats) -> float:
    return metrics.undefined(scores)


COLUMNS = (
    told_apart("reader/memoriser", ("reader", "memoriser")),
    told_apart("switch", ("switch",)),
    told_apart("beginner", ("beginner",)),
    told_apart("victim/memoriser", ("victim", "memoriser")),
    told_apart("copier/memoriser", ("copier", "memoriser")),
    told_apart("all trained"),
    told_apart("held-out forms", held_out=True),
    Column("false alarms, context", TOLD_APART, _taught_to_follow, _failing, True),
    Column("false alarms, memory", TOLD_APART, _taught_to_remember, _passing, True),
    Column("undefined", TOLD_APART, lambda each: each.has_truth, _undefined, True),
    Column("dials: Spearman", IN_DEGREE, _dials, metrics.spearman),
    Column("dials: error", IN_DEGREE, _dials, metrics.calibration_error),
    Column("mixtures: Spearman by degree", IN_DEGREE, _mixtures, _spearman_by_degree),
    Column("mixtures: error by degree", IN_DEGREE, _mixtures, _error_by_degree),
    Column("mixtures: Spearman", IN_DEGREE, _mixtures, metrics.spearman),
    Column("mixtures: error", IN_DEGREE, _mixtures, metrics.calibration_error),
)
