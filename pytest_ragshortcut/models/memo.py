"""Readings and answers kept by key: in memory for one run, in a directory across runs."""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, is_dataclass
from hashlib import sha256
from math import prod
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import Any, TypeVar

import numpy as np
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from pytest_ragshortcut.core.plans import Array, Contributions, RowReading
from pytest_ragshortcut.core.ports import Generated
from pytest_ragshortcut.errors import OptionError

_FORMAT = 1
_LOCK_TIMEOUT_S = 600.0
_OVERHEAD_BYTES = 512
"""What an entry takes in memory beside its content, about."""

_T = TypeVar("_T")
_Name = tuple[str, str]
"""The kind of an entry, and its key."""


@dataclass(frozen=True, eq=False)
class _Entry:
    """A result as it is kept: a JSON text, and the arrays that it describes, end to end."""

    text: str
    values: Array
    """(n_values,) read-only, and so is all that is cut from it."""

    @property
    def n_bytes(self) -> int:
        return len(self.text) + self.values.nbytes + _OVERHEAD_BYTES


class Memo:
    """Remembers what was computed under a key: the same bits come back, and are read-only.

    Args:
        directory: where entries outlive the process, which several may share; None for memory
            alone.
        max_entries: how many entries memory holds. The one unused for longest goes first.
        max_bytes: how many bytes they may take, about. The directory has no limit.

    Raises:
        OptionError: if nothing can be written to the directory.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        max_entries: int = 4096,
        max_bytes: int = 256 * 2**20,
    ) -> None:
        # Absolute, because tests change the working directory.
        self.directory = None if directory is None else directory.absolute()
        self.max_entries, self.max_bytes = max_entries, max_bytes
        self.hits = 0
        """How many results were found."""
        self.misses = 0
        """How many were to be computed."""
        self._entries: OrderedDict[_Name, _Entry] = OrderedDict()
        self._n_bytes = 0
        if self.directory is not None:
            _require_writable(self.directory)

    def readings(
        self, key: str, compute: Callable[[], tuple[RowReading, ...]]
    ) -> tuple[RowReading, ...]:
        """Return the readings under a key, a hex digest, or compute and keep them."""
        name = ("readings", key)
        return self._recalled(name, lambda: _packed_readings(compute()), _unpacked_readings)

    def generated(
        self, key: str, compute: Callable[[], tuple[Generated, ...]]
    ) -> tuple[Generated, ...]:
        """Return the continuations under a key, a hex digest, or compute and keep them."""
        name = ("generated", key)
        return self._recalled(name, lambda: _packed_answers(compute()), _unpacked_answers)

    def _recalled(
        self, name: _Name, compute: Callable[[], _Entry], unpack: Callable[[_Entry], _T]
    ) -> _T:
        entry = self._entries.get(name)
        if entry is not None:
            self.hits += 1
            self._entries.move_to_end(name)
            return unpack(entry)
        if self.directory is None:
            self.misses += 1
            entry = compute()
        else:
            path = self.directory / name[1][:2] / f"{name[1]}.safetensors"
            entry = self._through_disk(path, name, compute, unpack)
        self._keep(name, entry)
        return unpack(entry)

    def _through_disk(
        self,
        path: Path,
        name: _Name,
        compute: Callable[[], _Entry],
        unpack: Callable[[_Entry], object],
    ) -> _Entry:
        found = _load(path, name, unpack)
        if found is None:
            with _alone(path) as is_alone:
                # Whoever held the lock before may have stored it.
                found = _load(path, name, unpack)
                if found is None:
                    self.misses += 1
                    entry = compute()
                    if is_alone:
                        _store(path, name, entry)
                    return entry
        self.hits += 1
        return found

    def _keep(self, name: _Name, entry: _Entry) -> None:
        if entry.n_bytes > self.max_bytes:
            return
        self._entries[name] = entry
        self._n_bytes += entry.n_bytes
        while len(self._entries) > self.max_entries or self._n_bytes > self.max_bytes:
            _, dropped = self._entries.popitem(last=False)
            self._n_bytes -= dropped.n_bytes


def _require_writable(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=directory):
            pass
    except OSError as error:
        expected = "a directory that can be made and written to"
        raise OptionError(option="--rag-cache", value=str(directory), expected=expected) from error


def _packed(described: list[Any], arrays: list[Array]) -> _Entry:
    values = np.concatenate([np.empty(0), *(array.ravel() for array in arrays)])
    values.setflags(write=False)
    return _Entry(json.dumps(described, separators=(",", ":")), values)


def _packed_readings(readings: tuple[RowReading, ...]) -> _Entry:
    arrays: list[Array] = []

    def described(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays.append(value)
            return value.shape
        if is_dataclass(value):
            return {part.name: described(getattr(value, part.name)) for part in fields(value)}
        return value

    return _packed([described(reading) for reading in readings], arrays)


def _unpacked_readings(entry: _Entry) -> tuple[RowReading, ...]:
    stop = 0

    def restored(part: Any) -> Any:
        nonlocal stop
        if isinstance(part, dict):
            return Contributions(**{name: restored(value) for name, value in part.items()})
        if isinstance(part, list):
            start, stop = stop, stop + prod(part)
            return entry.values[start:stop].reshape(part)
        return part

    rows = json.loads(entry.text)
    return tuple(
        RowReading(**{name: restored(value) for name, value in row.items()}) for row in rows
    )


def _packed_answers(answers: tuple[Generated, ...]) -> _Entry:
    return _packed([asdict(answer) for answer in answers], [])


def _unpacked_answers(entry: _Entry) -> tuple[Generated, ...]:
    return tuple(
        Generated(**{**answer, "token_ids": tuple(answer["token_ids"])})
        for answer in json.loads(entry.text)
    )


def _layout() -> str:
    """Name the format: files written before a field was added are foreign, not incomplete."""
    kinds = (RowReading, Contributions, Generated)
    return json.dumps([_FORMAT, *([part.name for part in fields(kind)] for kind in kinds)])


def _labels(name: _Name, entry: _Entry) -> dict[str, str]:
    """Describe an entry in its file's metadata, with a checksum of all that the file holds."""
    labels = {"format": _layout(), "kind": name[0], "key": name[1], "text": entry.text}
    seal = sha256(json.dumps(labels).encode() + entry.values.tobytes())
    return {**labels, "sha256": seal.hexdigest()}


