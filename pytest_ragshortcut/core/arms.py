"""The paper's comparison as values: a protocol, and what each of its two arms shows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pytest_ragshortcut.core.corruptions import GaussianNoise
from pytest_ragshortcut.core.figures import Curves
from pytest_ragshortcut.core.plans import Array, Component
from pytest_ragshortcut.core.prompts import Template
from pytest_ragshortcut.core.results import Shown


@dataclass(frozen=True)
class Protocol:
    """How the two arms are run. The default compares like with like."""

    name: str = "like for like"
    template: Template | None = None
    """None is the model's own template."""
    corrupt_open: str = "subject"
    """The span corrupted open-book."""
    corrupt_closed: str = "subject"
    """The span corrupted closed-book."""
    component: Component = "mlp"
    """What is restored."""
    mediation_window: int = 10
    """How many layers are restored together."""
    knockout_window: int = 9
    """How many layers a knockout spans."""
    noise: GaussianNoise = field(default_factory=GaussianNoise)
    """How the corruption draws."""
    top_share: float = 0.05
    """Which share of the largest contributions is averaged."""
    same_answer: bool = True
    """Whether a case is kept only if both arms give the same answer."""


LIKE_FOR_LIKE = Protocol()
WADHWA_2024 = Protocol(
    name="Wadhwa et al. 2024",
    template=Template(
        open_book="Information is below:\n{context}\nGiven the context information and not prior "
        "knowledge, complete the following:\n{question}",
        closed_book="{question}",
    ),
    corrupt_open="context+subject",
    same_answer=False,
)
PROTOCOLS = {"like_for_like": LIKE_FOR_LIKE, "wadhwa_2024": WADHWA_2024}


@dataclass(frozen=True, eq=False)
class Arm:
    """One arm's means over the kept cases, by layer, and the headlines of the paper."""

    clean: float
    """Mean probability of the answer."""
    total_effect: float
    """Mean total effect of the corruption."""
    subject_effects: Array
    """(n_layers,) mean indirect effect at the last subject token, of the window at each layer."""
    subject_contributions: Array
    """(n_layers,) mean contribution subject -> last, at least 0."""
    attribute_contributions: Array
    """(n_layers,) the same, attribute -> last; NaN closed-book."""
    subject_cuts: Array
    """(n_layers,) mean relative change with subject -> last cut in the window at each layer."""
    attribute_cuts: Array
    """(n_layers,) the same, attribute -> last; NaN closed-book."""
    subject_contribution: float
    """Mean of the largest contributions subject -> last, over cases and layers."""
    attribute_contribution: float
    """The same, attribute -> last; NaN closed-book."""

    @property
    def subject_aie(self) -> float:
        """Largest over layers of the mean indirect effect at the last subject token.

        The maximum of the mean over cases, not the mean of the maxima, which grows with noise.
        """
        return float(self.subject_effects.max())

    @property
    def subject_knockout(self) -> float:
        """Most negative over windows of the mean relative change, subject -> last cut."""
        return float(self.subject_cuts.min())

    @property
    def attribute_knockout(self) -> float:
        """The same, attribute -> last cut; NaN closed-book."""
        return float(self.attribute_cuts.min())


@dataclass(frozen=True, eq=False, repr=False)
class ArmsResult(Shown):
    """Both arms under one protocol, and how many cases were kept."""

    protocol: Protocol
    open_book: Arm
    closed_book: Arm
    n_kept: int
    n_cases: int

    @property
    def title(self) -> str:
        """The protocol, and how many cases it kept."""
        return f"{self.protocol.name}: {self.n_kept} kept of {self.n_cases}"

    def panels(self) -> tuple[Curves, ...]:
        """Return indirect effects, contributions and cuts by layer, both arms in each."""
        opened, closed = self.open_book, self.closed_book
        layers = tuple(f"layer {layer}" for layer in range(len(opened.subject_effects)))
        shown = {
            "indirect effect, last subject token": (opened.subject_effects, closed.subject_effects),
            "contribution to the last token": (
                opened.subject_contributions,
                closed.subject_contributions,
                opened.attribute_contributions,
            ),
            "relative change when cut from the last token": (
                opened.subject_cuts,
                closed.subject_cuts,
                opened.attribute_cuts,
            ),
        }
        names = ("subject, open-book", "subject, closed-book", "attribute, open-book")
        dashed = (False, True, False)
        return tuple(
            Curves(title, np.stack(curves), names[: len(curves)], layers, dashed[: len(curves)])
            for title, curves in shown.items()
        )
