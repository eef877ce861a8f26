"""Examples drawn ahead, so that what they ask of a model is measured side by side.

Hypothesis draws an example, runs it, and draws the next. Until one fails, what it draws hangs on
its seed alone. So the test is run once without its model, to see what it will ask, and then for
good, with the same seed: each question that comes is then measured together with the next few.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from hypothesis import Phase, settings

from pytest_ragshortcut.core.hunts import SHARE, Hunt, RehearsalOverError, StandIn
from pytest_ragshortcut.core.ledger import Ledger, current, recording
from pytest_ragshortcut.strategies.examples import DRAWING, SEED, SETTINGS, SETTLES, given_function

_MADE_UP_SEED = "_hypothesis_internal_use_generated_seed"
_REPRODUCES = "_hypothesis_internal_use_reproduce_failure"
MODEL = "rag_model"
_MAX_SECONDS = 10.0
_WRONG = (
    Exception,
    SystemExit,
    GeneratorExit,
    BaseExceptionGroup,
    RehearsalOverError,
    pytest.skip.Exception,
    pytest.fail.Exception,
)


@contextmanager
def drawn_ahead(test: Any, arguments: Mapping[str, Any], hunt: Hunt) -> Iterator[str]:
    """Draw a Hypothesis test's examples before it runs, and let it draw the same inside.

    Args:
        test: the function that @given made, or a method.
        arguments: its fixtures. One of them is the model, which is not asked here.
        hunt: gets what the examples will ask.

    Yields:
        The seed, as an option to run the same examples again; empty where the run fixes it.
    """
    function = getattr(test, "__func__", test)
    seed = None
    if _can_be_rehearsed(function):
        rehearsal = Hunt(max_seconds=min(_MAX_SECONDS, hunt.max_seconds / 10), is_rehearsal=True)
        _rehearse(test, function, {**arguments, MODEL: StandIn(rehearsal)}, rehearsal)
        hunt.take(rehearsal)
        seed = getattr(function, _MADE_UP_SEED, None)
    if seed is None:
        yield ""
        return
    setattr(function, SEED, seed)
    try:
        yield f"--hypothesis-seed={seed}"
    finally:
        setattr(function, SEED, None)


def _can_be_rehearsed(function: Any) -> bool:
    """Say whether the test is run by Hypothesis itself, with the settings that are seen here."""
    chosen: settings | None = getattr(function, SETTINGS, None)
    return (
        chosen is not None
        and Phase.generate in chosen.phases
        and getattr(function, _REPRODUCES, None) is None
        and hasattr(function.hypothesis.inner_test, SETTLES)
        and (given_function(function) is function or hasattr(function, SHARE))
    )


def _rehearse(test: Any, function: Any, arguments: Mapping[str, Any], rehearsal: Hunt) -> None:
    """Run a test with a book of its own, so that nothing of it is left but what it will ask."""
    chosen: settings = getattr(function, SETTINGS)
    ledger = current()
    book = (
        replace(ledger, hunt=rehearsal, entries=[], on_check=None, _settled=0)
        if ledger
        else Ledger("")
    )
    setattr(function, SETTINGS, settings(chosen, **DRAWING))
    try:
        # What goes wrong here goes wrong again, where it is told of.
        with redirect_stdout(StringIO()), suppress(*_WRONG), recording(book):
            test(**arguments)
    finally:
        setattr(function, SETTINGS, chosen)
