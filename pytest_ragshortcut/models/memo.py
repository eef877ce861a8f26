"""Readings and answers kept by key: in memory for one run, in a directory across runs."""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, fields, is_dataclass
from hashlib import sha256
from math import prod
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from time import monotonic
from typing import Any, Generic, TypeVar

import numpy as np
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from pytest_ragshortcut.core.plans import Array, Contributions, RowReading
from pytest_ragshortcut.core.ports import Generated
from pytest_ragshortcut.errors import OptionError

_FORMAT = 1
_LOCK_TIMEOUT_S = 600.0
_MAX_LOCKS = 64
"""How many entries one call computes alone; of the rest, others may compute the same."""
_OVERHEAD_BYTES = 512
_BYTES_PER_CHARACTER = 6
"""What a result takes in memory beside its numbers, about: once, and by what describes it."""

_T = TypeVar("_T")
_Name = tuple[str, str]
"""The kind of an entry, and its key."""
Compute = Callable[[Sequence[int]], Iterable[_T]]
"""Given indices, yields the result of each."""


@dataclass(frozen=True, eq=False)
class _Entry:
    """A result as it is kept: a JSON text, and the arrays that it describes, end to end."""

    text: str
    values: Array
    """(n_values,) read-only, and so is all that is cut from it."""

    @property
    def n_bytes(self) -> int:
        return _BYTES_PER_CHARACTER * len(self.text) + self.values.nbytes + _OVERHEAD_BYTES


@dataclass(frozen=True)
class _Kind(Generic[_T]):
    """One sort of result, and its form as an entry."""

    name: str
    pack: Callable[[_T], _Entry]
    unpack: Callable[[_Entry], _T]


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
        self._kept: OrderedDict[_Name, tuple[Any, int]] = OrderedDict()
        self._n_bytes = 0
        if self.directory is not None:
            _require_writable(self.directory)

    def readings(
        self, keys: Sequence[str], compute: Compute[tuple[RowReading, ...]]
    ) -> list[tuple[RowReading, ...]]:
        """Return the readings under keys, computing and keeping those that are missing.

        Args:
            keys: hex digests.
            compute: given the indices of the missing keys, yields their results in that order.
                Each is kept as it comes, so that one that fails costs those behind it alone.
        """
        return self._recalled(_READINGS, keys, compute)

    def generated(
        self, keys: Sequence[str], compute: Compute[tuple[Generated, ...]]
    ) -> list[tuple[Generated, ...]]:
        """Return the continuations under keys, as `readings` does."""
        return self._recalled(_GENERATED, keys, compute)

    def forget(self) -> None:
        """Forget what memory holds. The directory stays as it is."""
        self._kept.clear()
        self._n_bytes = 0

    def _recalled(self, kind: _Kind[_T], keys: Sequence[str], compute: Compute[_T]) -> list[_T]:
        places: dict[str, int] = {}
        for index, key in enumerate(keys):
            places.setdefault(key, index)
        found: dict[str, _T] = {}
        missing = self._find(kind, list(places), found)
        with ExitStack() as stack:
            if missing and self.directory is not None:
                until = monotonic() + _LOCK_TIMEOUT_S
                # All processes in one order, so that no two wait for each other.
                for key in sorted(missing)[:_MAX_LOCKS]:
                    stack.enter_context(_alone(self._path(key), until))
                # Whoever held a lock before may have stored it.
                missing = self._find(kind, missing, found)
            results = compute([places[key] for key in missing]) if missing else ()
            for key, result in zip(missing, results, strict=True):
                found[key] = self._add(kind, key, result)
        self.hits += len(keys) - len(missing)
        return [found[key] for key in keys]

    def _find(self, kind: _Kind[_T], keys: Sequence[str], found: dict[str, _T]) -> list[str]:
        """Look keys up in memory and in the directory; return those that are in neither."""
        for key in keys:
            name = (kind.name, key)
            if name in self._kept:
                self._kept.move_to_end(name)
                found[key] = self._kept[name][0]
            elif self.directory is not None:
                entry = _load(self._path(key), name, kind.unpack)
                if entry is not None:
                    found[key] = self._keep(kind, key, entry)
        return [key for key in keys if key not in found]

    def _add(self, kind: _Kind[_T], key: str, result: _T) -> _T:
        """Keep a new result. What is returned is a copy, which nobody can write to."""
        self.misses += 1
        entry = kind.pack(result)
        if self.directory is not None:
            _store(self._path(key), (kind.name, key), entry)
        return self._keep(kind, key, entry)

    def _keep(self, kind: _Kind[_T], key: str, entry: _Entry) -> _T:
        result, name = kind.unpack(entry), (kind.name, key)
        if entry.n_bytes <= self.max_bytes:
            self._kept[name] = result, entry.n_bytes
            self._n_bytes += entry.n_bytes
        while len(self._kept) > self.max_entries or self._n_bytes > self.max_bytes:
            _, (_, n_bytes) = self._kept.popitem(last=False)
            self._n_bytes -= n_bytes
        return result

    def _path(self, key: str) -> Path:
        assert self.directory is not None
        return self.directory / key[:2] / f"{key}.safetensors"


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


_READINGS = _Kind("readings", _packed_readings, _unpacked_readings)
_GENERATED = _Kind("generated", _packed_answers, _unpacked_answers)


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
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError), NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(data)
            file.close()
            os.replace(file.name, path)
        finally:
            with suppress(OSError):
                os.unlink(file.name)


@contextmanager
def _alone(path: Path, until: float) -> Iterator[None]:
    """Hold the lock of an entry, or go on without where it is not to be had in time, or at all."""
    lock = FileLock(path.with_suffix(".lock"), timeout=max(0.0, until - monotonic()))
    with suppress(OSError, NotImplementedError):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        if lock.is_locked:
            # Who waited and who comes now may hold two locks: at worst both compute.
            with suppress(OSError):
                os.unlink(lock.lock_file)
            lock.release()
