"""For suites of users' own: models whose every reading is known, to try checks and plugins on.

Numpy alone: PlantedModel runs where torch is not installed, and in microseconds. RoutedModel makes
one model with a known defect of any two.
"""

from pytest_ragshortcut.testing.planted import PlantedModel
from pytest_ragshortcut.testing.routed import PromptText, RoutedModel

__all__ = ["PlantedModel", "PromptText", "RoutedModel"]
