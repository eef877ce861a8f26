"""The memo gives back the same bits or computes them again: never an exception, never another's."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from pytest_ragshortcut.core.plans import Contributions, RowReading
from pytest_ragshortcut.core.ports import Generated
from pytest_ragshortcut.errors import OptionError
from pytest_ragshortcut.models import memo as module
from pytest_ragshortcut.models.memo import Memo

ODD = np.array([-0.0, 5e-324, -np.inf, np.pi, np.frombuffer(b"\x01\0\0\0\0\0\xf8\x7f")[0]])
READINGS = (
    RowReading(ODD, said=True),
    RowReading(
        np.array([-1.5]),
        contributions=Contributions(
            np.arange(24.0).reshape(2, 3, 4), np.asfortranarray(np.arange(8.0).reshape(2, 4))
        ),
    ),
    RowReading(np.empty(0)),
)
ANSWERS = (Generated("Dublin", (5, 6)), Generated("", ()), Generated("Çork \ud800\n", (7,)))


def key(name: str) -> str:
    return sha256(name.encode()).hexdigest()


KEY = key("a")


class Counted:
    """A computation that counts how often it was carried out."""

    def __init__(self, result: Any) -> None:
        self.result, self.calls = result, 0

    def __call__(self) -> Any:
        self.calls += 1
        return self.result


def readings(memo: Memo, key: str, compute: Callable[[], Any]) -> tuple[RowReading, ...]:
    return memo.readings([key], lambda _: [compute()])[0]


def generated(memo: Memo, key: str, compute: Callable[[], Any]) -> tuple[Generated, ...]:
    return memo.generated([key], lambda _: [compute()])[0]


def never() -> Any:
    raise AssertionError("it was computed again")


def flat(value: Any) -> Any:
    """Return what equality of bits can be told by."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, tuple):
        return [flat(each) for each in value]
    if isinstance(value, RowReading | Contributions):
        return {name: flat(each) for name, each in vars(value).items()}
    return type(value), value


def path_in(directory: Path, of: str = KEY) -> Path:
    return directory / of[:2] / f"{of}.safetensors"


def file_names(directory: Path) -> list[str]:
    return sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())


@pytest.mark.parametrize("on_disk", [False, True])
def test_the_same_bits_come_back_and_nothing_is_computed_twice(
    tmp_path: Path, on_disk: bool
) -> None:
    memo = Memo(tmp_path if on_disk else None)
    rows, answers = Counted(READINGS), Counted(ANSWERS)
    for _ in range(3):
        assert flat(readings(memo, KEY, rows)) == flat(READINGS)
        assert generated(memo, key("b"), answers) == ANSWERS
    assert (rows.calls, answers.calls) == (1, 1)
    assert (memo.hits, memo.misses) == (4, 2)
    assert len(file_names(tmp_path)) == (2 if on_disk else 0)


def test_another_run_finds_what_this_one_stored(tmp_path: Path) -> None:
    readings(Memo(tmp_path), KEY, lambda: READINGS)
    generated(Memo(tmp_path), key("b"), lambda: ANSWERS)
    later = Memo(tmp_path)
    for _ in range(2):
        assert flat(readings(later, KEY, never)) == flat(READINGS)
        assert generated(later, key("b"), never) == ANSWERS
    assert (later.hits, later.misses) == (4, 0)
    assert file_names(tmp_path) == sorted(f"{k[:2]}/{k}.safetensors" for k in (KEY, key("b"))), (
        "nothing but entries stays"
    )


ARRAYS = st.lists(st.floats(width=64), max_size=4).map(lambda values: np.array(values, dtype=float))


@st.composite
def contributions(draw: st.DrawFn) -> Contributions:
    n_layers, n_heads, n_tokens = (draw(st.integers(0, 2)) for _ in range(3))
    generator = np.random.default_rng(draw(st.integers(0, 9)))
    return Contributions(
        generator.normal(size=(n_layers, n_heads, n_tokens)), generator.normal(size=(n_layers, 1))
    )


ROWS = st.builds(RowReading, ARRAYS, st.booleans(), st.none() | contributions())


