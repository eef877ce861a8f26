"""What a row's matrix products take by themselves: the part of its time that no code can spare.

Every product that a row asks torch for is noted by its shapes, and all are carried out again on
numbers that mean nothing, with the model's own weights: they come from memory as they did. Of few
rows a product is dear, since reading the weights takes as long as for many: this is the floor that
a count of token-layers does not see.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.models import Loaded

_aten = torch.ops.aten
_PRODUCTS = {_aten.linear, _aten.mm, _aten.addmm, _aten.bmm, _aten.baddbmm, _aten.matmul}


class Products(TorchDispatchMode):
    """Notes the matrix products that are carried out under it."""

    def __init__(self, loaded: Loaded) -> None:
        super().__init__()
        self.noted: list[partial[Any]] = []
        self._weights = {p.data_ptr() for p in loaded.model.parameters()}
        # One tensor of each layout stands for all that are not weights.
        self._stand_ins: dict[tuple[object, ...], torch.Tensor] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Carry an operation out, and note it if it is a product."""
        named = kwargs or {}
        if function.overloadpacket in _PRODUCTS:
            given = [self._without_numbers(arg) for arg in args]
            into = {name: self._without_numbers(arg) for name, arg in named.items()}
            self.noted.append(partial(function, *given, **into))
        return function(*args, **named)

    def again(self) -> None:
        """Carry all of them out once more."""
        with torch.inference_mode():
            for product in self.noted:
                product()

    def _without_numbers(self, arg: Any) -> Any:
        if not isinstance(arg, torch.Tensor) or arg.data_ptr() in self._weights:
            return arg
        layout = (tuple(arg.shape), arg.stride(), arg.dtype)
        if layout not in self._stand_ins:
            room = 1 + sum((n - 1) * s for n, s in zip(arg.shape, arg.stride(), strict=True))
            flat = torch.full((max(room, 0),), 0.5, dtype=arg.dtype, device=arg.device)
            self._stand_ins[layout] = flat.as_strided(arg.shape, arg.stride())
        return self._stand_ins[layout]
