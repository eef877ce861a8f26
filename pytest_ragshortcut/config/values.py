"""What values options take, and how they are read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

DTYPES = ("auto", "float64", "float32", "float16", "bfloat16")
EXECUTORS = ("auto", "incremental", "reference")
ProbeName = Literal["knockout", "contributions", "mediation"]
PROBES: tuple[ProbeName, ...] = ("knockout", "contributions", "mediation")
"""The evidence that can be read beside the swap."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?) *([KMGT]?)(i?)B", re.IGNORECASE)


def size_in_bytes(text: str) -> int | None:
    """Read a number of bytes; None where the text is none, or no memory at all.

    Example:
        >>> size_in_bytes("2GiB"), size_in_bytes("1.5 kB"), size_in_bytes("2")
        (2147483648, 1500, None)
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        return None
    number, prefix, binary = found.groups()
    base = 1024 if binary else 1000
    return int(float(number) * base ** " KMGT".index(prefix.upper() or " ")) or None


def parts(text: str) -> tuple[str, ...]:
    """Split a list at its commas.

    Example:
        >>> parts("knockout, mediation"), parts("")
        (('knockout', 'mediation'), ())
    """
    return tuple(part for piece in text.split(",") if (part := piece.strip()))


def _is_fraction(text: str) -> bool:
    try:
        return 0.0 <= float(text) <= 1.0
    except ValueError:
        return False


def _is_positive(text: str) -> bool:
    try:
        return 0.0 < float(text) < math.inf
    except ValueError:
        return False


def _are_probes(text: str) -> bool:
    return text == "none" or (bool(parts(text)) and set(parts(text)) <= set(PROBES))


@dataclass(frozen=True)
class Takes:
    """Which values an option takes."""

    expected: str
    """In words."""
    accepts: Callable[[str], bool]


def one_of(*choices: str) -> Takes:
    """Take one of some words."""
    return Takes("one of " + ", ".join(choices), choices.__contains__)


ANYTHING = Takes("a text", bool)
A_SIZE = Takes(
    "a number and a unit, such as 500MB, 2GiB or 1.5GiB", lambda v: bool(size_in_bytes(v))
)
A_FRACTION = Takes("a number in [0, 1], as scores are", _is_fraction)
A_NUMBER = Takes("a number above 0", _is_positive)
A_SEED = Takes("a whole number of at least 0", str.isdecimal)
NAMES_OF_PROBES = Takes(f"any of {', '.join(PROBES)} with commas between, or none", _are_probes)