@given(rows=st.lists(ROWS, max_size=4).map(tuple))
def test_any_readings_survive_the_disk(
    tmp_path_factory: pytest.TempPathFactory, rows: tuple[RowReading, ...]
) -> None:
    directory = tmp_path_factory.mktemp("cache")
    assert flat(readings(Memo(directory), KEY, lambda: rows)) == flat(rows)
    assert flat(readings(Memo(directory), KEY, never)) == flat(rows)


@pytest.mark.parametrize("on_disk", [False, True])
def test_no_result_can_be_written_to(tmp_path: Path, on_disk: bool) -> None:
    memo = Memo(tmp_path if on_disk else None)
    given_away = (RowReading(np.array([-1.0]), contributions=READINGS[1].contributions),)
    before = flat(given_away)
    results = [readings(memo, KEY, lambda: given_away), readings(memo, KEY, never)]
    if on_disk:
        results.append(readings(Memo(tmp_path), KEY, never))
    for (reading,) in results:
        for array in (reading.logprobs, *vars(reading.contributions).values()):
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0.0
            with pytest.raises(ValueError, match="WRITEABLE"):
                array.setflags(write=True)
    # Whoever computed them may still use the buffers.
    given_away[0].logprobs[0] = 7.0
    assert flat(readings(memo, KEY, never)) == before


def test_readings_and_answers_of_one_key_are_two_things(tmp_path: Path) -> None:
    for memo in (Memo(), Memo(tmp_path)):
        readings(memo, KEY, lambda: READINGS)
        assert generated(memo, KEY, lambda: ANSWERS) == ANSWERS
        assert flat(readings(memo, KEY, never)) == flat(READINGS)
    later = Memo(tmp_path)
    assert flat(readings(later, KEY, lambda: READINGS)) == flat(READINGS)


def test_memory_holds_so_many_entries_and_drops_the_one_unused_for_longest() -> None:
    memo = Memo(max_entries=2)
    for name in ("a", "b", "a", "c"):
        readings(memo, key(name), lambda: READINGS)
    assert (memo.hits, memo.misses) == (1, 3)
    readings(memo, key("a"), never)
    readings(memo, key("c"), never)
    again = Counted(READINGS)
    readings(memo, key("b"), again)
    assert again.calls == 1


def test_memory_holds_so_many_bytes() -> None:
    kilobytes = (RowReading(np.zeros(1024)),)
    memo = Memo(max_bytes=40 * 1024)
    for name in "abcdef":
        readings(memo, key(name), lambda: kilobytes)
    for name in "cdef":
        readings(memo, key(name), never)
    # Too large to be kept, and so no reason to drop what is.
    readings(memo, key("large"), lambda: (RowReading(np.zeros(10 * 1024)),))
    for name in "cdef":
        readings(memo, key(name), never)
    assert memo.misses == 7
    for name in "ab":
        again = Counted(kilobytes)
        readings(memo, key(name), again)
        assert again.calls == 1


def test_what_memory_dropped_the_disk_has(tmp_path: Path) -> None:
    memo = Memo(tmp_path, max_entries=1)
    readings(memo, key("a"), lambda: READINGS)
    readings(memo, key("b"), lambda: READINGS)
    assert flat(readings(memo, key("a"), never)) == flat(READINGS)


NUMBERS = [(RowReading(np.array([-float(index)])),) for index in range(6)]
NUMBERED = [key(str(index)) for index in range(6)]


@pytest.mark.parametrize("on_disk", [False, True])
def test_of_many_keys_only_those_that_are_missing_are_computed_and_together(
    tmp_path: Path, on_disk: bool
) -> None:
    memo = Memo(tmp_path if on_disk else None)
    asked: list[list[int]] = []

    def compute(missing: Sequence[int]) -> list[tuple[RowReading, ...]]:
        asked.append(list(missing))
        return [NUMBERS[index] for index in missing]

    memo.readings(NUMBERED[:1], compute)
    found = memo.readings(NUMBERED[:4], compute)
    again = memo.readings(NUMBERED[:4], compute)
    assert asked == [[0], [1, 2, 3]]
    assert flat(tuple(found)) == flat(tuple(again)) == flat(tuple(NUMBERS[:4]))
    assert (memo.hits, memo.misses) == (5, 4)
    assert memo.readings([], compute) == []


