"""A property that has to hold for a share of the contexts, not for every one.

Hypothesis searches: it begins with the simplest example, avoids what it has drawn and varies what
it found. That is no sample, and no share follows from it. So here every draw is the first random
example of a run of its own, from a seed of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from hashlib import sha256
from inspect import Parameter, iscoroutinefunction, signature
from itertools import count, islice
from typing import Any, NoReturn, TypeVar, cast

from hypothesis import Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable, UnsatisfiedAssumption

from pytest_ragshortcut.core.hunts import N_AHEAD, SHARE
from pytest_ragshortcut.core.sequential import Decision, Share
from pytest_ragshortcut.errors import OptionError, RagShortcutError
from pytest_ragshortcut.strategies.examples import DRAWING, SEED, SETTINGS, settle_each

_MAX_FRUITLESS = 5
"""Runs in a row without a draw; in each, Hypothesis tries hundreds of times to pass the filters."""
_MAX_REJECTED = 200
"""Draws in a row that a test may reject."""
_N_DIGITS, _BASE = 8, 100
"""Of the number that makes a draw new. Larger digits would be taken from the project's modules."""
_EXAMPLES = "hypothesis_explicit_examples"

Test = TypeVar("Test", bound=Callable[..., Any])
Drawn = TypeVar("Drawn")


def holds_for(
    rate: float, *, confidence: float = 0.95, max_draws: int = 1000, seed: int = 0
) -> Callable[[Test], Test]:
    """Let a Hypothesis test hold for at least a share of what its strategies draw.

    Stands above @given. It draws until the share is shown to be above the rate, and the test
    passes, or below it, and the test fails; either is wrong with probability 1 - confidence at
    most. What is still open after max_draws fails too: nothing was shown. All of that is said of a
    seed chosen before one knows what it draws, not of the one among several that passes.

    An AssertionError is a miss; every other error ends the test. What assume() rejects is drawn
    again. An @example is no draw: it runs first, and has to hold. What Hypothesis' settings say of
    its search (max_examples, phases, database, deadline) means nothing here. Afterwards the test's
    attribute ragshortcut_share is its Share.

    Args:
        rate: the share that has to hold, in (0, 1).
        confidence: in the decision, in (0.5, 1).
        max_draws: how many draws are asked at most.
        seed: of the draws; the same seed draws the same, in the same version of Hypothesis. Large
            numbers and free text also hang on the project's modules that are imported by then.

    Raises:
        OptionError: if an argument means nothing.
        RagShortcutError: if the test is none that can be drawn for independently.

    Example:
        @holds_for(0.95)
        @given(context=contexts(PASSAGE, answer="Dublin"))
        def test_reads_nearly_all(rag_model, context):
            assert_context_reliance(rag_model, QUESTION, context) > 0.8
    """
    unknown = Share(0, 0, rate, confidence)
    _require_whole("max_draws", max_draws, at_least=1)
    _require_whole("seed", seed)
    again = f"holds_for({rate!r}, confidence={confidence!r}, max_draws={max_draws}, seed={seed})"

    def decorate(test: Test) -> Test:
        _require_drawable(test)
        settle_each(test)

        @wraps(test)
        def sampled(*args: Any, **kwargs: Any) -> None:
            __tracebackhide__ = True
            setattr(sampled, SHARE, None)
            _run_examples(sampled, test, args, kwargs)
            sample = _Sample(unknown, test, args, kwargs)
            for drawn in _ahead(independent_draws(_strategies(test), seed=seed, name=_name(test))):
                sample.ask(drawn)
                setattr(sampled, SHARE, sample.share)
                decision = sample.share.decision
                if decision is Decision.HOLDS:
                    return
                if decision is Decision.FAILS or sample.share.n >= max_draws:
                    raise AssertionError(sample.failure(again)) from sample.first_miss

        setattr(sampled, SHARE, None)
        return cast("Test", sampled)

    return decorate


