"""Every option in one table: marker, command line, environment and ini, and which of them wins."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal

from pytest_ragshortcut.errors import OptionError

DTYPES = ("auto", "float64", "float32", "float16", "bfloat16")
EXECUTORS = ("auto", "incremental", "reference")
ProbeName = Literal["knockout", "contributions", "mediation"]
PROBES: tuple[ProbeName, ...] = ("knockout", "contributions", "mediation")
"""The evidence that can be read beside the swap."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?) *([KMGT]?)(i?)B", re.IGNORECASE)


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


def parts(text: str) -> tuple[str, ...]:
    """Split a list at its commas.

    Example:
        >>> parts("knockout, mediation"), parts("")
        (('knockout', 'mediation'), ())
    """
    return tuple(part for piece in text.split(",") if (part := piece.strip()))


def _is_fraction(text: str) -> bool:
    try:
        return 0.0 <= float(text) <= 1.0
    except ValueError:
        return False


def _are_probes(text: str) -> bool:
    return text == "none" or (bool(parts(text)) and set(parts(text)) <= set(PROBES))


@dataclass(frozen=True)
class Takes:
    """Which values an option takes."""

    expected: str
    """In words."""
    accepts: Callable[[str], bool]


def _one_of(*choices: str) -> Takes:
    return Takes("one of " + ", ".join(choices), choices.__contains__)


_ANYTHING = Takes("a text", bool)
_A_SIZE = Takes(
    "a number and a unit, such as 500MB, 2GiB or 1.5GiB", lambda v: bool(size_in_bytes(v))
)
_A_FRACTION = Takes("a number in [0, 1], as scores are", _is_fraction)
_A_SEED = Takes("a whole number of at least 0", str.isdecimal)
_NAMES_OF_PROBES = Takes(f"any of {', '.join(PROBES)} with commas between, or none", _are_probes)


@dataclass(frozen=True)
class Option:
    """One setting and its spellings."""

    name: str
    """model: --rag-model on the command line, RAG_MODEL in the environment, rag_model in ini, and
    model= in @pytest.mark.rag(...) where a test may have its own."""
    metavar: str
    help: str
    default: str = ""
    takes: Takes = _ANYTHING
    in_marker: bool = False
    """Whether a test may have its own."""

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
        if not self.takes.accepts(value):
            raise OptionError(option=spelled, value=value, expected=self.takes.expected)


OPTIONS = (
    Option(
        "model",
        "MODEL",
        "checkpoint directory, hub name, or an embedded model such as embedded:reader; several "
        "with commas between",
        "embedded:reader",
        in_marker=True,
    ),
    Option("revision", "REV", "revision of a hub repository", in_marker=True),
    Option(
        "device",
        "DEVICE",
        "cpu, cuda, cuda:1 ...; auto is CUDA where there is one",
        "auto",
        in_marker=True,
    ),
    Option(
        "dtype",
        "DTYPE",
        "dtype to load the weights in; auto is the checkpoint's own",
        "auto",
        _one_of(*DTYPES),
        in_marker=True,
    ),
    Option(
        "template",
        "NAME",
        "prompt template: plain, or chat for the tokenizer's own",
        "plain",
        _one_of("plain", "chat"),
        in_marker=True,
    ),
    Option(
        "trust_remote_code",
        "yes|no",
        "whether code that comes with a checkpoint may run",
        "no",
        _one_of("yes", "no"),
        in_marker=True,
    ),
    Option("cache", "DIR", "keep results in DIR for later runs; without, for this run alone"),
    Option(
        "memory",
        "SIZE",
        "how much memory to plan for, 2GiB say; without, half of what is free",
        takes=_A_SIZE,
    ),
    Option(
        "executor",
        "NAME",
        "incremental or reference; auto is incremental wherever that is exact",
        "auto",
        _one_of(*EXECUTORS),
        in_marker=True,
    ),
    Option(
        "probes",
        "NAMES",
        "evidence to read beside the swap: any of knockout, contributions, mediation, or none",
        ",".join(PROBES),
        _NAMES_OF_PROBES,
        in_marker=True,
    ),
    Option("seed", "N", "seed of the noise that rag_probe corrupts with", "0", _A_SEED),
    Option(
        "min_context_reliance",
        "T",
        "limit of context reliances that a test leaves uncompared",
        takes=_A_FRACTION,
        in_marker=True,
    ),
    Option(
        "max_parametric_reliance",
        "T",
        "limit of parametric reliances that a test leaves uncompared",
        takes=_A_FRACTION,
        in_marker=True,
    ),
    Option("report", "FILE", "write every check, explained, to FILE as one HTML page"),
    Option("json", "FILE", "write the same to FILE as JSON"),
    Option("metrics", "FILE", "write scores and counts to FILE as OpenMetrics, for GitLab"),
    Option(
        "summary",
        "FILE",
        "append the run to FILE as Markdown, or off; auto is GitHub's step summary where there is "
        "one",
        "auto",
    ),
    Option("save", "FILE", "write every check's score to FILE, as a baseline"),
    Option("compare", "FILE", "show every check's change since the baseline in FILE"),
)


