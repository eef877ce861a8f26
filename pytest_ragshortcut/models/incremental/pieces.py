"""MLPs on packed tokens, a piece at a time: what one makes of all of them leaves a core's cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

# About what a core's cache holds, and the fewest tokens that keep its matrix products busy.
_MAX_NUMBERS, _MIN_TOKENS = 1 << 20, 256


def piece_tokens(mlp: nn.Module) -> int:
    """Return how many tokens an MLP should take at once."""
    widths = (max(p.shape) for p in mlp.parameters() if p.dim() == 2)
    return max(_MIN_TOKENS, _MAX_NUMBERS // max(widths, default=_MAX_NUMBERS))


@contextmanager
def in_pieces(mlps: Mapping[nn.Module, int]) -> Iterator[None]:
    """Make MLPs take packed tokens (1, n, d) each so many at a time.

    Hooks on an MLP see all its tokens at once, as ever: only its forward is called in pieces.
    """
    before = {mlp: vars(mlp).get("forward") for mlp in mlps}
    try:
        for mlp, n_tokens in mlps.items():
            vars(mlp)["forward"] = partial(_forward, mlp.forward, n_tokens)
        yield
    finally:
        for mlp, forward in before.items():
            if forward is None:
                vars(mlp).pop("forward", None)
            else:
                vars(mlp)["forward"] = forward


def _forward(whole: Callable[..., Any], n_tokens: int, hidden: Any, *args: Any, **kw: Any) -> Any:
    in_one = not isinstance(hidden, torch.Tensor) or hidden.dim() != 3 or args or kw
    if in_one or hidden.shape[0] != 1 or hidden.shape[1] <= n_tokens:
        return whole(hidden, *args, **kw)
    first, *others = hidden.split(n_tokens, dim=1)
    output = whole(first)
    if not isinstance(output, torch.Tensor):
        return whole(hidden)
    return torch.cat([output, *map(whole, others)], dim=1)