def independent_draws(
    strategy: st.SearchStrategy[Drawn], *, seed: int, name: str = "draw"
) -> Iterator[Drawn]:
    """Draw from a strategy without end, each time anew and by the strategy's own distribution.

    A run of Hypothesis begins with the simplest example. From the second on, an example is drawn
    at random up to the first choice in which it differs from all before it, and freely from there.
    Here the first choices are the digits of a long number. Where that is a new one, all that the
    strategy draws is drawn freely; where it is not, the example is passed over, whatever else is
    in it. What the strategy's own filters reject is drawn again, with a new number. Hypothesis
    varies examples only after ten valid ones, and a run ends with its second.

    Args:
        strategy: what to draw from. What goes on drawing while it is used, such as functions(),
            cannot be drawn ahead of its use.
        seed: the same seed draws the same.
        name: whose strategy it is, for errors.

    Raises:
        RagShortcutError: if its filters let hardly anything through.
    """
    numbers: list[tuple[int, ...]] = []
    found: list[Drawn] = []

    def noted(number: tuple[int, ...]) -> tuple[int, ...]:
        numbers.append(number)
        return number

    def keep(pair: tuple[tuple[int, ...], Drawn]) -> None:
        number, drawn = pair
        # The first example of all has the simplest number, in which every digit is 0.
        if not found and any(number) and numbers.count(number) == 1:
            found.append(drawn)

    keep.__name__ = name
    numbered = st.tuples(st.tuples(*[st.integers(0, _BASE - 1)] * _N_DIGITS).map(noted), strategy)
    run = _settings(max_examples=2)(given(numbered)(keep))
    fruitless = 0
    for index in count():
        numbers.clear()
        found.clear()
        with suppress(Unsatisfiable):
            seeded(_mixed(seed, index))(run)()
        fruitless = 0 if found else fruitless + 1
        if fruitless == _MAX_FRUITLESS:
            raise _too_few(f"the filters of {name}'s strategies let hardly a draw through")
        yield from found


