"""Clocks, and measurements whose unit is measured beside them."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch

Call = Callable[[], Any]


@dataclass(frozen=True)
class Spread:
    """The median of some numbers, and how far they lie apart."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise at least one number.

        Example:
            >>> Spread.of([3.0, 1.0, 2.0])
            Spread(median=2.0, low=1.0, high=3.0)
        """
        return cls(float(median(values)), float(min(values)), float(max(values)))


@dataclass(frozen=True)
class Clock:
    """CPU time of the process on a CPU, where others also run; synchronised wall time on CUDA."""

    device: str = "cpu"

    def time(self, call: Call) -> tuple[float, Any]:
        """Return the seconds that a call took, and what it returned."""
        if self.device == "cpu":
            start = time.process_time()
            result = call()
            return time.process_time() - start, result
        torch.cuda.synchronize()
        start = time.perf_counter()
        result = call()
        torch.cuda.synchronize()
        return time.perf_counter() - start, result


@dataclass(frozen=True)
class Measurement:
    """A call in units of another one, timed right before and right after it."""

    ratio: Spread
    seconds: Spread
    unit_seconds: Spread
    last: Any
    """What the last call returned."""


def measure(clock: Clock, *, prepare: Callable[[], Call], unit: Call, repeats: int) -> Measurement:
    """Time a call and its unit in turn.

    Args:
        clock: what to read.
        prepare: makes what to measure, anew for every round and untimed.
        unit: what to measure it in: timed twice before and twice after each call.
        repeats: how many times to go round.
    """
    ratios, seconds, units, last = [], [], [], None
    for _ in range(repeats):
        last = None  # the result of the round before must not weigh on this one's memory
        call = prepare()
        gc.collect()
        beside = [clock.time(unit)[0] for _ in range(2)]
        taken, last = clock.time(call)
        beside += [clock.time(unit)[0] for _ in range(2)]
        ratios.append(taken / median(beside))
        seconds.append(taken)
        units += beside
    return Measurement(Spread.of(ratios), Spread.of(seconds), Spread.of(units), last)


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Fit cost = c * size ** e by least squares over the logarithms, and return e.

    Example:
        >>> round(exponent([1, 2, 4], [3, 12, 48]), 6)
        2.0
    """
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


@contextmanager
def progress(text: str, *, shown: bool) -> Iterator[None]:
    """Say on standard error what is under way, and how long it took."""
    if not shown:
        yield
        return
    start = time.perf_counter()
    print(f"{text} ...", end=" ", flush=True, file=sys.stderr)
    try:
        yield
    finally:
        print(f"{time.perf_counter() - start:.0f} s", flush=True, file=sys.stderr)
