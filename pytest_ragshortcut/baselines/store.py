"""A baseline is one committed JSON file: --rag-save amends it, and --rag-compare reads it."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from pytest_ragshortcut.baselines.migration import FIRST_SCHEMA, FirstBaseline, migrated
from pytest_ragshortcut.baselines.schema import SCHEMA, Baseline, BaselineModel
from pytest_ragshortcut.errors import StoredFileError, listed
from pytest_ragshortcut.stored.files import Format

FOLDER = "rag-baselines"
"""Where baselines lie that are called by a name alone."""
_ABSENT: Final = object()
_LOCK_TIMEOUT_S = 60.0
_NAME = re.compile(r"[\w.-]*\w[\w.-]*")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_HEAD = re.compile(r'"schema": ?[12],.*"waivers":|"schema": ?1,\s*"scores":', flags=re.DOTALL)
_N_HEAD = 4096
_OPTIONS = "--rag-save or --rag-compare"
_AGAIN = "Correct it, or delete it and write it again with --rag-save"
_BASELINES = Format(Baseline, SCHEMA, "baseline", _OPTIONS, _AGAIN)
_FIRST = Format(FirstBaseline, FIRST_SCHEMA, "baseline", _OPTIONS, _AGAIN)


def baseline_file(name: str, root: Path) -> Path:
    """Return the file of a baseline that is called by its name, or by its path.

    Args:
        name: letters, digits and `-_.` alone are a name; all else, and what ends in .json, a path.
        root: the project's folder, where named baselines have a folder.

    Example:
        >>> baseline_file("released", Path("project")).as_posix()
        'project/rag-baselines/released.json'
        >>> baseline_file("ci/released.json", Path("project")).as_posix()
        'ci/released.json'
    """
    if _NAME.fullmatch(name) and not name.lower().endswith(".json"):
        return root / FOLDER / f"{name}.json"
    return Path(name)


def empty() -> Baseline:
    """Return a baseline of nothing.

    Example:
        >>> empty()["models"]
        {}
    """
    return {"schema": SCHEMA, "plugin": _version(), "waivers": [], "models": {}}


def load(path: Path) -> Baseline:
    """Read a baseline, every key of which is there and of its type.

    One of schema 1 is returned as what it would be today. A waiver may leave out its case.

    Raises:
        StoredFileError: if it is missing, cannot be read, is no baseline, or is one of a later
            schema.
    """
    content = _content(path)
    if content is _ABSENT:
        raise _missing(path)
    return _read(path, content)


def dump(baseline: Baseline) -> str:
    """Write a baseline as JSON: keys in the schema's order, models and tests by name.

    Raises:
        ValueError: if a number is NaN or infinite.

    Example:
        >>> made = empty() | {"plugin": "0.2.0"}
        >>> made["models"]["m"] = {"identity": None, "settings": None, "spread": 1e-06, "tests": {}}
        >>> print(dump(made).rstrip())
        {
         "schema": 2,
         "plugin": "0.2.0",
         "waivers": [],
         "models": {
          "m": {
           "identity": null,
           "settings": null,
           "spread": 1e-06,
           "tests": {}
          }
         }
        }
    """
    models: dict[str, BaselineModel] = {
        name: {**model, "tests": dict(sorted(model["tests"].items()))}
        for name, model in sorted(baseline["models"].items())
    }
    return _BASELINES.text({**baseline, "models": models})


def amend(path: Path, change: Callable[[Baseline], Baseline]) -> Baseline:
    """Change a baseline, or an empty one where there is none; others who do so wait.

    The file is replaced whole or stays as it was, and it is left alone where its content does not
    change. A folder that is missing is made.

    Args:
        path: the file.
        change: given the baseline, which it may alter, returns the new one. `schema` and `plugin`
            are set here.

    Returns:
        What the file now holds.

    Raises:
        StoredFileError: if what is there is no baseline, or the file cannot be written.
        ValueError: if a number is NaN or infinite.
    """
    # A symbolic link stays one: what it leads to is replaced.
    path = path.resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _BASELINES.unwritten(path, error) from error
    with _alone(path):
        return _amended(path, change)


def json_schema() -> dict[str, Any]:
    """Return what a baseline's JSON must be, as JSON Schema 2020-12: baseline.schema.json."""
    made = _BASELINES.json_schema()
    waiver = made["$defs"]["WaiverEntry"]
    waiver["required"].remove("case")
    waiver["properties"]["case"]["default"] = ""
    waiver["properties"]["reason"]["pattern"] = r"\S"
    score = made["$defs"]["ReadingRecord"]["properties"]["score"]
    score["anyOf"][0] |= {"minimum": 0, "maximum": 1}
    waiver["properties"]["expires"] |= {"format": "date", "pattern": f"^{_DAY.pattern}$"}
    return made


