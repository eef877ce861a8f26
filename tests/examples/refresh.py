"""Paste into the example suites' pages what their commands print today.

python tests/examples/refresh.py                          all pages
python tests/examples/refresh.py first_steps case_file    these alone

A page shows a command in a `bash` block of one line, then `<!-- output -->`, or
`<!-- output: exit 1 -->` of one that fails, then what the command printed in a `text` block. The
commands run in a copy of the suites, at 100 columns, on the CPU, in the order in which the tests
are written, and without pytest's header. A page is left alone where nothing but seconds, a
fingerprint or a last digit has changed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SUITES = Path(__file__).parents[2] / "example_suites"
PAGES = tuple(sorted(SUITES.glob("*/README.md")))

_PASTED = re.compile(
    r"(?P<before>```bash\n(?P<command>[^\n]+)\n```\n+<!-- output(: exit (?P<status>\d))? -->\n"
    r"```text\n)"
    r"(?P<shown>.*?)(?=^```$)",
    flags=re.DOTALL | re.MULTILINE,
)
_ASIDE = ("RAG_", "GITHUB_", "PYTEST_", "CI", "FORCE_COLOR", "PY_COLORS", "NO_COLOR")
_WIDTH = 100
_FIXED = {
    "COLUMNS": str(_WIDTH),
    "HF_HUB_OFFLINE": "1",
    "PYTHONUTF8": "1",
    "PYTEST_ADDOPTS": "--no-header --color=no -p no:cacheprovider -p no:randomly",
    "RAG_DEVICE": "cpu",
}
_PROGRESS = r"rag: \d+ checks?, .*\n"
_SLOW = (
    (rf"^(\S+\.py \.*)\n{_PROGRESS}(\.+)(\n\S+\.py )?", r"\1\2"),
    (rf"^{_PROGRESS}", ""),
    (r"^slowest:\n( +\d+\.\d s  .*\n)*", ""),
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
# Alike in every run, once these are written in one way: how it is cut into lines while it runs,
# what the clock says, how wide a heading is, what the weights' bytes are called.
_UNSTEADY = (
    (r"^(\S+\.py ?)?\.*( *\[ *\d+%\])?\n", ""),
    (r"\d+\.\d+ ?s\b", "<seconds>"),
    (r"^-+ (generated xml file: .*?) -+$", r"\1"),
    (r"([=-])\1{2,}", r"\1\1\1"),
    (r" · [0-9a-f]{12} · ", " · <fingerprint> · "),
    (r"-(0(\.0*)?)(?![\d.])", r"\1"),
    # A baseline is older than what it is compared with.
    (r"^(not alike|warning): the (version of|configuration|tokenizer) .*\n(?=\S)", ""),
)
# What Hypothesis draws is another's matter: it changes with its version, and with it the worst
# example of a test and how wide the table's columns are.
_DRAWN = (
    (r"^ {8}\d+ examples?, .* an example\n", ""),
    (r"^ {8}held in .*\n( {8}.*\n)?", ""),
    (r"^\S+ \(worst of \d+\) .*? (?=([a-z][a-z ]* )?[<>])", "<the worst of some> "),
    (r"^…\S*?::", "…"),
    (r"^\d[\d,]* checks, (\d+) failed: .*$", r"checks, \1 failed"),
    (r"^\d[\d,]* forwards, .*$", "forwards"),
    (r"(?<=\S) {2,}", "  "),
)


@dataclass(frozen=True)
class Pasted:
    """A command on a page, and what the page says it prints."""

    page: Path
    command: str
    shown: str
    status: int = 0
    """Its exit status."""


def pasted(page: Path) -> tuple[Pasted, ...]:
    """List a page's commands and their output."""
    text = page.read_text(encoding="utf-8")
    return tuple(
        Pasted(page, found["command"], found["shown"], int(found["status"] or 0))
        for found in _PASTED.finditer(text)
    )


def copied(folder: Path) -> Path:
    """Copy the suites to a folder, as a reader has them, and return it."""
    leftovers = shutil.ignore_patterns(".pytest_cache", "__pycache__", ".hypothesis", ".rag-cache")
    shutil.copytree(SUITES, folder / SUITES.name, ignore=leftovers)
    return folder


def environment(**more: str) -> dict[str, str]:
    """Return an environment in which output is alike everywhere."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_ASIDE)}
    return kept | _FIXED | more


def run(command: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command of a page in a folder; `pytest` and `python` are those that run this."""
    program, *arguments = shlex.split(command)
    python = [sys.executable] if program == "python" else [sys.executable, "-m", program]
    return subprocess.run(
        [*python, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        env=environment(**more),
    )


def printed(command: str, folder: Path, *, status: int = 0) -> str:
    """Return what a command prints, ready to be pasted; another exit raises RuntimeError."""
    done = run(command, folder)
    if done.returncode != status:
        raise RuntimeError(f"{command}\n{done.stdout}{done.stderr}")
    elsewhere = done.stdout.replace(str(folder.resolve()), "/home/you")
    return "".join(f"{line.rstrip()}\n" for line in _unhurried(elsewhere).strip("\n").split("\n"))


def _unhurried(text: str) -> str:
    """Undo what is printed of a slow run alone, and the breaks that it leaves."""
    for pattern, undone in _SLOW:
        text = re.sub(pattern, undone, text, flags=re.MULTILINE)
    return re.sub(
        r"^(\S+\.py \.+) +(\[ *\d+%\])$",
        lambda found: f"{found[1]:{_WIDTH - 1 - len(found[2])}}{found[2]}",
        text,
        flags=re.MULTILINE,
    )


def comparable(text: str) -> tuple[str, tuple[float, ...]]:
    """Split output into its words and its numbers, without what differs from run to run."""
    drawn = _DRAWN if "property-based:" in text else ()
    for pattern, steady in (*_UNSTEADY, *drawn):
        text = re.sub(pattern, steady, text, flags=re.MULTILINE)
    return _NUMBER.sub("#", text), tuple(map(float, _NUMBER.findall(text)))


def alike(shown: str, now: str) -> bool:
    """Say whether two outputs say the same: every word, and numbers up to their last digit."""
    (words, numbers), (others, found) = comparable(shown), comparable(now)
    return words == others and all(
        abs(one - other) <= 0.011 + 0.01 * abs(one)
        for one, other in zip(numbers, found, strict=True)
    )


def refreshed(page: Path, folder: Path) -> str:
    """Return a page's text with what is no longer what a run prints pasted afresh."""

    def paste(found: re.Match[str]) -> str:
        now = printed(found["command"], folder, status=int(found["status"] or 0))
        is_current = alike(found["shown"], now)
        print("unchanged" if is_current else "pasted   ", found["command"])
        return found[0] if is_current else found["before"] + now

    return _PASTED.sub(paste, page.read_text(encoding="utf-8"))


def main(names: list[str]) -> None:
    """Refresh the pages of the suites that are named, or all."""
    for page in PAGES:
        if pasted(page) and (not names or page.parent.name in names):
            with tempfile.TemporaryDirectory() as folder:
                page.write_text(refreshed(page, copied(Path(folder))), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
