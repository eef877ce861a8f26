"""What a model gives its layers beside hidden states, at every position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Outfit:
    """What the layers are given beside hidden states, for prompts of one length."""

    n_tokens: int
    arguments: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...]
    """(n_layers,) positional arguments after the first, and keyword arguments."""
    window_starts: tuple[torch.Tensor | None, ...]
    """(n_layers,) first visible key of each query, (n_tokens,); None where that is the first."""

    def agrees(self, longer: Outfit) -> bool:
        """Whether a longer prompt's layers are given the same, position by position."""
        n = self.n_tokens
        pairs = zip(self.arguments, longer.arguments, strict=True)
        same = all(
            _same(mine, theirs, n, longer.n_tokens)
            for (args, kwargs), (more, others) in pairs
            for mine, theirs in ((args, more), (kwargs, others))
        )
        starts = zip(self.window_starts, longer.window_starts, strict=True)
        # A window that a short prompt fits into does not show in its mask.
        return same and all(
            torch.equal(_starts(mine, n), _starts(theirs, longer.n_tokens)[:n])
            for mine, theirs in starts
        )

    def hidden(self, layer: int, queries: torch.Tensor) -> torch.Tensor:
        """Return (n_queries, n_keys) whether a layer hides a key, of those up to the last query."""
        keys = torch.arange(int(queries.max()) + 1, device=queries.device)
        hidden = keys > queries[:, None]
        starts = self.window_starts[layer]
        if starts is not None:
            hidden |= keys < starts.to(keys.device)[queries][:, None]
        return hidden

    def picked(self, layer: int, positions: torch.Tensor) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return a layer's arguments at positions (n_packed,)."""
        args, kwargs = self.arguments[layer]
        taken: dict[int, Any] = {}
        return (
            tuple(_pick(arg, positions, self.n_tokens, taken) for arg in args),
            {name: _pick(arg, positions, self.n_tokens, taken) for name, arg in kwargs.items()},
        )


def _is_mask(value: Any, n_tokens: int) -> bool:
    return (
        isinstance(value, torch.Tensor)
        and value.dim() == 4
        and tuple(value.shape[-2:]) == (n_tokens, n_tokens)
    )


def without_masks(value: Any, n_tokens: int, found: list[torch.Tensor]) -> Any:
    """Replace an attention mask by None, and keep it in `found`."""
    if _is_mask(value, n_tokens):
        found.append(value)
        return None
    return value


def _token_axis(tensor: torch.Tensor, n_tokens: int) -> int | None:
    """Find the axis that counts tokens: the second of (1, n_tokens, ...), or the only one."""
    if tensor.dim() >= 2 and tensor.shape[0] == 1 and tensor.shape[1] == n_tokens:
        return 1
    return 0 if tensor.dim() == 1 and tensor.shape[0] == n_tokens else None


def _pick(value: Any, positions: torch.Tensor, n_tokens: int, taken: dict[int, Any]) -> Any:
    if isinstance(value, torch.Tensor):
        axis = _token_axis(value, n_tokens)
        if axis is None:
            return value
        if id(value) not in taken:
            taken[id(value)] = value.index_select(axis, positions.to(value.device))
        return taken[id(value)]
    if isinstance(value, tuple | list):
        return type(value)(_pick(item, positions, n_tokens, taken) for item in value)
    return value


def _same(mine: Any, theirs: Any, n: int, n_longer: int) -> bool:
    if isinstance(mine, torch.Tensor) and isinstance(theirs, torch.Tensor):
        axis = _token_axis(mine, n)
        other = theirs if axis is None else theirs.narrow(axis, 0, n)
        return _token_axis(theirs, n_longer) == axis and torch.equal(mine, other)
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return mine.keys() == theirs.keys() and all(
            _same(mine[name], theirs[name], n, n_longer) for name in mine
        )
    if isinstance(mine, tuple | list) and isinstance(theirs, tuple | list):
        return len(mine) == len(theirs) and all(
            _same(a, b, n, n_longer) for a, b in zip(mine, theirs, strict=True)
        )
    return type(mine) is type(theirs)


def _starts(starts: torch.Tensor | None, n_tokens: int) -> torch.Tensor:
    return torch.zeros(n_tokens, dtype=torch.long) if starts is None else starts.cpu()
