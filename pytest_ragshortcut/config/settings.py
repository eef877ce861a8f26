"""The options of a run or a test: marker, command line, environment and ini, and which wins."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pytest_ragshortcut.config.table import OPTIONS
from pytest_ragshortcut.config.values import parts, size_in_bytes
from pytest_ragshortcut.errors import OptionError


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
    max_forwards: str
    max_seconds: str
    report: str
    json: str
    metrics: str
    summary: str
    save: str
    compare: str
    compare_fail: str
    update: str
    update_new_only: str

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
    def keeps_values(self) -> bool:
        """Whether a baseline is written or compared with."""
        return bool(self.save or self.compare)

    @property
    def budget(self) -> tuple[float, float]:
        """How many forwards and seconds a property-based test may spend; infinite by default."""
        return float(self.max_forwards or math.inf), float(self.max_seconds or math.inf)

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
