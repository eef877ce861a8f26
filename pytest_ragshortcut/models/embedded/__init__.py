"""Two small language models that come with the package, for a first try without a download.

Both know the few hundred facts of :mod:`~pytest_ragshortcut.models.embedded.world`. The `reader`
follows what the passages state about the subject of the question, and falls back on its memory
where they state nothing about it; the `memoriser` answers from memory whatever they say.

The weights were made by ``python -m pytest_ragshortcut.models.embedded.train``. Training elsewhere
does not give the same bits, so the files shipped are pinned: ``weights/SHA256SUMS`` lists the
checksum of every file, in the format of ``sha256sum``, and the tests compare them.
"""

from pathlib import Path

NAMES = ("reader", "memoriser")
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
