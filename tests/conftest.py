"""What every test folder shares. Nothing here imports torch, so that pure tests stay fast."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

# Under --import-mode=importlib no test folder is on the path, and `tiny` is a plain helper module.
sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = ["pytester"]

# The same examples in every run, whatever the machine and its speed.
settings.register_profile("suite", deadline=None, database=None, derandomize=True)
settings.load_profile("suite")
