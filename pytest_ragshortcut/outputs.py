"""What a run leaves behind: its files, and what continuous integration shows of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_ragshortcut.config import Settings
from pytest_ragshortcut.errors import RagShortcutError

if TYPE_CHECKING:
    from pytest_ragshortcut.reporting.schema import Report

_GITHUB_SUMMARY = "GITHUB_STEP_SUMMARY"


def wants_explanations(settings: Settings) -> bool:
    """Say whether something will show where the answers of checks that hold came from."""
    return bool(settings.report or settings.json)


def wants_files(settings: Settings) -> bool:
    """Say whether a file was asked for by name: it is written even where no test asked a model."""
    named = settings.summary not in ("auto", "off")
    return bool(settings.report or settings.json or settings.metrics or named)


def write_all(
    report: Report, settings: Settings, environment: Mapping[str, str]
) -> tuple[list[str], bool]:
    """Write every file that was asked for; one that cannot be written does not lose the others.

    Returns:
        A line for each, where it is, or why it is not; and whether all of them are there.
    """
    said = [_said(write) for write in _writers(report, settings, environment)]
    return [line for line, _ in said], all(is_there for _, is_there in said)


def _writers(
    report: Report, settings: Settings, environment: Mapping[str, str]
) -> Iterator[Callable[[], str]]:
    if settings.report:
        yield lambda: _html(Path(settings.report), report)
    if settings.json:
        yield lambda: _json(Path(settings.json), report)
    if settings.metrics:
        yield lambda: _metrics(Path(settings.metrics), report)
    summary = _summary_file(settings, environment)
    if summary is not None:
        yield lambda: _summary(summary, report)


def _said(write: Callable[[], str]) -> tuple[str, bool]:
    try:
        return write(), True
    except (RagShortcutError, OSError) as error:
        return f"not written: {error}", False


def _html(path: Path, report: Report) -> str:
    from pytest_ragshortcut.reporting.html import render_report

    write_text(path, render_report(report))
    return f"report: {path.resolve().as_uri()}"


def _json(path: Path, report: Report) -> str:
    from pytest_ragshortcut.reporting.store import write_report

    path.parent.mkdir(parents=True, exist_ok=True)
    write_report(path, report)
    return f"JSON: {path}"


def _metrics(path: Path, report: Report) -> str:
    from pytest_ragshortcut.reporting.openmetrics import metrics

    write_text(path, metrics(report))
    return f"metrics: {path}"


def _summary(path: Path, report: Report) -> str:
    from pytest_ragshortcut.reporting.github import step_summary

    text = step_summary(report).encode("utf-8", "replace")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(text)
    return f"summary: {path}"


def _summary_file(settings: Settings, environment: Mapping[str, str]) -> Path | None:
    """Return the file to append Markdown to; a run under GitHub Actions has one."""
    if settings.summary == "off":
        return None
    if settings.summary != "auto":
        return Path(settings.summary)
    given = environment.get(_GITHUB_SUMMARY)
    return Path(given) if given else None


def write_text(path: Path, text: str) -> None:
    """Write a file that programs and people open; its folder is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A page may quote a passage with half a character in it.
    path.write_bytes(text.encode("utf-8", "replace"))


def annotations_of(
    report: Report, environment: Mapping[str, str], *, problem: str = "", annotated: bool
) -> list[str]:
    """Return workflow commands that point at failed checks and gates, under GitHub Actions.

    Args:
        report: the run.
        environment: the environment variables.
        problem: why a gate could not decide; empty where it could, or there is none.
        annotated: whether something else annotates failed tests already: it knows of no gate.
    """
    if environment.get("GITHUB_ACTIONS") != "true":
        return []
    from pytest_ragshortcut.reporting.github import (
        failure_annotations,
        gate_annotations,
        problem_annotations,
    )

    failed = gate_annotations(report["gate"]) if annotated else failure_annotations(report)
    return [*problem_annotations(problem), *failed]
