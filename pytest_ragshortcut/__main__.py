"""python -m pytest_ragshortcut facts: what the embedded models know, and what they read."""

from __future__ import annotations

import argparse
import sys

from pytest_ragshortcut.models.embedded.describe import describe


def main(arguments: list[str] | None = None) -> int:
    """Print the embedded models' facts, all of them or those of one subject."""
    parser = argparse.ArgumentParser(prog="python -m pytest_ragshortcut", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    facts = commands.add_parser("facts", help="print what the embedded models know and read")
    facts.add_argument("word", nargs="?", default="", help="only facts that contain this word")
    chosen = parser.parse_args(arguments)
    lines = list(describe(chosen.word))
    if not lines:
        print(f"no fact contains {chosen.word!r}", file=sys.stderr)
        return 1
    for line in lines:
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