def _load(path: Path, name: _Name, unpack: Callable[[_Entry], object]) -> _Entry | None:
    """Read an entry, or return None for a file that is missing, damaged or another's."""
    try:
        with safe_open(path, framework="numpy") as file:
            # A copy: what safetensors returns is a view of bytes that stay writable.
            labels, values = file.metadata(), file.get_tensor("values").copy()
        entry = _Entry(labels["text"], values)
        if values.dtype != np.float64 or labels != _labels(name, entry):
            return None
        values.setflags(write=False)
        unpack(entry)
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return entry


def _store(path: Path, name: _Name, entry: _Entry) -> None:
    """Write an entry whole or not at all: on a full disk it is lost, and its result is not."""
    data = save({"values": entry.values}, _labels(name, entry))
    with suppress(OSError), NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(data)
            file.close()
            os.replace(file.name, path)
        finally:
            with suppress(OSError):
                os.unlink(file.name)


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Hold the lock of an entry; give False where it is not to be had in time, or at all."""
    lock = FileLock(path.with_suffix(".lock"), timeout=_LOCK_TIMEOUT_S)
    with suppress(OSError, NotImplementedError):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield lock.is_locked
    finally:
        if lock.is_locked:
            # Who waited and who comes now may hold two locks: at worst both compute.
            with suppress(OSError):
                os.unlink(lock.lock_file)
            lock.release()
