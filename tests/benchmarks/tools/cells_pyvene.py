"""A cell of a causal map as pyvene's causal tracing tutorial runs it.

Two interventions: noise on the first block's input, and the clean run's state put back at the
cell. The tutorial's noise is one fixed sample; the one here has a sample for every row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyvene
import torch
from job import Job, main


def prepare(job: Job) -> Callable[[int, int], torch.Tensor]:
    """Make an intervenable model a cell; the clean run is the source, run again for each."""
    n_samples, last_dim = len(job.noise), job.noise.shape[-1]
    noise, span = job.noise, job.span
    base = {"input_ids": job.ids.repeat(n_samples, 1)}

    class SampleNoise(pyvene.ConstantSourceIntervention, pyvene.LocalistRepresentationIntervention):
        """Adds every row's own sample."""

        def forward(self, base: Any, source: Any = None, subspaces: Any = None, **_: Any) -> Any:
            base[..., :last_dim] += noise
            return base

    def run(layer: int, position: int) -> torch.Tensor:
        config = pyvene.IntervenableConfig(
            representations=[
                pyvene.RepresentationConfig(0, "block_input"),
                pyvene.RepresentationConfig(layer, "block_output"),
            ],
            intervention_types=[SampleNoise, pyvene.VanillaIntervention],
        )
        model = pyvene.IntervenableModel(config, job.model)
        model.disable_model_gradients()
        at, over = [[position]] * n_samples, [span] * n_samples
        _, output = model(base, [None, base], {"sources->base": ([None, at], [over, at])})
        return output.logits

    return run


main("pyvene", prepare)
