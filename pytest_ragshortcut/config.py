"""Every option in one table: command line, environment and ini, and which of them wins."""

from __future__ import annotations

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


DTYPES = ("auto", "float64", "float32", "float16", "bfloat16")

OPTIONS = (
    Option(
        "model",
        "MODEL",
        "checkpoint directory, hub name, embedded:reader or embedded:memoriser",
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
    save: str
    compare: str


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
        OptionError: if a value is not one of an option's choices.

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
        if option.choices and value not in option.choices:
            expected = "one of " + ", ".join(option.choices)
            raise OptionError(option=where, value=value, expected=expected)
        values[option.name] = value
    return Settings(**values)


def option_table() -> tuple[tuple[str, str, str, str], ...]:
    """Return (flag, environment / ini, default, help) rows, as --help and the README show them."""
    assert {o.name for o in OPTIONS} == {f.name for f in fields(Settings)}
    return tuple(
        (f"{o.flag} {o.metavar}", f"{o.environment} / {o.ini}", o.default, o.help) for o in OPTIONS
    )
