"""What the machine and the software are, without names or paths."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve")


def describe(device: str, dtype: str) -> dict[str, Any]:
    """Describe what the numbers were measured on."""
    information = _cpu_information()
    return {
        "cpu": _field(information, "model name") or platform.machine(),
        "flags": [f for f in _FLAGS if f in (_field(information, "flags") or "").split()],
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "dtype": dtype,
        "blas": "mkl" if torch.backends.mkl.is_available() else "other",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "pytest-ragshortcut": version("pytest-ragshortcut"),
    }


def summary(machine: dict[str, Any]) -> str:
    """Say it in one line."""
    where = machine["device"] if machine["device"] != "cpu" else machine["cpu"]
    flags = f" ({', '.join(machine['flags'])})" if machine["flags"] else ""
    return (
        f"{where}{flags}, {machine['threads']} thread(s), {machine['dtype']}, "
        f"torch {machine['torch']}, transformers {machine['transformers']}"
    )


def _cpu_information() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _field(information: str, name: str) -> str | None:
    found = re.search(rf"^{name}\s*:\s*(.+)$", information, re.MULTILINE)
    return found.group(1).strip() if found else None
