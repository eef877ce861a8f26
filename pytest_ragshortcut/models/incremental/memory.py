"""How much memory a pass may take, and how many tokens that is."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

# More packed tokens than this gain no speed on a CPU, and leave its caches.
_CPU_TOKENS = 8192
_SHARE_OF_FREE = 0.5


@dataclass(frozen=True)
class Budget:
    """Bytes, and what they buy on one model."""

    n_bytes: int
    """For everything the executor keeps or computes at once."""
    token_bytes: int
    """What one packed token takes inside a layer."""
    kept_bytes: int
    """What one kept token takes over all layers."""
    max_tokens: int
    """The most tokens in a pass, however much memory there is."""

    @property
    def packed_tokens(self) -> int:
        """How many tokens fit a pass, within a third of the budget."""
        return max(1, min(self.max_tokens, self.n_bytes // 3 // self.token_bytes))

    @property
    def kept_tokens(self) -> int:
        """How many tokens' states may be kept for a plan, within another third."""
        return max(1, self.n_bytes // 3 // self.kept_bytes)

    @property
    def stored_bytes(self) -> int:
        """How many bytes of states may wait for the next plan, the last third."""
        return self.n_bytes // 3


def budget_of(model: PreTrainedModel, n_bytes: int | None = None) -> Budget:
    """Plan for a number of bytes; None takes a share of what is free now."""
    config = model.config.get_text_config()
    width = int(config.hidden_size)
    inner = max(
        int(getattr(config, name, 0) or 0)
        for name in ("intermediate_size", "n_inner", "ffn_dim", "moe_intermediate_size")
    )
    item = torch.finfo(model.dtype).bits // 8
    return Budget(
        n_bytes=free_bytes(model.device) if n_bytes is None else n_bytes,
        token_bytes=item * (16 * width + 4 * max(inner, 4 * width)),
        kept_bytes=item * 3 * width * int(config.num_hidden_layers),
        max_tokens=_CPU_TOKENS if model.device.type == "cpu" else 1 << 30,
    )


def free_bytes(device: torch.device) -> int:
    """Return a share of the memory that is free on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * _SHARE_OF_FREE)
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        free = 4 << 30
    return int(free * _SHARE_OF_FREE)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell an allocation that failed from any other error."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
