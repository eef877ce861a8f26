"""What a release gate tolerates, as one line that a team agrees on: --rag-compare-fail."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

from pytest_ragshortcut.errors import OptionError

_OPTION = "--rag-compare-fail"
_FRACTION = "a number between 0 and 1, neither included"


@dataclass(frozen=True)
class Policy:
    """When a candidate may be released.

    Every property has to be shown to be no worse than the baseline by more than the margin, and
    what else is asked for here. What is neither shown nor shown to be wrong is inconclusive.
    """

    margin: float
    """By how much a property's mean score may be worse."""
    floor: float | None = None
    """What the candidate's mean score must be above."""
    fell: float | None = None
    """Which share of all cases may fall by more than the margin."""
    confidence: float = 0.95
    """Of every interval: half of the rest is on either side."""
    inconclusive: Literal["fail", "warn"] = "fail"
    primary: str | None = None
    """The test function that decides alone; others are shown. Without, all decide, by Holm."""
    by: Literal["test", "kind"] = "test"
    """What a property is: a test function's cases, or all cases of a kind of reliance."""
    interval: Literal["bounded", "bootstrap"] = "bounded"
    """How bounds of means are found: exactly, or by resampling, which misses rare losses."""

    @property
    def line(self) -> str:
        """The policy in full, as it may be given.

        Example:
            >>> Policy(0.05, floor=0.8).line
            'margin:0.05, floor:0.8, confidence:0.95, inconclusive:fail, by:test, interval:bounded'
        """
        given = ((each.name, getattr(self, each.name)) for each in fields(self))
        return ", ".join(
            f"{name}:{value:g}" if isinstance(value, float) else f"{name}:{value}"
            for name, value in given
            if value is not None
        )


def parse_policy(text: str, *, option: str = _OPTION) -> Policy:
    """Read a policy: 'margin:0.05, floor:0.8'.

    Raises:
        OptionError: if a part is no 'name:value', a name unknown or given twice, a value means
            nothing, or the margin is missing.

    Example:
        >>> parse_policy("margin:0.05, floor:0.8, inconclusive:warn").inconclusive
        'warn'
    """
    policy, seen = Policy(0.5), set()
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, value = (piece.strip() for piece in part.partition(":"))
        if name not in _READ or name in seen:
            problem = "each once" if name in seen else "with commas between"
            expected = f"name:value of {', '.join(_READ)}, {problem}"
            raise OptionError(option=option, value=part, expected=expected)
        seen.add(name)
        policy = _with(policy, name, value, option)
    if "margin" not in seen:
        raise OptionError(
            option=option, value=text, expected="a margin as well: 'margin:0.05, ...'"
        )
    return policy


_READ: dict[str, tuple[str, ...]] = {
    "margin": (),
    "floor": (),
    "fell": (),
    "confidence": (),
    "inconclusive": ("fail", "warn"),
    "primary": ("",),
    "by": ("test", "kind"),
    "interval": ("bounded", "bootstrap"),
}
"""name -> the words it takes; none where it takes a fraction, an empty one where any word."""


def _with(policy: Policy, name: str, value: str, option: str) -> Policy:
    words = _READ[name]
    if words:
        if not value or (words != ("",) and value not in words):
            expected = f"{name}:{'|'.join(filter(None, words)) or 'the name of a test function'}"
            raise OptionError(option=option, value=f"{name}:{value}", expected=expected)
        return replace(policy, **{name: value})  # type: ignore[arg-type]
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    least = 0.5 if name == "confidence" else 0.0
    if not least < number < 1.0:
        expected = f"{name}: {_FRACTION}" if least == 0.0 else f"{name}: above 0.5, below 1"
        raise OptionError(option=option, value=f"{name}:{value}", expected=expected)
    return replace(policy, **{name: number})  # type: ignore[arg-type]
