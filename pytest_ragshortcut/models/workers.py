"""What one worker of pytest-xdist takes of a machine that several share: its cores, its GPU."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping

import torch

from pytest_ragshortcut.config import parts

_VISIBLE = "CUDA_VISIBLE_DEVICES"


def share_cores(environment: Mapping[str, str]) -> None:
    """Leave the other workers of pytest-xdist their cores, where this process is one of them."""
    share = worker_threads(_n_cores(), environment)
    if share is not None:
        torch.set_num_threads(min(share, torch.get_num_threads()))


def worker_threads(n_cores: int, environment: Mapping[str, str]) -> int | None:
    """Return a worker's share of the cores, or None where there is nothing to share or to say.

    Example:
        >>> worker_threads(8, {"PYTEST_XDIST_WORKER_COUNT": "3"})
        2
    """
    n_workers = environment.get("PYTEST_XDIST_WORKER_COUNT", "")
    if environment.get("OMP_NUM_THREADS") or not n_workers.isdecimal():
        return None
    return max(1, n_cores // max(1, int(n_workers)))


def deal_devices(environment: MutableMapping[str, str]) -> None:
    """Show this process its own GPU alone, where it is a worker and there are several.

    Some kernels run on the first device that a process sees, whatever device they are given, so
    that choosing 'cuda:1' would not do.
    """
    if "PYTEST_XDIST_WORKER" not in environment or torch.cuda.is_initialized():
        return
    dealt = worker_device(torch.cuda.device_count(), environment)
    if dealt is not None:
        environment[_VISIBLE] = dealt


def worker_device(n_devices: int, environment: Mapping[str, str]) -> str | None:
    """Return which of the devices that the caller shows is a worker's own, or None.

    Example:
        >>> worker_device(2, {"PYTEST_XDIST_WORKER": "gw3", "CUDA_VISIBLE_DEVICES": "4,6"})
        '6'
    """
    number = environment.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    shown = environment.get(_VISIBLE)
    devices = [str(i) for i in range(n_devices)] if shown is None else list(parts(shown))
    if not number.isdecimal() or len(devices) < 2:
        return None
    return devices[int(number) % len(devices)]


def _n_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