@dataclass(frozen=True)
class Settings:
    """The options of a run or a test, with the winner of each spelling."""

    model: str
    revision: str
    device: str
    dtype: str
    template: str
    trust_remote_code: str
    cache: str
    memory: str
    executor: str
    probes: str
    seed: str
    min_context_reliance: str
    max_parametric_reliance: str
    report: str
    json: str
    metrics: str
    summary: str
    save: str
    compare: str

    @property
    def memory_bytes(self) -> int | None:
        """How many bytes to plan for; None where no option says."""
        return size_in_bytes(self.memory)

    @property
    def probe_names(self) -> tuple[str, ...]:
        """Which evidence to read beside the swap."""
        return () if self.probes == "none" else parts(self.probes)

    @property
    def limits(self) -> dict[str, tuple[str, float]]:
        """Kind of reliance -> the claim made of it where a test makes none."""
        given = {
            "context": (">=", self.min_context_reliance),
            "parametric": ("<=", self.max_parametric_reliance),
        }
        return {kind: (sign, float(limit)) for kind, (sign, limit) in given.items() if limit}

    @property
    def each_model(self) -> tuple[Settings, ...]:
        """The settings of each model, where several are named."""
        return tuple(replace(self, model=name) for name in parts(self.model))


def settle(
    *,
    marker: Mapping[str, object] | None = None,
    flag: Callable[[str], str | None],
    environment: Mapping[str, str],
    ini: Callable[[str], str | None],
) -> Settings:
    """Choose each option's value: marker, command line, environment, ini, default, in this order.

    Args:
        marker: the keywords of a test's rag markers.
        flag: gives an option's command-line value by its ini name, or None.
        environment: the environment variables.
        ini: gives an option's ini value by its ini name, or None.

    Raises:
        OptionError: if a value is none that the option takes, or a marker has no such keyword.

    Example:
        >>> settings = settle(flag=lambda n: None, environment={"RAG_DTYPE": "float32"},
        ...     ini={"rag_dtype": "bfloat16", "rag_device": "cpu"}.get)
        >>> settings.dtype, settings.device, settings.template
        ('float32', 'cpu', 'plain')
    """
    marked = _marked(marker or {})
    values = {}
    for option in OPTIONS:
        spelled = (
            (f"{option.name} of @pytest.mark.rag", marked.get(option.name)),
            (option.flag, flag(option.ini)),
            (option.environment, environment.get(option.environment)),
            (option.ini, ini(option.ini)),
        )
        where, value = next(((w, v) for w, v in spelled if v), (option.flag, option.default))
        if value:
            option.require(value, where)
        values[option.name] = value
    return Settings(**values)


def _marked(keywords: Mapping[str, object]) -> dict[str, str]:
    """Write a marker's keywords as options are written."""
    known = [option.name for option in OPTIONS if option.in_marker]
    for name in keywords:
        if name not in known:
            expected = "one of " + ", ".join(known)
            raise OptionError(option="keyword of @pytest.mark.rag", value=name, expected=expected)
    return {
        name: ",".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)
        for name, value in keywords.items()
    }


def option_table() -> tuple[tuple[str, str, str, str], ...]:
    """Return (flag, environment / ini, default, help) rows, as --help and the README show them."""
    assert {o.name for o in OPTIONS} == {f.name for f in fields(Settings)}
    return tuple(
        (f"{o.flag} {o.metavar}", f"{o.environment} / {o.ini}", o.default, o.help) for o in OPTIONS
    )
