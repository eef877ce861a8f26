"""The candidate scores: how far an answer relies on its context, from the readings of one case.

Each is a pure function into [0, 1], NaN where it is undefined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from pytest_ragshortcut.core.effects import share

Values = Mapping[str, float]

FLOOR = 0.01
"""Effects that add up to less than this are noise, and their ratio says nothing."""


@dataclass(frozen=True)
class Candidate:
    """A score that could be the default."""

    name: str
    """What the tables call it."""
    probes: tuple[str, ...]
    """What must have been read; it is what the score costs."""
    score: Callable[[Values], float]
    """From the readings to [0, 1]."""


def ratio(part: float, other: float) -> float:
    """Divide a magnitude by the sum of two; NaN where that is below FLOOR.

    Example:
        >>> ratio(0.75, 0.25), ratio(0.001, 0.002)
        (0.75, nan)
    """
    return share(part, other) if part + other >= FLOOR else float("nan")


def positive(effect: float) -> float:
    """Take an effect that has the wrong sign as none; NaN stays."""
    return float(np.maximum(effect, 0.0))


def fraction(part: float, whole: float) -> float:
    """Divide an effect by what it is at most, into [0, 1]; NaN where that is below FLOOR.

    Example:
        >>> fraction(0.3, 0.6), fraction(-0.1, 0.6), fraction(0.7, 0.6)
        (0.5, 0.0, 1.0)
    """
    return float(np.clip(part / whole, 0.0, 1.0)) if whole >= FLOOR else float("nan")


def swap_follow(values: Values) -> float:
    """Return today's score: mean p(o') / (p(o') + p(m)) in the swapped contexts."""
    return values["follow"]


def as_it_stands(values: Values) -> float:
    """Return the same without a swap: p(context answer) over both; NaN where they are the same."""
    return ratio(values["context answer"], values["memory answer"])


def context_gain(values: Values) -> float:
    """Return how much likelier the context makes the answer: what an accuracy test sees."""
    return positive(values["answer"] - values["answer, closed book"])


def knockout_ratio(suffix: str = "") -> Callable[[Values], float]:
    """Make |change| by a cut source, over that and the subject's."""

    def score(values: Values) -> float:
        return ratio(abs(values[f"cut source{suffix}"]), abs(values[f"cut subject{suffix}"]))

    return score


def knockout_loss_ratio(values: Values) -> float:
    """Return the same of losses alone: a cut that makes the answer likelier counts as none."""
    return ratio(positive(-values["cut source"]), positive(-values["cut subject"]))


def knockout_loss(values: Values) -> float:
    """Return the share of p(answer) lost when its readers cannot see the attribute."""
    return positive(-values["cut source"])


def total_effect_ratio(values: Values) -> float:
    """Return what masking the attribute takes away, over that and the subject's."""
    return ratio(positive(values["total attribute"]), positive(values["total subject"]))


def subject_mediation(key: str) -> Callable[[Values], float]:
    """Make the complement of the share of the lost answer that the subject's states give back.

    The paper's reading: where the subject's states carry the answer, memory does.
    """

    def score(values: Values) -> float:
        return 1.0 - fraction(values[f"subject back, {key}"], values["subject lost"])

    return score


def answer_lost(how: str) -> Callable[[Values], float]:
    """Make the share of p(answer) that is lost where the attribute is something else."""

    def score(values: Values) -> float:
        return fraction(values[f"lost, {how}"], values[f"clean, {how}"])

    return score


def attribute_mediation(how: str) -> Callable[[Values], float]:
    """Make the share of p(answer) that comes back with the attribute's states."""

    def score(values: Values) -> float:
        return fraction(values[f"back, {how}"], values[f"clean, {how}"])

    return score


def contribution_share(values: Values) -> float:
    """Return the attribute's contributions to the readers, over those and the subject's."""
    return ratio(values["contribution attribute"], values["contribution subject"])


def path_ratio(component: str) -> Callable[[Values], float]:
    """Make what a sub-layer gives back at the readers: the attribute's, over both."""

    def score(values: Values) -> float:
        attribute, subject = (
            positive(values[f"{component} path, {span}"]) for span in ("attribute", "subject")
        )
        return ratio(attribute, subject)

    return score


def mean_with_knockout(values: Values) -> float:
    """Return the mean of swap and knockout ratio."""
    return (swap_follow(values) + knockout_ratio()(values)) / 2


def times_knockout(values: Values) -> float:
    """Return the product of swap and knockout ratio."""
    return swap_follow(values) * knockout_ratio()(values)


def mean_with_substitution(values: Values) -> float:
    """Return the mean of swap and the attribute's mediation against a substitute."""
    return (swap_follow(values) + attribute_mediation("substituted")(values)) / 2


def times_known(values: Values) -> float:
    """Return swap times closed-book knowledge: reliance despite memory, the shortcut itself."""
    return swap_follow(values) * values["known"]


CANDIDATES = (
    Candidate("swap follow (today's score)", ("swap",), swap_follow),
    Candidate("answer lost, swap", ("swapped answer",), answer_lost("swapped")),
    Candidate("follow as it stands, no swap", ("behaviour",), as_it_stands),
    Candidate("gain over closed book", ("behaviour",), context_gain),
    Candidate("knockout ratio, all layers", ("knockout",), knockout_ratio()),
    Candidate("knockout ratio, half windows", ("knockout, half",), knockout_ratio(", half")),
    Candidate("knockout ratio, single layers", ("knockout, one",), knockout_ratio(", one")),
    Candidate("knockout ratio, two hops", ("knockout, two hops",), knockout_ratio(", two hops")),
    Candidate("knockout ratio, whole context", ("knockout, context",), knockout_ratio(", context")),
    Candidate("knockout ratio, losses alone", ("knockout",), knockout_loss_ratio),
    Candidate("knockout loss, attribute alone", ("knockout",), knockout_loss),
    Candidate("total-effect ratio, mask", ("mask",), total_effect_ratio),
    Candidate("1 - subject restored, MLP", ("subject states",), subject_mediation("mlp")),
    Candidate("1 - subject restored, midway", ("subject states",), subject_mediation("midway")),
    Candidate("answer lost, mask", ("attribute states",), answer_lost("masked")),
    Candidate("attribute restored, mask", ("attribute states",), attribute_mediation("masked")),
    Candidate(
        "answer lost, substitute in place",
        ("substitute states",),
        answer_lost("substituted"),
    ),
    Candidate(
        "attribute restored, substitute",
        ("substitute states",),
        attribute_mediation("substituted"),
    ),
    Candidate("contribution share", ("contributions",), contribution_share),
    Candidate("path ratio, attention at readers", ("paths",), path_ratio("attention")),
    Candidate("path ratio, MLP at readers", ("paths",), path_ratio("mlp")),
    Candidate("mean(swap, knockout ratio)", ("swap", "knockout"), mean_with_knockout),
    Candidate("swap x knockout ratio", ("swap", "knockout"), times_knockout),
    Candidate(
        "mean(swap, attribute restored)", ("swap", "substitute states"), mean_with_substitution
    ),
    Candidate("swap x closed book", ("swap", "behaviour"), times_known),
)
