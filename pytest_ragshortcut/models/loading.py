"""Loading a checkpoint: safetensors only, no remote code unless asked for, clear refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from pytest_ragshortcut.config import DTYPES
from pytest_ragshortcut.errors import AlteredWeightsError, CheckpointNotFoundError, OptionError
from pytest_ragshortcut.models import embedded

EMBEDDED_PREFIX = "embedded:"


def load(
    name: str, *, device: str, dtype: str, revision: str | None, trust_remote_code: bool
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model and its tokenizer and place the model on its device.

    Raises:
        CheckpointNotFoundError: if there is no such checkpoint, or it cannot be read.
        AlteredWeightsError: if an embedded model is not the one shipped.
        OptionError: if the dtype or the device means nothing.
    """
    path = _resolve(name)
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code, "revision": revision}
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path, dtype=_dtype(dtype), use_safetensors=True, output_loading_info=True, **options
        )
        tokenizer = AutoTokenizer.from_pretrained(path, **options)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointNotFoundError(name=name, reason=reason) from error
    model, report = loaded
    # Transformers fills these in at random and carries on with a warning.
    if missing := sorted(report["missing_keys"]):
        reason = f"{len(missing)} weights are missing, {missing[0]} first"
        raise CheckpointNotFoundError(name=name, reason=reason)
    placed: Any = model.eval()
    return placed.to(_device(device)), tokenizer


def _resolve(name: str) -> str:
    if name.startswith(EMBEDDED_PREFIX):
        short = name.removeprefix(EMBEDDED_PREFIX)
        if short not in embedded.NAMES:
            known = ", ".join(EMBEDDED_PREFIX + known for known in embedded.NAMES)
            reason = f"the embedded models are {known}"
            raise CheckpointNotFoundError(name=name, reason=reason)
        if altered := embedded.altered(short):
            raise AlteredWeightsError(name=name, files=altered)
        return str(embedded.path(short))
    looks_local = name.startswith((".", "/", "~")) or name.count("/") > 1
    if looks_local and not Path(name).expanduser().is_dir():
        raise CheckpointNotFoundError(name=name, reason="there is no such directory")
    return str(Path(name).expanduser()) if Path(name).expanduser().is_dir() else name


def _device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        expected = "'auto', 'cpu', 'cuda', 'cuda:1' or another device that torch has here"
        raise OptionError(option="device", value=device, expected=expected) from error
    return found


def _dtype(dtype: str) -> str | torch.dtype:
    if dtype not in DTYPES:
        raise OptionError(option="dtype", value=dtype, expected=f"one of {', '.join(DTYPES)}")
    return dtype if dtype == "auto" else getattr(torch, dtype)
