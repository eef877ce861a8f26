"""A cell of a causal map as nnsight runs it: one trace, its batch's row 0 the clean run."""

from __future__ import annotations

from collections.abc import Callable

import torch
from job import Job, main
from nnsight import NNsight


def prepare(job: Job) -> Callable[[int, int], torch.Tensor]:
    """Wrap the model; its embedding and blocks are reached by their own names."""
    model = NNsight(job.model)
    batch = job.ids.repeat(1 + len(job.noise), 1)
    span, noise = job.span, job.noise
    is_gpt2 = hasattr(job.model, "transformer")

    def run(layer: int, position: int) -> torch.Tensor:
        embedding = model.transformer.wte if is_gpt2 else model.model.embed_tokens
        block = model.transformer.h[layer] if is_gpt2 else model.model.layers[layer]
        with model.trace(batch):
            embedding.output[1:, span] += noise
            block.output[1:, position] = block.output[0, position]
            logits = model.lm_head.output.save()
        return logits[1:]

    return run


main("nnsight", prepare)
