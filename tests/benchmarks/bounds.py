"""What each row may cost: the one place where the numbers stand.

They hold for models of twelve layers in float32 on a CPU; a deeper one costs about (L - 1) / 11
times as much per forward. Elsewhere a row is printed without a bound.
"""

from __future__ import annotations

MIN_SPAN = 0.05
"""Two maps that agree prove nothing unless the map itself spans more than this."""

# row -> number of tokens -> plain forwards, at most.
AT_MOST: dict[str, dict[int, float]] = {
    "map": {128: 18, 512: 6, 1024: 3.6},
    "replacement": {128: 3, 512: 1.6, 1024: 1.4},
    "knockouts": {128: 0.5, 512: 0.15, 1024: 0.1},
    "contributions": {128: 0.02, 512: 0.02, 1024: 0.02},
    "screening": {512: 1},
    "paper": {128: 14, 512: 14, 1024: 14},
    "spans": {128: 12, 512: 12, 1024: 12},
    "reliance": {512: 5},
}
# denominator -> number of tokens -> times cheaper than it, at least.
AT_LEAST: dict[str, dict[int, float]] = {
    "the same cells": {128: 55, 512: 240},
    "as shipped": {128: 800, 512: 14000},
}


def applies(*, n_layers: int, device: str, dtype: str, shape: str) -> bool:
    """Whether the bounds were set for such a model."""
    fitting = n_layers == 12 and shape in ("llama", "gpt2")
    return fitting and device == "cpu" and dtype == "float32"
