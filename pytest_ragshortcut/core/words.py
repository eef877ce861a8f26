"""Counts in words, for all that is said to a person."""

from __future__ import annotations


def counted(n: int, noun: str) -> str:
    """Write how many there are of something.

    Example:
        >>> counted(1, "check"), counted(1200, "check")
        ('1 check', '1,200 checks')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
