"""Property-based tests as they run: their examples drawn ahead, and what the hunt came to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from pytest_ragshortcut.core.hunts import SHARE, BudgetSpentError, Hunt
from pytest_ragshortcut.core.ledger import current
from pytest_ragshortcut.fixtures import FIXTURES

if TYPE_CHECKING:
    from pytest_ragshortcut.reporting.schema import HuntRecord


@contextmanager
def prepared(item: pytest.Function) -> Iterator[None]:
    """Draw a property-based test's examples ahead, where nothing but the model is asked of it."""
    __tracebackhide__ = True
    ledger = current()
    hunt = ledger.hunt if ledger else None
    if ledger is None or hunt is None:
        yield
        return
    seed = ""
    try:
        with _drawn_ahead(item, hunt) as seed:
            yield
    except Exception as error:
        if seed:
            error.add_note(f"the same examples again:  {ledger.command()} {seed}")
        if hunt.ended:
            error.add_note(f"{hunt.ended} is spent: a smaller example may fail too")
        raise
    except BudgetSpentError as end:
        # An asynchronous test, whose examples nobody settles.
        pytest.skip(f"undecided: {end} is spent")
    finally:
        if share := getattr(item.obj, SHARE, None):
            hunt.share = share.sentence


def _drawn_ahead(item: pytest.Function, hunt: Hunt) -> AbstractContextManager[str]:
    arguments = _arguments(item)
    if not _is_plain(item, arguments):
        return nullcontext("")
    from pytest_ragshortcut.strategies.ahead import drawn_ahead

    return drawn_ahead(item.obj, arguments, hunt)


def hunt_of(item: pytest.Item, budget: tuple[float, float]) -> Hunt | None:
    """Open the hunt of a property-based test that asks a model of the plugin's, if it is one."""
    test = getattr(item, "obj", None)
    if getattr(test, "is_hypothesis_test", False) is not True:
        return None
    if FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
        return None
    return Hunt(*budget, share="no example was drawn" if hasattr(test, SHARE) else "")


def hunt_record(hunt: Hunt) -> HuntRecord:
    """Write down what a hunt came to."""
    return {
        "n_examples": hunt.n_examples,
        "n_cases": hunt.n_cases,
        "forwards": round(hunt.forwards, 3),
        "seconds": round(hunt.seconds, 6),
        "ended": hunt.ended,
        "share": hunt.share,
    }


def _arguments(item: pytest.Function) -> dict[str, Any]:
    names = item._fixtureinfo.argnames
    return {name: item.funcargs[name] for name in names if name in item.funcargs}


def _is_plain(item: pytest.Function, arguments: dict[str, Any]) -> bool:
    """Say whether a test can be run without its model, and leaves nothing behind.

    What other fixtures do, nobody knows; what is set up for each test, a class's rows say, would
    be used up.
    """
    params = set(getattr(getattr(item, "callspec", None), "params", {}))
    known = item._fixtureinfo.name2fixturedefs
    others = set(item.fixturenames) - {"rag_model", "request"} - params
    return (
        "rag_model" in arguments
        and set(arguments) <= {"rag_model"} | params
        and all(known[name][-1].scope == "session" for name in others if name in known)
    )
