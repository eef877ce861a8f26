"""The embedded models are loaded and asked without touching the network."""

from __future__ import annotations

import subprocess
import sys

_SCRIPT = """
import socket

def refuse(*arguments, **_):
    raise SystemExit(f"the network was touched: {arguments[1:]}")

socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = refuse
from pytest_ragshortcut import RagModel, context_reliance
model = RagModel.from_pretrained("embedded:reader")
print(context_reliance(model, "Where was Eavan Boland born?", "Eavan Boland was born in Cork."))
"""


def test_loading_and_asking_an_embedded_model_touches_no_network() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Reliance" in done.stdout
