"""The examples in the docstrings of core, errors, testing and hand-weighted models are run."""

from __future__ import annotations

import doctest
import pkgutil
from importlib import import_module

import numpy as np
import pytest

import pytest_ragshortcut.core as core
import pytest_ragshortcut.models.handset as handset
import pytest_ragshortcut.testing as testing

MODULES = [
    "pytest_ragshortcut.errors",
    *(f"pytest_ragshortcut.core.{module.name}" for module in pkgutil.iter_modules(core.__path__)),
    *(f"{testing.__name__}.{module.name}" for module in pkgutil.iter_modules(testing.__path__)),
    *(f"{handset.__name__}.{module.name}" for module in pkgutil.iter_modules(handset.__path__)),
]
# Declarations, drawings and classes: nothing that an example would say better than its name.
WITHOUT_EXAMPLES = {"figures", "ports", "reliance", "ledger", "mechanism", "arms"}
WITHOUT_EXAMPLES |= {"axes", "circuit", "writers"}


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_hold(name: str) -> None:
    results = doctest.testmod(import_module(name), extraglobs={"np": np})
    assert results.failed == 0
    assert results.attempted > 0 or name.rpartition(".")[2] in WITHOUT_EXAMPLES
