"""Hypothesis' deadline measures how fast a test is; a test that asks a model is as fast as it."""

from __future__ import annotations

from typing import Any

from hypothesis import is_hypothesis_test, settings

# The attribute that the settings decorator sets and Hypothesis' own pytest plugin reads.
_SETTINGS = "_hypothesis_internal_use_settings"


def lift_default_deadline(test: Any) -> None:
    """Take the deadline off a Hypothesis test, unless its author chose one."""
    function = getattr(test, "__func__", test)
    if not is_hypothesis_test(function):
        return
    chosen: settings = getattr(function, _SETTINGS, settings())
    if chosen.deadline == settings().deadline:
        setattr(function, _SETTINGS, settings(chosen, deadline=None))
