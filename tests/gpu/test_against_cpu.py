"""The same numbers on a GPU, where there is one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pytest_ragshortcut import (
    RagCase,
    RagModel,
    attention_contributions,
    attention_knockout,
    causal_trace,
    counterfactual_swap,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is at hand"),
]

CASE = RagCase("Where was Eavan Boland born?", "Eavan Boland was born in Cork.")


def test_auto_is_cuda_and_agrees_with_the_cpu() -> None:
    gpu = RagModel.from_pretrained("embedded:reader")
    cpu = RagModel.from_pretrained("embedded:reader", device="cpu")
    assert gpu.model.device.type == "cuda"
    for read in (
        lambda model: counterfactual_swap(model, CASE).follow_each,
        lambda model: attention_knockout(model, CASE).probability,
        lambda model: attention_contributions(model, CASE).summed,
        lambda model: causal_trace(model, CASE, corruption="mask").restored,
    ):
        np.testing.assert_allclose(read(gpu), read(cpu), rtol=1e-3, atol=1e-4)
