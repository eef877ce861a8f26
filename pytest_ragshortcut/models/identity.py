"""Which model answers, and how it is run, in a few words."""

from __future__ import annotations

from itertools import chain
from typing import Any

from transformers import PreTrainedModel

from pytest_ragshortcut.core.work import Identity
from pytest_ragshortcut.models.executors import Engine
from pytest_ragshortcut.models.fingerprint import libraries
from pytest_ragshortcut.models.incremental.executor import IncrementalExecutor

_SHOWN_DIGITS = 12


def identify(name: str, model: PreTrainedModel, engine: Engine) -> Identity:
    """Describe a model as it is now; its executor is chosen if it was not yet.

    Raises:
        ModelError: if no executor can run the model.
    """
    is_incremental = isinstance(engine.executor, IncrementalExecutor)
    tensors = {id(t): t for t in chain(model.parameters(), model.buffers())}
    content = engine.content
    return Identity(
        name=name,
        fingerprint=(content.whole or "changing")[:_SHOWN_DIGITS],
        weights=content.weights[:_SHOWN_DIGITS],
        tokenizer=content.tokenizer[:_SHOWN_DIGITS],
        chat_template=content.chat_template[:_SHOWN_DIGITS],
        config=content.config[:_SHOWN_DIGITS],
        quantization=_quantization(model),
        libraries=libraries(),
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        attention=str(model.config.get_text_config()._attn_implementation),
        executor="incremental" if is_incremental else "reference",
        n_layers=len(engine.architecture.layers),
        n_parameters=sum(p.numel() for p in {id(p): p for p in model.parameters()}.values()),
        n_bytes=sum(t.numel() * t.element_size() for t in tensors.values()),
    )


def _quantization(model: PreTrainedModel) -> str:
    # A checkpoint's own is a dict; one that was asked for at loading is an object, with an enum.
    config: Any = getattr(model.config, "quantization_config", None) or {}
    method = config.get("quant_method") if isinstance(config, dict) else config.quant_method
    return str(getattr(method, "value", method) or "")