def test_a_key_that_is_asked_twice_at_once_is_computed_once() -> None:
    asked: list[list[int]] = []

    def compute(missing: Sequence[int]) -> list[tuple[RowReading, ...]]:
        asked.append(list(missing))
        return [NUMBERS[index] for index in missing]

    found = Memo().readings([NUMBERED[0], NUMBERED[1], NUMBERED[0]], compute)
    assert asked == [[0, 1]]
    assert [rows[0].logprobs[0] for rows in found] == [0.0, -1.0, 0.0]


def test_what_came_before_a_failure_is_kept_and_nothing_behind_it(tmp_path: Path) -> None:
    def failing(missing: Sequence[int]) -> Iterator[tuple[RowReading, ...]]:
        for index in missing:
            if index == 2:
                raise ValueError("the third")
            yield NUMBERS[index]

    for memo in (Memo(), Memo(tmp_path)):
        with pytest.raises(ValueError, match="the third"):
            memo.readings(NUMBERED[:4], failing)
        for index in (0, 1):
            assert flat(readings(memo, NUMBERED[index], never)) == flat(NUMBERS[index])
        for index in (2, 3):
            again = Counted(NUMBERS[index])
            readings(memo, NUMBERED[index], again)
            assert again.calls == 1


def test_more_keys_than_locks_are_all_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_LOCKS", 2)
    Memo(tmp_path).readings(NUMBERED, lambda missing: (NUMBERS[index] for index in missing))
    for index, each in enumerate(NUMBERED):
        assert flat(readings(Memo(tmp_path), each, never)) == flat(NUMBERS[index])
    assert len(file_names(tmp_path)) == len(NUMBERED)


def test_locks_are_taken_in_one_order_whatever_is_asked_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes that wait for each other's lock would wait for as long as they may."""
    taken: list[Path] = []
    alone = module._alone

    def watched(path: Path, until: float) -> Any:
        taken.append(path)
        return alone(path, until)

    monkeypatch.setattr(module, "_alone", watched)
    for keys in (NUMBERED, NUMBERED[::-1]):
        for each in tmp_path.rglob("*.safetensors"):
            each.unlink()
        Memo(tmp_path).readings(keys, lambda missing: (NUMBERS[index] for index in missing))
    half = len(NUMBERED)
    assert len(taken) == 2 * half
    assert taken[:half] == taken[half:]


def test_what_is_forgotten_is_computed_again_and_the_directory_is_not(tmp_path: Path) -> None:
    memory, disk = Memo(), Memo(tmp_path)
    for memo in (memory, disk):
        readings(memo, KEY, lambda: READINGS)
        memo.forget()
    again = Counted(READINGS)
    readings(memory, KEY, again)
    assert again.calls == 1
    assert flat(readings(disk, KEY, never)) == flat(READINGS)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _truncate_the_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _flip_a_bit_of_a_number(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-6] ^= 1
    path.write_bytes(data)


def _say_another_thing(path: Path) -> None:
    data = path.read_bytes()
    assert b"true" in data
    path.write_bytes(data.replace(b"true,", b"null,", 1))


def _recast(path: Path) -> None:
    data = path.read_bytes()
    assert b'"F64"' in data
    path.write_bytes(data.replace(b'"F64"', b'"I64"', 1))


def _write_text(path: Path) -> None:
    path.write_text("not a cache entry", encoding="utf-8")


def _relabel(path: Path, **labels: str) -> None:
    with safe_open(path, framework="numpy") as file:
        metadata, values = file.metadata(), file.get_tensor("values")
    save_file({"values": values}, path, {**metadata, **labels})


def _of_another_format(path: Path) -> None:
    _relabel(path, format="0")


def _of_another_key(path: Path) -> None:
    other = key("another")
    readings(Memo(path.parents[1]), other, lambda: (RowReading(np.array([-9.0])),))
    os.replace(path_in(path.parents[1], other), path)