def _amended(path: Path, change: Callable[[Baseline], Baseline]) -> Baseline:
    content = _content(path)
    baseline = empty() if content is _ABSENT else _read(path, content)
    is_todays = content is not _ABSENT and content["schema"] == SCHEMA
    plugin, before = baseline["plugin"], dump(baseline)
    changed: Baseline = {**change(baseline), "schema": SCHEMA, "plugin": plugin}
    # Another version of the plugin is no change by itself, or it would show in every review.
    if is_todays and dump(changed) == before:
        return changed
    changed["plugin"] = _version()
    _BASELINES.write(path, dump(changed))
    return changed


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of a file; without it, what others save at the same time would be lost."""
    what = "cannot be written"
    try:
        lock = FileLock(_lock_file(path), timeout=_LOCK_TIMEOUT_S)
        lock.acquire()
    except Timeout as error:
        problem = f"another process has been at it for {_LOCK_TIMEOUT_S:.0f} s"
        raise _BASELINES.error(path, what, problem, action="Save when it has ended") from error
    except (OSError, NotImplementedError) as error:
        problem = f"the folder for temporary files takes no lock: {error}"
        action = "Set TMPDIR to one that can be written to"
        raise _BASELINES.error(path, what, problem, action=action) from error
    try:
        yield
    finally:
        lock.release()


def _content(path: Path) -> Any:
    """Return what a file's JSON says, or _ABSENT where there is no file."""
    try:
        return _BASELINES.content(path)
    except StoredFileError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return _ABSENT
        raise


def _read(path: Path, content: Any) -> Baseline:
    schema = content.get("schema") if isinstance(content, dict) else None
    if type(schema) is int and schema == FIRST_SCHEMA:
        try:
            first = _FIRST.checked(path, content)
            for key, score in first["scores"].items():
                _require_score(_FIRST, path, f"scores.{key}", score)
            return migrated(first)
        except ValueError as error:
            keys = {"where": "scores", "expected": "where each key of scores is 'test | case'"}
            raise _FIRST.error(path, "is not a baseline", str(error), **keys) from error
    baseline = _BASELINES.checked(path, _with_cases(content))
    for index, waiver in enumerate(baseline["waivers"]):
        place = f"waivers[{index}]"
        reason, expires = waiver["reason"], waiver["expires"]
        if not reason.strip():
            should = "a text that says why it may be so"
            raise _BASELINES.wrong_value(path, f"{place}.reason", reason, should)
        if not _is_day(expires):
            should = "a day such as 2027-01-31"
            raise _BASELINES.wrong_value(path, f"{place}.expires", expires, should)
    for name, model in baseline["models"].items():
        for test, entries in model["tests"].items():
            for index, entry in enumerate(entries):
                place = f"models.{name}.tests.{test}[{index}].reading.score"
                _require_score(_BASELINES, path, place, entry["reading"]["score"])
    return baseline


def _require_score(format_: Format[Any], path: Path, place: str, score: float | None) -> None:
    """Refuse a score that cannot be one: the gate's bounds are of means of numbers in [0, 1]."""
    if score is not None and not 0.0 <= score <= 1.0:
        raise format_.wrong_value(path, place, score, "a score in [0, 1], or null")


def _with_cases(content: Any) -> Any:
    """Return the content with the case that a waiver leaves out."""
    waivers = content.get("waivers") if isinstance(content, dict) else None
    if not isinstance(waivers, list):
        return content
    full = [{"case": "", **each} if isinstance(each, dict) else each for each in waivers]
    return {**content, "waivers": full}


def _version() -> str:
    # Not imported above: the root names what is public, and so stands over every layer.
    return str(import_module("pytest_ragshortcut").__version__)


def _is_day(text: str) -> bool:
    try:
        return bool(_DAY.fullmatch(text) and date.fromisoformat(text))
    except ValueError:
        return False


def _missing(path: Path) -> StoredFileError:
    others = [
        _name_of(other) or other.name
        for other in sorted(path.parent.glob("*.json"))
        if _looks_so(other)
    ]
    action = f"Write one with --rag-save {_name_of(path) or path}"
    if others:
        action += f", or compare with one that is there: {listed(others)}"
    what, problem = "cannot be used", "there is no such file"
    return _BASELINES.error(path, what, problem, where="--rag-compare", action=action)


def _looks_so(path: Path) -> bool:
    """Say whether a file begins as a baseline does."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return bool(_HEAD.search(file.read(_N_HEAD)))
    except OSError:
        return False


def _name_of(path: Path) -> str:
    """Return the name that a baseline may be called by; empty where it is called by its path."""
    is_named = path == baseline_file(path.stem, path.parent.parent)
    return path.stem if is_named else ""


def _lock_file(path: Path) -> Path:
    """Name a lock that lies beside no committed file, and that no other user has made."""
    user = getattr(os, "getuid", int)()
    name = sha256(f"{user} {path}".encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"pytest-ragshortcut-{name}.lock")
