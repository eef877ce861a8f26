"""Which model answers, and how it is run, in a few words."""

from __future__ import annotations

from itertools import chain

from transformers import PreTrainedModel

from pytest_ragshortcut.core.work import Identity
from pytest_ragshortcut.models.executors import Engine
from pytest_ragshortcut.models.incremental.executor import IncrementalExecutor

_SHOWN_DIGITS = 12


def identify(name: str, model: PreTrainedModel, engine: Engine) -> Identity:
    """Describe a model as it is now; its executor is chosen if it was not yet.

    Raises:
        ModelError: if no executor can run the model.
    """
    is_incremental = isinstance(engine.executor, IncrementalExecutor)
    tensors = {id(t): t for t in chain(model.parameters(), model.buffers())}
    return Identity(
        name=name,
        fingerprint=(engine.content or "changing")[:_SHOWN_DIGITS],
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        attention=str(model.config.get_text_config()._attn_implementation),
        executor="incremental" if is_incremental else "reference",
        n_layers=len(engine.architecture.layers),
        n_parameters=sum(p.numel() for p in {id(p): p for p in model.parameters()}.values()),
        n_bytes=sum(t.numel() * t.element_size() for t in tensors.values()),
    )
