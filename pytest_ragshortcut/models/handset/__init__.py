"""Hand-weighted models: real Llama and GPT-2 objects, their weights set to a known circuit."""

from pytest_ragshortcut.models.handset.closed_form import expected_follow, gain
from pytest_ragshortcut.models.handset.facts import FactsError
from pytest_ragshortcut.models.handset.model import (
    HandWeightedModel,
    UnknownSubjectError,
    hand_weighted,
)

__all__ = [
    "FactsError",
    "HandWeightedModel",
    "UnknownSubjectError",
    "expected_follow",
    "gain",
    "hand_weighted",
]
