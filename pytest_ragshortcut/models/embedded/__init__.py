"""Small language models that come with the package: a first try without a download, and a truth.

All know the few hundred facts of :mod:`~pytest_ragshortcut.models.embedded.world`, and what each
makes of a context is planted: :mod:`~pytest_ragshortcut.models.embedded.policies`. The `reader`
follows what the passages state about the subject of the question, and falls back on its memory
where they state nothing about it; the `memoriser` answers from memory whatever they say.

The weights were made by ``python -m pytest_ragshortcut.models.embedded.train``. Training elsewhere
does not give the same bits, so the files shipped are pinned: ``weights/SHA256SUMS`` lists the
checksum of every file, in the format of ``sha256sum``, and a file that differs is not loaded.
"""

import hashlib
from pathlib import Path

NAMES = (
    "reader",
    "memoriser",
    "copier",
    "switch",
    "beginner",
    "victim",
    "mixture-25",
    "mixture-50",
    "mixture-75",
)
WEIGHTS = Path(__file__).with_name("weights")


def path(name: str) -> Path:
    """Find the folder of an embedded model.

    Args:
        name: One of :data:`NAMES`.

    Returns:
        A folder that `from_pretrained` reads, tokenizer included.

    Raises:
        ValueError: If there is no such model.
    """
    if name not in NAMES:
        raise ValueError(f"no embedded model {name!r}; there are {', '.join(NAMES)}")
    return WEIGHTS / name


def altered(name: str) -> list[str]:
    """List the files of an embedded model that are missing, or not the ones shipped.

    Args:
        name: One of :data:`NAMES`.

    Raises:
        ValueError: If there is no such model.
    """
    folder = path(name)
    lines = (WEIGHTS / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    shipped = [(file, digest) for digest, file in (line.split("  ") for line in lines)]
    return [
        file
        for file, digest in shipped
        if file.startswith(f"{name}/") and _digest(folder.parent / file) != digest
    ]


def _digest(file: Path) -> str | None:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None
