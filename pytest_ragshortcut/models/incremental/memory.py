"""How much memory a pass may take, and how many tokens that is."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass, replace

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
    max_kept: int = 1 << 40
    """The most tokens whose states are kept for a plan, likewise."""
    logits_bytes: int = 1
    """What one reader's logits take, and their log-softmax."""

    @property
    def packed_tokens(self) -> int:
        """How many tokens fit a pass, within a third of the budget."""
        return max(1, min(self.max_tokens, self.n_bytes // 3 // self.token_bytes))

    @property
    def read_tokens(self) -> int:
        """How many readers' logits are made at once, within a third of the budget."""
        return max(1, min(self.packed_tokens, self.n_bytes // 3 // self.logits_bytes))

    @property
    def kept_tokens(self) -> int:
        """How many tokens' states may be kept for a plan, within another third."""
        return max(1, min(self.max_kept, self.n_bytes // 3 // self.kept_bytes))

    @property
    def stored_bytes(self) -> int:
        """How many bytes of states may wait for the next plan, the last third."""
        return self.n_bytes // 3

    @property
    def is_least(self) -> bool:
        """Whether nothing is left to halve."""
        return self.packed_tokens == self.kept_tokens == 1

    def halved(self, demand: Demand) -> Budget:
        """Return half of this, in bytes and in what was asked of it when it was too much."""
        return replace(
            self,
            n_bytes=self.n_bytes // 2,
            max_tokens=max(1, min(self.packed_tokens, demand.packed) // 2),
            max_kept=max(1, min(self.kept_tokens, demand.kept) // 2),
        )


@dataclass(eq=False)
class Demand:
    """The most tokens that one attempt at a plan took on."""

    packed: int = 0
    """In one pass."""
    kept: int = 0
    """In the runs that the rows of a batch start from."""

    def is_of_one(self, n_tokens: int) -> bool:
        """Tell whether one prompt of so many tokens, clean and corrupted, may take as much."""
        return self.packed <= n_tokens and self.kept <= 2 * n_tokens


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
        logits_bytes=int(config.vocab_size) * (item + 2 * max(item, 4)),
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


def release_unused(device: torch.device) -> None:
    """Give back what nothing refers to any more."""
    # An error's traceback and its frames are a circle, which holds on to tensors.
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Tell an allocation that failed from any other error."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
