"""Every option in one table: its name, what it takes, and who may set it."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_ragshortcut.config.values import (
    A_FRACTION,
    A_NUMBER,
    A_SEED,
    A_SIZE,
    ANYTHING,
    DTYPES,
    EXECUTORS,
    NAMES_OF_PROBES,
    PROBES,
    Takes,
    one_of,
)
from pytest_ragshortcut.errors import OptionError


@dataclass(frozen=True)
class Option:
    """One setting and its spellings."""

    name: str
    """model: --rag-model on the command line, RAG_MODEL in the environment, rag_model in ini, and
    model= in @pytest.mark.rag(...) where a test may have its own."""
    metavar: str
    help: str
    default: str = ""
    takes: Takes = ANYTHING
    in_marker: bool = False
    """Whether a test may have its own."""
    is_switch: bool = False
    """Whether it is given on the command line without a value, and means yes."""

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
        one_of(*DTYPES),
        in_marker=True,
    ),
    Option(
        "template",
        "NAME",
        "prompt template: plain, or chat for the tokenizer's own",
        "plain",
        one_of("plain", "chat"),
        in_marker=True,
    ),
    Option(
        "trust_remote_code",
        "yes|no",
        "whether code that comes with a checkpoint may run",
        "no",
        one_of("yes", "no"),
        in_marker=True,
    ),
    Option("cache", "DIR", "keep results in DIR for later runs; without, for this run alone"),
    Option(
        "memory",
        "SIZE",
        "how much memory to plan for, 2GiB say; without, half of what is free",
        takes=A_SIZE,
    ),
    Option(
        "executor",
        "NAME",
        "incremental or reference; auto is incremental wherever that is exact",
        "auto",
        one_of(*EXECUTORS),
        in_marker=True,
    ),
    Option(
        "probes",
        "NAMES",
        "evidence to read beside the swap: any of knockout, contributions, mediation, or none",
        ",".join(PROBES),
        NAMES_OF_PROBES,
        in_marker=True,
    ),
    Option("seed", "N", "seed of the noise that rag_probe corrupts with", "0", A_SEED),
    Option(
        "min_context_reliance",
        "T",
        "limit of context reliances that a test leaves uncompared",
        takes=A_FRACTION,
        in_marker=True,
    ),
    Option(
        "max_parametric_reliance",
        "T",
        "limit of parametric reliances that a test leaves uncompared",
        takes=A_FRACTION,
        in_marker=True,
    ),
    Option(
        "max_forwards",
        "N",
        "end a property-based test as undecided once it has spent N plain forwards",
        takes=A_NUMBER,
        in_marker=True,
    ),
    Option(
        "max_seconds",
        "S",
        "end a property-based test as undecided after S seconds",
        takes=A_NUMBER,
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
    Option(
        "save",
        "NAME",
        "keep every check's values as rag-baselines/NAME.json, or in a file NAME.json, beside "
        "those of other tests and models",
    ),
    Option("compare", "NAME", "show every check's change since baseline NAME"),
    Option(
        "compare_fail",
        "EXPR",
        "fail unless the model is shown to be no worse than the baseline: 'margin:0.05, "
        "floor:0.8', say",
    ),
    Option(
        "update",
        "yes|no",
        "put this run's values in place of those it is compared with",
        "no",
        one_of("yes", "no"),
        is_switch=True,
    ),
    Option(
        "update_new_only",
        "yes|no",
        "add to the baseline what it does not have, and change nothing",
        "no",
        one_of("yes", "no"),
        is_switch=True,
    ),
)


def option_table() -> tuple[tuple[str, str, str, str], ...]:
    """Return (flag, environment / ini, default, help) rows, as --help and the README show them."""
    return tuple(
        (
            o.flag if o.is_switch else f"{o.flag} {o.metavar}",
            f"{o.environment} / {o.ini}",
            o.default,
            o.help,
        )
        for o in OPTIONS
    )