def _without_labels(path: Path) -> None:
    save_file({"values": np.zeros(3)}, path)


def _without_values(path: Path) -> None:
    save_file({"weights": np.zeros(3)}, path, {"format": "1", "key": KEY, "text": "[]"})


DAMAGES = [
    _truncate, _truncate_the_header, _empty, _flip_a_bit_of_a_number, _say_another_thing, _recast,
    _write_text, _of_another_format, _of_another_key, _without_labels, _without_values,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_or_foreign_file_is_computed_again_and_mended(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    readings(Memo(tmp_path), KEY, lambda: READINGS)
    damage(path_in(tmp_path))
    again, memo = Counted(READINGS), Memo(tmp_path)
    assert flat(readings(memo, KEY, again)) == flat(READINGS)
    assert (again.calls, memo.misses) == (1, 1)
    assert flat(readings(Memo(tmp_path), KEY, never)) == flat(READINGS)


def test_no_single_damaged_byte_gives_another_number(tmp_path: Path) -> None:
    """Flip one bit of each byte in turn: the readings are the stored ones or computed again."""
    rows = (RowReading(np.array([-0.25, -3.0]), said=True),)
    readings(Memo(tmp_path), KEY, lambda: rows)
    whole = path_in(tmp_path).read_bytes()
    computed = 0
    for at in range(len(whole)):
        path_in(tmp_path).write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        again = Counted(rows)
        assert flat(readings(Memo(tmp_path), KEY, again)) == flat(rows), at
        computed += again.calls
    assert computed > 0.9 * len(whole)


def test_a_sealed_file_that_makes_no_sense_is_computed_again(tmp_path: Path) -> None:
    """The seal is right, the content is not: as another version of the package may write it."""
    contents = ['[{"logprobs":[3],"said":true}]', '[{"other":1}]', '{"a":1}', "[[1]]", "nonsense"]
    for text in contents:
        entry = module._Entry(text, np.zeros(2))
        path_in(tmp_path).parent.mkdir(exist_ok=True)
        module._store(path_in(tmp_path), ("readings", KEY), entry)
        again = Counted(READINGS)
        assert flat(readings(Memo(tmp_path), KEY, again)) == flat(READINGS)
        assert again.calls == 1, text


def test_a_directory_in_the_place_of_an_entry_costs_the_entry_alone(tmp_path: Path) -> None:
    path_in(tmp_path).mkdir(parents=True)
    for _ in range(2):
        again = Counted(READINGS)
        assert flat(readings(Memo(tmp_path), KEY, again)) == flat(READINGS)
        assert again.calls == 1
    assert file_names(tmp_path) == []


def test_nothing_on_disk_is_pickled(tmp_path: Path) -> None:
    generated(Memo(tmp_path), KEY, lambda: ANSWERS)
    with safe_open(path_in(tmp_path), framework="numpy") as file:
        labels = file.metadata()
    assert labels["key"] == KEY
    assert json.loads(labels["format"])[0] == 1
    assert [answer["text"] for answer in json.loads(labels["text"])] == [a.text for a in ANSWERS]


@pytest.mark.parametrize("name", ["file", "file/below", "file/far/below"])
def test_a_directory_that_cannot_be_written_to_is_misuse(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(OptionError) as raised:
        Memo(tmp_path / name)
    assert raised.value.option == "--rag-cache"
    assert raised.value.value == str(tmp_path / name)


def test_a_read_only_directory_is_misuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(module, "TemporaryFile", refused)
    with pytest.raises(OptionError, match="rag-cache"):
        Memo(tmp_path)


def test_the_directory_is_made_and_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    memo = Memo(Path("far") / "below")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    readings(memo, KEY, lambda: READINGS)
    assert path_in(tmp_path / "far" / "below").is_file()


def test_a_directory_that_is_removed_meanwhile_is_made_again(tmp_path: Path) -> None:
    memo = Memo(tmp_path / "cache")
    (tmp_path / "cache").rmdir()
    readings(memo, KEY, lambda: READINGS)
    assert flat(readings(Memo(tmp_path / "cache"), KEY, never)) == flat(READINGS)


def test_a_full_disk_loses_the_entry_and_not_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = module.NamedTemporaryFile

    def full(**options: Any) -> Any:
        file = whole(**options)

        def write(data: bytes) -> int:
            file.file.write(data[:7])
            raise OSError(errno.ENOSPC, "No space left on device")

        file.write = write
        return file

    memo = Memo(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(module, "NamedTemporaryFile", full)
        assert flat(readings(memo, KEY, lambda: READINGS)) == flat(READINGS)
    assert flat(readings(memo, KEY, never)) == flat(READINGS)
    assert file_names(tmp_path) == []


@pytest.mark.parametrize("error", [ValueError("no"), OSError("no"), KeyboardInterrupt()])
def test_a_computation_that_fails_stores_nothing_and_frees_the_lock(
    tmp_path: Path, error: BaseException
) -> None:
    def failing() -> Any:
        raise error

    for memo in (Memo(), Memo(tmp_path)):
        with pytest.raises(type(error)) as raised:
            readings(memo, KEY, failing)
        assert raised.value is error
        assert file_names(tmp_path) == []
        assert flat(readings(memo, KEY, lambda: READINGS)) == flat(READINGS)
    assert file_names(tmp_path) == [f"{KEY[:2]}/{KEY}.safetensors"]


def test_an_entry_that_others_hold_too_long_is_computed_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOCK_TIMEOUT_S", 0.1)
    path_in(tmp_path).parent.mkdir()
    with FileLock(path_in(tmp_path).with_suffix(".lock")):
        start = time.monotonic()
        assert flat(readings(Memo(tmp_path), KEY, lambda: READINGS)) == flat(READINGS)
        assert time.monotonic() - start >= 0.1
        monkeypatch.setattr(module, "_LOCK_TIMEOUT_S", 60)
        # Another key is another lock.
        readings(Memo(tmp_path), key("b"), lambda: READINGS)
        assert time.monotonic() - start < 30


def test_without_locks_results_are_computed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: FileLock) -> None:
        raise NotImplementedError("this file system has no locks")

    monkeypatch.setattr(FileLock, "acquire", refused)
    assert flat(readings(Memo(tmp_path), KEY, lambda: READINGS)) == flat(READINGS)


_WORKER = """
import sys, time
from pathlib import Path
import numpy as np
from pytest_ragshortcut.core.plans import RowReading
from pytest_ragshortcut.models.memo import Memo

directory, name, key = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

def compute():
    (directory / f"{name} computes").touch()
    while not (directory / "go").exists():
        time.sleep(0.01)
    return (RowReading(np.array([-float(len(name))])),)

memo = Memo(directory / "cache")
(directory / f"{name} asks").touch()
print(memo.readings([key], lambda _: [compute()])[0][0].logprobs, memo.hits, memo.misses)
"""


def _worker(directory: Path, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _WORKER, str(directory), name, KEY]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _wait_for(path: Path) -> None:
    limit = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < limit, f"{path.name} never happened"
        time.sleep(0.01)


def test_of_two_processes_one_computes_and_the_other_waits(tmp_path: Path) -> None:
    with _worker(tmp_path, "one") as one:
        _wait_for(tmp_path / "one computes")
        with _worker(tmp_path, "another") as another:
            _wait_for(tmp_path / "another asks")
            # Time in which the second would begin to compute, were there no lock.
            time.sleep(0.3)
            (tmp_path / "go").touch()
            assert another.communicate(timeout=60)[0] == "[-3.] 1 0\n"
        assert one.communicate(timeout=60)[0] == "[-3.] 0 1\n"
    assert not (tmp_path / "another computes").exists()


def test_a_lock_dies_with_its_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOCK_TIMEOUT_S", 5.0)
    with _worker(tmp_path, "one") as one:
        _wait_for(tmp_path / "one computes")
        one.kill()
        one.communicate(timeout=60)
    assert flat(readings(Memo(tmp_path / "cache"), KEY, lambda: READINGS)) == flat(READINGS)
    assert path_in(tmp_path / "cache").is_file()
