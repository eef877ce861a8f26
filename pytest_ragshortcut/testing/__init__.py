"""For suites of users' own: a model whose effects are arithmetic, to try checks and plugins on.

Numpy alone: it runs where torch is not installed, and in microseconds.
"""

from pytest_ragshortcut.testing.planted import PlantedModel

__all__ = ["PlantedModel"]
