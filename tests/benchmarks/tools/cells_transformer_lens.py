"""A cell of a causal map as TransformerLens runs it: hooks by name on a bridge, one forward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from job import Job, main
from transformer_lens.model_bridge import TransformerBridge


def prepare(job: Job) -> Callable[[int, int], torch.Tensor]:
    """Boot a bridge over the saved model; row 0 of each batch is the clean run."""
    bridge = TransformerBridge.boot_transformers(
        job.model_dir, device="cpu", tokenizer=job.tokenizer, hf_model=job.model
    )
    batch = job.ids.repeat(1 + len(job.noise), 1)

    def disturb(states: torch.Tensor, hook: Any) -> torch.Tensor:
        states = states.clone()
        states[1:, job.span] += job.noise
        return states

    def run(layer: int, position: int) -> torch.Tensor:
        def restore(states: torch.Tensor, hook: Any) -> torch.Tensor:
            states[1:, position] = states[0, position]
            return states

        hooks = [("hook_embed", disturb), (f"blocks.{layer}.hook_resid_post", restore)]
        logits: torch.Tensor = bridge.run_with_hooks(batch, fwd_hooks=hooks)
        return logits[1:]

    return run


main("transformer-lens", prepare)
