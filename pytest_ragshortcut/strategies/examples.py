"""What Hypothesis' own handling of examples needs to know of tests that ask a model."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from hypothesis import settings

from pytest_ragshortcut.core.ledger import current

# The attribute that the settings decorator sets and Hypothesis' own pytest plugin reads.
_SETTINGS = "_hypothesis_internal_use_settings"
_SETTLES = "_ragshortcut_settles"


def lift_default_deadline(test: Any) -> None:
    """Take the deadline off a Hypothesis test, unless its author chose one.

    A deadline measures how fast a test is; a test that asks a model is as fast as the model.
    """
    function = getattr(test, "__func__", test)
    if _inner_test(function) is None:
        return
    chosen: settings = getattr(function, _SETTINGS, settings())
    if chosen.deadline == settings().deadline:
        setattr(function, _SETTINGS, settings(chosen, deadline=None))


def settle_each(test: Any) -> None:
    """Let every example of a Hypothesis test settle what it left uncompared.

    Only then is the example that breaks the limit the one that Hypothesis shrinks.
    """
    function = getattr(test, "__func__", test)
    inner = _inner_test(function)
    if inner is None or hasattr(inner, _SETTLES) or iscoroutinefunction(inner):
        return
    function.hypothesis.inner_test = _settling(inner)


def _inner_test(function: Any) -> Callable[..., Any] | None:
    """Return what @given wrapped, in the attribute that it keeps for plugins; None without it."""
    inner: Callable[..., Any] | None = getattr(
        getattr(function, "hypothesis", None), "inner_test", None
    )
    return inner


def _settling(inner: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(inner)
    def settled(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        ledger = current()
        try:
            result = inner(*args, **kwargs)
        except BaseException:
            # What an example that was given up left uncompared is no defect of the next one.
            if ledger is not None:
                ledger.skip()
            raise
        if ledger is not None:
            ledger.settle()
        return result

    setattr(settled, _SETTLES, True)
    return settled
