"""What the tests that need a CUDA device share. `pytest -m gpu` runs them alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def whole_products() -> Iterator[None]:
    """Multiply single-precision matrices in single precision, not in TensorFloat-32."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)
