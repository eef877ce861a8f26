"""A line now and then, so that a long run is seen to move."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

_FIRST_S, _EVERY_S = 5.0, 15.0


class Progress:
    """Counts checks, and says so when nothing was said for a while.

    Args:
        write: shows a line.
        clock: seconds, never running backwards.
    """

    def __init__(
        self, write: Callable[[str], None], *, clock: Callable[[], float] = monotonic
    ) -> None:
        self._write, self._clock = write, clock
        self._started = self._due = math.nan
        self._n_checks = 0
        self._forwards = 0.0

    def count(self, check: Mapping[str, Any]) -> None:
        """Count a check's record, and show a line if one is due."""
        self._n_checks += 1
        self._forwards += check["work"]["forwards"] or 0.0
        now = self._clock()
        if math.isnan(self._started):
            self._started, self._due = now, now + _FIRST_S
        if now >= self._due:
            self._due = now + _EVERY_S
            checks = "1 check" if self._n_checks == 1 else f"{self._n_checks} checks"
            self._write(
                f"rag: {checks}, {self._forwards:,.0f} forwards, {now - self._started:.0f} s"
            )
