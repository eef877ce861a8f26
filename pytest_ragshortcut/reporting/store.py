"""A report is one JSON file: what --rag-json writes and `pytest-ragshortcut` reads again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_ragshortcut.reporting.schema import SCHEMA, Report
from pytest_ragshortcut.stored.files import Format

_REPORTS = Format(Report, SCHEMA, "report", "--rag-json", "Write it again with --rag-json")


def dump_report(report: Report) -> str:
    r"""Write a report as JSON, keys in the schema's order, a list of plain values on one line.

    Every text survives, but for a high and a low surrogate side by side: JSON has no spelling of
    these other than that of the one character they stand for. Keys unknown to the schema are left
    out.

    Raises:
        ValueError: if a number is NaN or infinite.

    Example:
        >>> empty = {"schema": 1, "plugin": "0.1.0", "created": "", "seed": 0, "models": [],
        ...          "tests": [], "notes": ["A\ud800", "B"], "gate": None}
        >>> print(dump_report(empty).splitlines()[-3])
         "notes": ["A\ud800", "B"],
    """
    return _REPORTS.text(report)


def write_report(path: Path, report: Report) -> None:
    """Write a report to a file, which is replaced whole or stays as it was.

    Raises:
        StoredFileError: if the folder does not exist, or cannot be written to.
        ValueError: if a number is NaN or infinite.
    """
    _REPORTS.write(path, dump_report(report))


def load_report(path: Path) -> Report:
    """Read a report, every key of which is there and of its type.

    Raises:
        StoredFileError: if it cannot be read, is no report, or is one of another schema.
    """
    return _REPORTS.checked(path, _REPORTS.content(path))


def json_schema() -> dict[str, Any]:
    """Return what a report's JSON must be, as JSON Schema 2020-12: report.schema.json."""
    return _REPORTS.json_schema()
