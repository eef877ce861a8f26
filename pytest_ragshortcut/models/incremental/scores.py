"""Softmax attention over keys that lie in several places, merged exactly.

Attention over a set of keys is known by two numbers a query: the weighted mean of the values and
the log of the sum of the exponentiated scores. Two disjoint sets of keys merge by these alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

# Scores are made and used up in blocks of this many numbers, about what a core's cache holds.
_MAX_SCORES = 1 << 21
# Below these sizes a fused kernel costs more than it saves.
_FUSED_QUERIES, _FUSED_KEYS = 32, 64


@dataclass(frozen=True)
class Scoring:
    """How an architecture turns queries and keys into scores."""

    scale: float
    """What the dot products are multiplied with."""
    softcap: float | None = None
    """Scores become softcap * tanh(score / softcap) (Gemma 2)."""

    def of(self, products: torch.Tensor) -> torch.Tensor:
        """Turn dot products, which are used up, into scores in at least single precision."""
        scores = products.to(accumulation_dtype(products.dtype)).mul_(self.scale)
        if self.softcap is None:
            return scores
        # Not in place behind the tanh: its gradient needs what it gave.
        return scores.div_(self.softcap).tanh_() * self.softcap


@dataclass(frozen=True)
class Attended:
    """Attention over one set of keys, in at least single precision."""

    output: torch.Tensor
    """(..., n_queries, d_value) the weighted mean of the values; zero where no key is visible."""
    log_total: torch.Tensor
    """(..., n_queries) log of the sum of the exponentiated scores; -inf where none is visible."""


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scoring: Scoring,
    *,
    hidden: torch.Tensor | None = None,
    causal: bool = False,
) -> Attended:
    """Attend to one set of keys, in blocks of queries.

    Args:
        query: (n_batch, n_kv_heads, group, n_queries, d_key).
        key: (n_batch, n_kv_heads, n_keys, d_key).
        value: (n_batch, n_kv_heads, n_keys, d_value).
        scoring: scale and softcap.
        hidden: (n_batch or 1, n_queries, n_keys) True where a query does not see a key.
        causal: whether query i sees keys 0 to i alone; as many queries as keys.
    """
    if hidden is None and _is_fused(query, key, value, scoring):
        return _fused(query, key, value, scoring, causal=causal)
    n_queries, n_keys = query.shape[-2], key.shape[-2]
    if causal:
        ones = torch.ones(n_queries, n_keys, dtype=torch.bool, device=query.device)
        hidden = ones.triu(1)[None]
    per_query = query.shape[:-2].numel() * n_keys
    step = max(1, _MAX_SCORES // max(1, per_query))
    parts = [
        _attend_block(
            query[..., start : start + step, :],
            key,
            value,
            scoring,
            None if hidden is None else hidden[:, start : start + step],
        )
        for start in range(0, n_queries, step)
    ]
    if len(parts) == 1:
        return parts[0]
    return Attended(
        torch.cat([part.output for part in parts], dim=-2),
        torch.cat([part.log_total for part in parts], dim=-1),
    )


def merge(one: Attended, other: Attended) -> Attended:
    """Merge attention over two disjoint sets of keys."""
    total = torch.logaddexp(one.log_total, other.log_total)
    return Attended(
        one.output * _share(one.log_total, total) + other.output * _share(other.log_total, total),
        total,
    )


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which shares are summed: never less than single precision."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _attend_block(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scoring: Scoring,
    hidden: torch.Tensor | None,
) -> Attended:
    group, n_queries = query.shape[-3], query.shape[-2]
    flat = query.flatten(-3, -2)
    scores = scoring.of(torch.matmul(flat, key.mT)).unflatten(-2, (group, n_queries))
    if hidden is not None:
        scores.masked_fill_(hidden[:, None, None], -torch.inf)
    largest = scores.amax(dim=-1, keepdim=True).nan_to_num(neginf=0.0)
    scores.sub_(largest).exp_()
    total = scores.sum(dim=-1, keepdim=True)
    weights = scores.flatten(-3, -2).to(value.dtype)
    output = torch.matmul(weights, value).to(total.dtype).unflatten(-2, (group, n_queries))
    output /= total.clamp_min(torch.finfo(total.dtype).tiny)
    return Attended(output, (largest + total.log())[..., 0])


def _share(part: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    # Where neither side sees a key both are -inf, and their difference is NaN.
    return (part - total).nan_to_num(nan=-torch.inf).exp()[..., None]


def _is_fused(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scoring: Scoring
) -> bool:
    return (
        query.device.type == "cpu"
        and query.dtype == torch.float32
        and scoring.softcap is None
        and key.shape[-1] == value.shape[-1]
        and query.shape[-2] * query.shape[-3] >= _FUSED_QUERIES
        and key.shape[-2] >= _FUSED_KEYS
        and hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu")
    )


def _fused(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scoring: Scoring, *, causal: bool
) -> Attended:
    """Attend with the kernel behind scaled_dot_product_attention, which alone hides log_total."""
    n_batch, n_kv, group, n_queries, width = query.shape
    if causal:
        flat = query.reshape(n_batch, n_kv * group, n_queries, width)
        key, value = (x.repeat_interleave(group, dim=1) for x in (key, value))
    else:
        flat = query.reshape(n_batch, n_kv, group * n_queries, width)
    output, log_total = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        flat, key, value, 0.0, causal, scale=scoring.scale
    )
    return Attended(
        output.reshape(n_batch, n_kv, group, n_queries, width),
        log_total.reshape(n_batch, n_kv, group, n_queries),
    )
