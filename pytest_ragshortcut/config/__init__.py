"""Every option in one table: marker, command line, environment and ini, and which of them wins."""

from pytest_ragshortcut.config.settings import Settings, settle
from pytest_ragshortcut.config.table import OPTIONS, Option, option_table
from pytest_ragshortcut.config.values import DTYPES, EXECUTORS, PROBES, ProbeName, parts

__all__ = [
    "DTYPES",
    "EXECUTORS",
    "OPTIONS",
    "PROBES",
    "Option",
    "ProbeName",
    "Settings",
    "option_table",
    "parts",
    "settle",
]
