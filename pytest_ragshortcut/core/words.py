"""Counts and numbers in words, for all that is said to a person."""

from __future__ import annotations

from collections.abc import Sequence


def counted(n: int, noun: str) -> str:
    """Write how many there are of something.

    Example:
        >>> counted(1, "check"), counted(1200, "check")
        ('1 check', '1,200 checks')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def apart(value: float, limits: Sequence[float], *, decimals: int = 2) -> str:
    """Write a number with so many decimals, or as many as keep it on its own side of its limits.

    Example:
        >>> apart(0.7999, [0.8, 0.2]), apart(0.8, [0.8]), apart(0.25, [], decimals=3)
        ('0.7999', '0.80', '0.250')
    """

    def sides(at: float) -> list[tuple[bool, bool]]:
        return [(at > limit, at < limit) for limit in limits]

    # Adding zero makes a negative zero a zero.
    texts = (f"{value + 0.0:.{n}f}" for n in range(decimals, 17))
    return next((text for text in texts if sides(float(text)) == sides(value)), repr(value))
