"""Attention contributions from kept keys and values: no layer is called again.

The norm of a value behind one head's share of the output projection is that of R v, where R is the
triangular factor of this share: as wide as a head, not as the model. R is made once for a model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pytest_ragshortcut.core.plans import Contributions, PlanRow
from pytest_ragshortcut.errors import UnsupportedArchitectureError
from pytest_ragshortcut.models.architectures import LayerMap
from pytest_ragshortcut.models.incremental.passes import Passes
from pytest_ragshortcut.models.incremental.runs import KeptRun

# A norm between attention and residual stream that is no RMS norm mixes the parts.
_MAX_SPREAD = 1e-2


@dataclass(frozen=True, eq=False)
class _Projection:
    """What one layer's output projection adds, and what the norm behind it does."""

    bias: torch.Tensor
    """(d_model,)."""
    direction: torch.Tensor
    """(d_model,) what the norm behind the projection multiplies each entry with, up to size."""


class ContributionReader:
    """Reads the contributions of kept runs."""

    def __init__(self, passes: Passes) -> None:
        self.passes = passes
        self._projections: dict[int, _Projection] = {}
        self._factors: dict[int, torch.Tensor] = {}

    def forget(self) -> None:
        """Forget the projections: the model may have changed."""
        self._projections.clear()
        self._factors.clear()

    def read(self, run: KeptRun, row: PlanRow) -> Contributions:
        """Read every layer's contributions to a row's readers, means over them.

        Args:
            run: the clean run, up to the last reader: tokens behind it contribute nothing.
            row: which of them to read.

        Raises:
            UnsupportedArchitectureError: if a norm mixes the parts of the attention output.
        """
        n_read = len(run.ids)
        at: slice | list[int] = slice(n_read)
        if row.sources is not None:
            at = [p for p in row.sources if p < n_read]
        per_head, sums = [], []
        parts, hidden = torch.empty(0), dict[int, torch.Tensor]()
        queries = self.passes.queries(run, row.prompt.readers)
        outfit = self.passes.frame.outfit(run.outfit_tokens)
        readers = torch.tensor(row.prompt.readers, device=queries[0].device)
        for index, layer in enumerate(self.passes.layers):
            keys, values = run.keys_and_values(index)
            window = id(outfit.window_starts[index])
            if window not in hidden:
                hidden[window] = outfit.hidden(index, readers)
            weights = self._weights(index, queries[index], keys, hidden[window])
            values = values.to(weights.dtype)
            projection = self._projection(index, layer, weights.shape[1], values)
            size = self._sizes(layer, weights, values, projection)
            weights, values = weights[..., at], values[:, at]
            if row.heads:
                factors = self._head_factors(index, layer, weights.shape[1], values)
                parts = _product(values, factors, parts)
                norms = parts.unflatten(-1, (weights.shape[1], -1)).norm(dim=-1)
                # The mean over readers: (n_kv, group, n_readers, n_tokens) -> (n_heads, n_tokens).
                mean = (weights * size[:, None]).mean(dim=2)
                per_head.append((mean * norms.mT).flatten(0, 1))
            if row.summed:
                sums.append(self._sum(layer, weights, values, projection, size))
        n_tokens, n_heads = len(row.prompt.input_ids), queries[0].shape[0]
        # Behind the last reader nothing contributes.
        heads = np.zeros((len(queries), n_heads, n_tokens))
        total = np.zeros((len(queries), n_tokens))
        if row.heads:
            heads[..., at] = torch.stack(per_head).double().cpu().numpy()
        if row.summed:
            total[..., at] = torch.stack(sums).double().cpu().numpy()
        return Contributions(heads, total).asked(row)

    def _weights(
        self,
        index: int,
        query: torch.Tensor,
        keys: torch.Tensor,
        hidden: torch.Tensor,
    ) -> torch.Tensor:
        """Return (n_kv, group, n_readers, n_tokens) attention weights."""
        scoring, sinks = self.passes.scorings[index]
        n_kv = keys.shape[0]
        grouped = query.unflatten(0, (n_kv, -1))
        # As one matrix for each key head: broadcasting over the group would copy the keys.
        products = torch.matmul(grouped.flatten(1, 2), keys.mT).view(*grouped.shape[:3], -1)
        scores = scoring.of(products).masked_fill(hidden, -torch.inf)
        if sinks is None:
            return scores.softmax(dim=-1)
        sink = sinks.to(scores.dtype).view(n_kv, -1, 1, 1).expand(*scores.shape[:-1], 1)
        return torch.cat([scores, sink], dim=-1).softmax(dim=-1)[..., :-1]

    def _projection(
        self, index: int, layer: LayerMap, group: int, values: torch.Tensor
    ) -> _Projection:
        if index not in self._projections:
            assert layer.output is not None
            n_in = values.shape[0] * group * values.shape[-1]
            dtype = self.passes.frame.model.dtype
            nothing = torch.zeros(1, n_in, dtype=dtype, device=values.device)
            bias = layer.output(nothing).view(-1).to(values.dtype)
            direction = torch.ones_like(bias)
            if layer.post_norm is not None:
                direction = layer.post_norm(direction.to(dtype)).to(values.dtype)
            self._projections[index] = _Projection(bias, direction)
        return self._projections[index]

    def _head_factors(
        self, index: int, layer: LayerMap, group: int, values: torch.Tensor
    ) -> torch.Tensor:
        """Return (n_kv, d_value, group * d_value): |v @ factor| is the norm of a head's part."""
        if index not in self._factors:
            assert layer.output is not None
            projection = self._projection(index, layer, group, values)
            n_kv, width = values.shape[0], values.shape[-1]
            dtype = self.passes.frame.model.dtype
            eye = torch.eye(n_kv * group * width, dtype=dtype, device=values.device)
            # Through the module, so that a quantised or adapted projection needs no special case.
            matrix = layer.output(eye).view(len(eye), -1).to(values.dtype) - projection.bias
            heads = (matrix * projection.direction).unflatten(0, (n_kv, group, width))
            factors = torch.linalg.qr(heads.mT, mode="r").R
            self._factors[index] = factors.flatten(1, 2).mT.contiguous()
        return self._factors[index]

    def _sizes(
        self,
        layer: LayerMap,
        weights: torch.Tensor,
        values: torch.Tensor,
        projection: _Projection,
    ) -> torch.Tensor:
        """Return (n_readers,), what norm and multiplier scale each reader's parts with."""
        n_readers = weights.shape[2]
        if layer.post_norm is None:
            return weights.new_full((n_readers,), layer.multiplier)
        assert layer.output is not None
        heads = torch.matmul(weights, values[:, None]).flatten(0, 1).transpose(0, 1).flatten(1)
        total = layer.output(heads.to(self.passes.frame.model.dtype))
        size = total.pow(2).mean(dim=-1, keepdim=True).sqrt().expand_as(total)
        factor = (layer.post_norm(size) / size).to(weights.dtype)
        direction = projection.direction
        scale = (factor * direction).sum(dim=-1) / direction.pow(2).sum()
        spread = float((factor - scale[:, None] * direction).abs().max() / factor.abs().max())
        if not spread <= _MAX_SPREAD:
            raise UnsupportedArchitectureError(
                model=self.passes.frame.architecture.name,
                missing="the norm behind its attention is no RMS norm, and mixes contributions",
            )
        sizes: torch.Tensor = scale * layer.multiplier
        return sizes

    def _sum(
        self,
        layer: LayerMap,
        weights: torch.Tensor,
        values: torch.Tensor,
        projection: _Projection,
        size: torch.Tensor,
    ) -> torch.Tensor:
        """Return (n_tokens,), the mean over readers of the norm of the head sum."""
        assert layer.output is not None
        dtype = self.passes.frame.model.dtype
        norms = []
        for reader in range(weights.shape[2]):
            # (n_kv, group, n_tokens, d_value) -> (n_tokens, n_heads * d_value)
            parts = weights[:, :, reader, :, None] * values[:, None]
            flat = parts.flatten(0, 1).transpose(0, 1).flatten(1).to(dtype)
            output = layer.output(flat).to(values.dtype) - projection.bias
            norms.append((output * projection.direction).norm(dim=-1) * size[reader])
        return torch.stack(norms).mean(dim=0)


def _product(values: torch.Tensor, factors: torch.Tensor, into: torch.Tensor) -> torch.Tensor:
    """Multiply into an earlier product's memory: fresh memory costs as much as multiplying."""
    shape = (*values.shape[:-1], factors.shape[-1])
    if into.shape != shape or into.dtype != values.dtype or into.device != values.device:
        into = values.new_empty(shape)
    return torch.matmul(values, factors, out=into)
