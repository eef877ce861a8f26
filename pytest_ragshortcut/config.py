"""Every option in one table: command line, environment and ini, and which of them wins."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

from pytest_ragshortcut.errors import OptionError


@dataclass(frozen=True)
class Option:
    """One setting and its spellings."""

    name: str
    """model: --rag-model on the command line, RAG_MODEL in the environment, rag_model in ini."""
    metavar: str
    help: str
    default: str = ""
    choices: tuple[str, ...] = ()
    is_size: bool = False
    """Whether the value is a number of bytes."""

    @property
    def flag(self) -> str:
        """The command-line spelling."""
        return "--rag-" + self.name.replace("_", "-")

    @property
    def ini(self) -> str:
        """The ini spelling."""
        return f"rag_{self.name}"

    @property
    def environment(self) -> str:
        """The environment variable."""
        return f"RAG_{self.name.upper()}"

    def require(self, value: str, spelled: str) -> None:
        """Check a value that is not empty.

        Raises:
            OptionError: naming the spelling that it came from.
        """
        if self.choices and value not in self.choices:
            expected = "one of " + ", ".join(self.choices)
            raise OptionError(option=spelled, value=value, expected=expected)
        if self.is_size and not size_in_bytes(value):
            raise OptionError(option=spelled, value=value, expected=_A_SIZE)


DTYPES = ("auto", "float64", "float32", "float16", "bfloat16")
EXECUTORS = ("auto", "incremental", "reference")

_SIZE = re.compile(r"(\d+(?:\.\d+)?) *([KMGT]?)(i?)B", re.IGNORECASE)
_A_SIZE = "a number and a unit, such as 500MB, 2GiB or 1.5GiB"

OPTIONS = (
    Option(
        "model",
        "MODEL",
        "checkpoint directory, hub name, or an embedded model such as embedded:reader",
        "embedded:reader",
    ),
    Option("revision", "REV", "revision of a hub repository"),
    Option("device", "DEVICE", "cpu, cuda, cuda:1 ...; auto is CUDA where there is one", "auto"),
    Option(
        "dtype",
        "DTYPE",
        "dtype to load the weights in; auto is the checkpoint's own",
        "auto",
        DTYPES,
    ),
    Option(
        "template",
        "NAME",
        "prompt template: plain, or chat for the tokenizer's own",
        "plain",
        ("plain", "chat"),
    ),
    Option(
        "trust_remote_code",
        "yes|no",
        "whether code that comes with a checkpoint may run",
        "no",
        ("yes", "no"),
    ),
    Option("cache", "DIR", "keep results in DIR for later runs; without, for this run alone"),
    Option(
        "memory",
        "SIZE",
        "how much memory to plan for, 2GiB say; without, half of what is free",
        is_size=True,
    ),
    Option(
        "executor",
        "NAME",
        "incremental or reference; auto is incremental wherever that is exact",
        "auto",
        EXECUTORS,
    ),
    Option("save", "FILE", "write every check's score to FILE, as a baseline"),
    Option("compare", "FILE", "show every check's change since the baseline in FILE"),
)


@dataclass(frozen=True)
class Settings:
    """The options of one run, with the winner of each spelling."""

    model: str
    revision: str
    device: str
    dtype: str
    template: str
    trust_remote_code: str
    cache: str
    memory: str
    executor: str
    save: str
    compare: str

    @property
    def memory_bytes(self) -> int | None:
        """How many bytes to plan for; None where no option says."""
        return size_in_bytes(self.memory)


def settle(
    *,
    flag: Callable[[str], str | None],
    environment: Mapping[str, str],
    ini: Callable[[str], str | None],
) -> Settings:
    """Choose each option's value: command line before environment before ini before default.

    Args:
        flag: gives an option's command-line value by its ini name, or None.
        environment: the environment variables.
        ini: gives an option's ini value by its ini name, or None.

    Raises:
        OptionError: if a value is none that the option takes.

    Example:
        >>> settings = settle(flag=lambda n: None, environment={"RAG_DTYPE": "float32"},
        ...     ini={"rag_dtype": "bfloat16", "rag_device": "cpu"}.get)
        >>> settings.dtype, settings.device, settings.template
        ('float32', 'cpu', 'plain')
    """
    values = {}
    for option in OPTIONS:
        spelled = (
            (option.flag, flag(option.ini)),
            (option.environment, environment.get(option.environment)),
            (option.ini, ini(option.ini)),
        )
        where, value = next(((w, v) for w, v in spelled if v), (option.flag, option.default))
        if value:
            option.require(value, where)
        values[option.name] = value
    return Settings(**values)


def size_in_bytes(text: str) -> int | None:
    """Read a number of bytes; None where the text is none, or no memory at all.

    Example:
        >>> size_in_bytes("2GiB"), size_in_bytes("1.5 kB"), size_in_bytes("2")
        (2147483648, 1500, None)
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        return None
    number, prefix, binary = found.groups()
    base = 1024 if binary else 1000
    return int(float(number) * base ** " KMGT".index(prefix.upper() or " ")) or None


def option_table() -> tuple[tuple[str, str, str, str], ...]:
    """Return (flag, environment / ini, default, help) rows, as --help and the README show them."""
    assert {o.name for o in OPTIONS} == {f.name for f in fields(Settings)}
    return tuple(
        (f"{o.flag} {o.metavar}", f"{o.environment} / {o.ini}", o.default, o.help) for o in OPTIONS
    )
