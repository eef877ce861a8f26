"""Ask a model without a test file, render stored reports, and see what embedded models know."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from pytest_ragshortcut.config import OPTIONS, Settings, settle
from pytest_ragshortcut.errors import RagShortcutError

if TYPE_CHECKING:
    from pytest_ragshortcut.core.cases import RagCase
    from pytest_ragshortcut.core.ports import ProbeModel
    from pytest_ragshortcut.reporting.schema import CheckRecord, Report

_EXPLAINS = ("cache", "memory", "report", "json")
_LIMITS = ("min_context_reliance", "max_parametric_reliance")
OPTIONS_OF_EXPLAIN = tuple(
    option
    for option in OPTIONS
    if option.name in _EXPLAINS or (option.in_marker and option.name not in _LIMITS)
)
"""The plugin's options that make sense without a test; here they are spelled without 'rag-'."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; wrong use is said in words, and returns 4, as pytest does."""
    chosen = _parser().parse_args(arguments)
    try:
        return int(chosen.run(chosen))
    except RagShortcutError as error:
        print(error, file=sys.stderr)
        return 4
    except BrokenPipeError:
        # Whoever reads has seen enough; Python would complain once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pytest_ragshortcut", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run: Callable[[Any], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    asked = command("explain", _explain, "ask one question, and say where the answer came from")
    asked.add_argument("--question", required=True, help="what the user asks")
    asked.add_argument(
        "--context", required=True, action="append", help="a passage; again for each further one"
    )
    asked.add_argument("--subject", help="the entity asked about, as it stands in the question")
    asked.add_argument("--context-answer", help="what the context states, as it stands there")
    asked.add_argument("-v", "--verbose", action="count", default=0, help="every position; numbers")
    for option in OPTIONS_OF_EXPLAIN:
        flag = option.flag.replace("--rag-", "--")
        asked.add_argument(flag, metavar=option.metavar, help=option.help)
    rendered = command("report", _report, "render a stored report, or two of them side by side")
    rendered.add_argument("files", nargs="+", metavar="FILE", help="JSON; the older one first")
    rendered.add_argument("-o", "--output", default="report.html", help="the page to write")
    carded = command("card", _card, "put a stored report's results into a model card's metadata")
    carded.add_argument("file", metavar="FILE", help="JSON")
    carded.add_argument("card", nargs="?", metavar="README.md", help="the card; none prints YAML")
    carded.add_argument("--model", metavar="NAME", help="which, of a report of several models")
    facts = command("facts", _facts, "print what the embedded models know and read")
    facts.add_argument("word", nargs="?", default="", help="only facts that contain this word")
    return parser


def _facts(chosen: argparse.Namespace) -> int:
    from pytest_ragshortcut.models.embedded.describe import describe

    lines = list(describe(chosen.word))
    if not lines:
        print(f"no fact contains {chosen.word!r}", file=sys.stderr)
        return 1
    for line in lines:
        print(line)
    return 0


def _report(chosen: argparse.Namespace) -> int:
    from pytest_ragshortcut.outputs import write_text
    from pytest_ragshortcut.reporting.html import render_report
    from pytest_ragshortcut.reporting.store import load_report

    if len(chosen.files) > 2:
        print("report takes one file, or an older and a newer one", file=sys.stderr)
        return 4
    *older, newest = [load_report(Path(file)) for file in chosen.files]
    output = Path(chosen.output)
    write_text(output, render_report(newest, other=older[0] if older else None))
    print(output.resolve().as_uri())
    return 0


def _card(chosen: argparse.Namespace) -> int:
    from pytest_ragshortcut.reporting.model_card import front_matter, update_card
    from pytest_ragshortcut.reporting.store import load_report

    report = load_report(Path(chosen.file))
    if chosen.card is None:
        print(front_matter(report, model=chosen.model), end="")
        return 0
    update_card(Path(chosen.card), report, model=chosen.model)
    print(f"card: {chosen.card}")
    return 0


def _explain(chosen: argparse.Namespace) -> int:
    from pytest_ragshortcut.core.cases import RagCase
    from pytest_ragshortcut.outputs import write_all
    from pytest_ragshortcut.reporting.drawing import draw
    from pytest_ragshortcut.reporting.look import look_of
    from pytest_ragshortcut.reporting.text import explain
    from pytest_ragshortcut.session import load_model

    settings = settle(
        flag=lambda name: getattr(chosen, name.removeprefix("rag_"), None),
        environment=os.environ,
        ini=lambda _: None,
    )
    model = load_model(settings)
    case = RagCase(
        chosen.question,
        tuple(chosen.context),
        subject=chosen.subject,
        context_answer=chosen.context_answer,
    )
    check = _checked(model, case, settings)
    look = look_of(
        sys.stdout.encoding,
        shutil.get_terminal_size().columns,
        sys.stdout.isatty() and "NO_COLOR" not in os.environ,
        chosen.verbose,
    )
    print(explain(check))
    print()
    print(draw(check, look))
    said, is_complete = write_all(_report_of(model, check), settings, {})
    for line in said:
        print(line)
    return 0 if is_complete else 1


def _checked(model: ProbeModel, case: RagCase, settings: Settings) -> CheckRecord:
    from pytest_ragshortcut.probes.explanation import explain_reliance
    from pytest_ragshortcut.probes.reliance import context_reliance
    from pytest_ragshortcut.reporting.records import explanation_record, record_of

    started = perf_counter()
    reliance = context_reliance(model, case, probes=cast("Any", settings.probe_names))
    check = record_of(reliance, check="explain")
    check["work"]["seconds"] = round(perf_counter() - started, 6)
    check["explanation"] = explanation_record(explain_reliance(model, reliance))
    return check


def _report_of(model: ProbeModel, check: CheckRecord) -> Report:
    from pytest_ragshortcut.gathering import model_record, report_of

    identity = getattr(model, "identity", None)
    return report_of(
        [
            {
                "id": "explain",
                "command": "python -m pytest_ragshortcut explain",
                "file": "",
                "line": 1,
                "outcome": "passed",
                "seconds": check["work"]["seconds"],
                "n_checks": 1,
                "checks": [check],
                "hunt": None,
            }
        ],
        [model_record(identity)] if identity else [],
        [note] if (note := str(getattr(model, "note", ""))) else [],
        seed=0,
    )


if __name__ == "__main__":
    sys.exit(main())