class _Sample:
    """The draws that one run of a test has asked so far."""

    def __init__(
        self, share: Share, test: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        self.share = share
        self.first_miss: AssertionError | None = None
        self._missed: Mapping[str, Any] = {}
        self._test = test
        self._rest, self._named = _by_name(test, args, kwargs)
        self._n_rejected = 0

    def ask(self, drawn: Mapping[str, Any]) -> None:
        """Run the test on a draw, and count how it ends."""
        __tracebackhide__ = True
        # What plugins put in its place after it was decorated, looked up as Hypothesis does.
        inner = self._test.hypothesis.inner_test
        error = _error_of(lambda: inner(*self._rest, **self._named, **drawn), _name(self._test))
        if isinstance(error, UnsatisfiedAssumption):
            self._reject()
            return
        if error is not None and not isinstance(error, AssertionError):
            raise error
        self._n_rejected = 0
        self.share = self.share.after(held=error is None)
        if error is not None and self.first_miss is None:
            self.first_miss, self._missed = error, drawn

    def failure(self, again: str) -> str:
        """Say why the claim is not shown."""
        lines = [self.share.verdict]
        if more := self.share.n_more:
            enough = f"max_draws={self.share.n + more}"
            lines.append(f"{more} more draws without a miss would decide: {enough}")
        if self.first_miss is not None:
            names = self._test.hypothesis._given_kwargs
            case = ", ".join(f"{name}={self._missed[name]!r}" for name in names)
            said = str(self.first_miss).partition("\n")[0]
            lines += [f"the first miss: {case}", *([f"  {said}"] if said else [])]
        return "\n  ".join([*lines, f"the same draws again: {again}"])

    def _reject(self) -> None:
        self._n_rejected += 1
        if self._n_rejected == _MAX_REJECTED:
            raise _too_few(f"{_name(self._test)} rejected {_MAX_REJECTED} draws in a row")


def _ahead(draws: Iterator[Drawn]) -> Iterator[Drawn]:
    """Make several draws before the first of them is asked: whole chunks can be prepared here."""
    while True:
        chunk = list(islice(draws, N_AHEAD))
        yield from chunk


def _error_of(body: Callable[[], object], name: str) -> Exception | None:
    """Run a body once inside Hypothesis, where assume, note, event and target are at home."""
    errors: list[Exception] = []

    def once(_: None) -> Any:
        __tracebackhide__ = True
        try:
            return body()
        except Exception as error:  # noqa: BLE001 - raised again, or counted, outside
            errors.append(error)
            return None

    once.__name__ = name
    _settings(max_examples=1)(given(st.none())(once))()
    return errors[0] if errors else None


def _settings(*, max_examples: int) -> settings:
    """Return settings in which nothing is left to a profile, a database or a clock."""
    return settings(max_examples=max_examples, derandomize=False, backend="hypothesis", **DRAWING)


def _mixed(seed: int, index: int) -> int:
    """Return the seed of one draw: neighbouring seeds and draws have nothing in common."""
    return int.from_bytes(sha256(f"{seed} {index}".encode()).digest()[:8], "big")


def _run_examples(sampled: Any, test: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Let Hypothesis run what @example names, above or below, as it runs it elsewhere."""
    __tracebackhide__ = True
    examples = getattr(sampled, _EXAMPLES, ())
    if examples:
        setattr(test, _EXAMPLES, examples)
        chosen = getattr(sampled, SETTINGS)
        setattr(test, SETTINGS, settings(chosen, phases=(Phase.explicit,), deadline=None))
        test(*args, **kwargs)


def _by_name(
    test: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Sequence[Any], dict[str, Any]]:
    """Take arguments by name: strategies may fill parameters in front of them."""
    taken = signature(test)
    named = taken.bind(*args, **kwargs).arguments
    kinds = {parameter.kind: name for name, parameter in taken.parameters.items()}
    rest = named.pop(kinds.get(Parameter.VAR_POSITIONAL, ""), ())
    others = named.pop(kinds.get(Parameter.VAR_KEYWORD, ""), {})
    return rest, {**named, **others}


def _strategies(test: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(test.hypothesis._given_kwargs)


def _too_few(problem: str) -> RagShortcutError:
    return RagShortcutError(
        problem,
        where="@holds_for, assume(...) or .filter(...)",
        expected="Most of what strategies draw is taken",
        action="Let them draw what fits, instead of rejecting what does not",
    )


def _require_drawable(test: Any) -> None:
    """Refuse at definition what could not be drawn for independently, or not at all."""
    handle = getattr(test, "hypothesis", None)
    given_above = "Put @holds_for(...) right above @given(...), once"
    if handle is None or hasattr(test, SHARE):
        _refuse(test, "is not what @given made", "a test that @given wraps", given_above)
    if iscoroutinefunction(handle.inner_test):
        _refuse(test, "is async", "a test that is a plain def", "Ask the model without await")
    strategies = handle._given_kwargs
    if {*signature(test).parameters} != {*signature(handle.inner_test).parameters} - {*strategies}:
        action = "Run it without @holds_for: Hypothesis says what is wrong"
        _refuse(test, "is refused by @given", "a test that @given takes", action)
    for name, strategy in strategies.items():
        if isinstance(strategy, type(st.data())):
            action = f"Draw {name} from a strategy, made by @st.composite say"
            _refuse(test, f"draws with {name}=data()", "draws made before it runs", action)
    if getattr(test, SEED, None) is not None:
        action = "Leave @seed out, and pass holds_for(..., seed=...)"
        _refuse(test, f"has @seed({getattr(test, SEED)!r})", "seeds of its own draws", action)


def _refuse(test: Any, problem: str, expected: str, action: str) -> NoReturn:
    raise RagShortcutError(
        f"{_name(test)} {problem}",
        where="@holds_for",
        expected=f"@holds_for takes {expected}",
        action=action,
    )


def _require_whole(name: str, value: object, *, at_least: int = 0) -> None:
    if not isinstance(value, int) or value < at_least:
        expected = f"a whole number from {at_least} on"
        raise OptionError(option=name, value=repr(value), expected=expected)


def _name(test: Any) -> str:
    return str(getattr(test, "__name__", test))
