"""What Hypothesis' own handling of examples needs to know of tests that ask a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, reject, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException

from pytest_ragshortcut.core.hunts import (
    BudgetSpentError,
    Hunt,
    RehearsalOverError,
    RehearsedError,
)
from pytest_ragshortcut.core.ledger import Ledger, current

# The attributes that the decorators of settings and seeds set, and Hypothesis itself reads.
SETTINGS = "_hypothesis_internal_use_settings"
SEED = "_hypothesis_internal_use_seed"
SETTLES = "_ragshortcut_settles"
DRAWING: Mapping[str, Any] = {
    "phases": (Phase.generate,),
    "database": None,
    "deadline": None,
    "verbosity": Verbosity.quiet,
    "suppress_health_check": list(HealthCheck),
    "report_multiple_bugs": False,
    "print_blob": False,
}
"""Settings for runs that are made to see what is drawn, and told of nowhere."""
# What Hypothesis takes for a failure.
_FAILURES = (Exception, SystemExit, GeneratorExit, pytest.fail.Exception)


def suit_models(test: Any) -> None:
    """Take the deadline and the explaining off a Hypothesis test, unless its author chose them.

    A deadline measures how fast a test is; a test that asks a model is as fast as the model. The
    explaining traces every line and runs more examples to say which lines fail: here, the lines
    that compare a score with its limit.
    """
    function = given_function(test)
    if _inner_test(function) is None:
        return
    chosen: settings = getattr(function, SETTINGS, settings())
    deadline, phases = chosen.deadline, chosen.phases
    if deadline == settings().deadline:
        deadline = None
    if phases == settings().phases:
        phases = tuple(phase for phase in phases if phase is not Phase.explain)
    if (deadline, phases) != (chosen.deadline, chosen.phases):
        setattr(function, SETTINGS, settings(chosen, deadline=deadline, phases=phases))


def given_function(test: Any) -> Any:
    """Return the function that @given made, below a method and decorators above it."""
    function = getattr(test, "__func__", test)
    while getattr(getattr(function, "__wrapped__", None), "is_hypothesis_test", False):
        function = function.__wrapped__
    return function


def settle_each(test: Any) -> None:
    """Let every example of a Hypothesis test settle what it left uncompared.

    Only then is the example that breaks the limit the one that Hypothesis shrinks.
    """
    function = getattr(test, "__func__", test)
    inner = _inner_test(function)
    if inner is None or hasattr(inner, SETTLES) or iscoroutinefunction(inner):
        return
    drawn = frozenset(getattr(function.hypothesis, "_given_kwargs", ()))
    function.hypothesis.inner_test = _settling(inner, drawn)


def _inner_test(function: Any) -> Callable[..., Any] | None:
    """Return what @given wrapped, in the attribute that it keeps for plugins; None without it."""
    inner: Callable[..., Any] | None = getattr(
        getattr(function, "hypothesis", None), "inner_test", None
    )
    return inner


def _settling(inner: Callable[..., Any], drawn: frozenset[str]) -> Callable[..., Any]:
    @wraps(inner)
    def settled(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        ledger = current()
        if ledger is None:
            return inner(*args, **kwargs)
        hunt = ledger.hunt or Hunt()
        try:
            return _settled(lambda: inner(*args, **kwargs), ledger, hunt)
        except HypothesisException:
            raise
        except _FAILURES as error:
            hunt.has_failed = True
            if code := as_code({name: kwargs[name] for name in kwargs if name in drawn}):
                error.add_note(code)
            raise
        except RehearsedError:
            return None
        except BudgetSpentError as end:
            _give_up(hunt, str(end))

    setattr(settled, SETTLES, True)
    return settled


def _settled(body: Callable[[], Any], ledger: Ledger, hunt: Hunt) -> Any:
    __tracebackhide__ = True
    if hunt.is_rehearsal and hunt.spent:
        raise RehearsalOverError
    hunt.is_in_example = True
    try:
        result = body()
    except RehearsedError:
        raise
    except BudgetSpentError:
        ledger.skip()
        raise
    except BaseException:
        # What an example that was given up left uncompared is no defect of the next one.
        ledger.skip()
        hunt.n_examples += 1
        raise
    finally:
        hunt.is_in_example = False
    hunt.n_examples += 1
    ledger.settle()
    return result


def _give_up(hunt: Hunt, end: str) -> NoReturn:
    """End a hunt whose budget is spent: with the failure that it found, or undecided."""
    if hunt.has_failed and not hunt.share:
        # To the shrinker an example that is rejected breaks nothing: it keeps the smallest it has.
        reject()
    held = "" if hunt.has_failed else ", none of which failed"
    pytest.skip(f"undecided: {end} is spent after {hunt.n_examples} examples{held}")


def as_code(drawn: Mapping[str, object]) -> str:
    """Write an example as the decorator that runs it again; empty where that is no code.

    Example:
        >>> as_code({"context": ("In Cork.",)})
        "as code, above the test:  @example(context=('In Cork.',))"
        >>> as_code({"of": object()})
        ''
    """
    # What data() gives writes itself as a call, but no example can be made of it.
    if any(isinstance(value, st.DataObject) for value in drawn.values()):
        return ""
    # Whatever a user's own repr does, the failure must not be lost for want of a note.
    with suppress(Exception):
        arguments = ", ".join(f"{name}={value!r}" for name, value in drawn.items())
        compile(f"example({arguments})", "<example>", "eval")
        return f"as code, above the test:  @example({arguments})"
    return ""
