"""What a model is, and what was asked of it so far."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Work:
    """What a model has done: totals, or the difference between two of them.

    Example:
        >>> Work(120, remembered=2, computed=5) - Work(20, computed=1)
        Work(token_layers=100, remembered=2, computed=4)
    """

    token_layers: int = 0
    """One layer computed for one token, counted once."""
    remembered: int = 0
    """Plans and continuations asked for that were known already."""
    computed: int = 0
    """Those that were not."""

    def __add__(self, more: Work) -> Work:
        return Work(
            self.token_layers + more.token_layers,
            self.remembered + more.remembered,
            self.computed + more.computed,
        )

    def __sub__(self, before: Work) -> Work:
        return Work(
            self.token_layers - before.token_layers,
            self.remembered - before.remembered,
            self.computed - before.computed,
        )

    def forwards(self, *, n_tokens: int, n_layers: int) -> float:
        """Return the token-layers in plain forwards of a prompt.

        Example:
            >>> Work(120).forwards(n_tokens=10, n_layers=4)
            3.0
        """
        return self.token_layers / (n_tokens * n_layers)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Which model answers, and how it is run.

    Example:
        >>> run = {"device": "cpu", "dtype": "float32", "attention": "sdpa", "executor": "slow"}
        >>> size = {"n_layers": 2, "n_parameters": 10, "n_bytes": 40}
        >>> Identity(name="m", fingerprint="0a", weights="1b", **run, **size).line
        'm · 0a · cpu · float32 · sdpa · slow executor'
    """

    name: str
    fingerprint: str
    """Twelve hex digits of the content of all parts; 'changing' where that cannot be compared."""
    weights: str = ""
    """Twelve hex digits of the weights alone, adapters in force included. Empty where they have no
    content to compare: one is not in memory, or hooks may change what they compute."""
    tokenizer: str = ""
    """Of the tokenizer, the chat template left out."""
    chat_template: str = ""
    """Empty where there is none."""
    config: str = ""
    quantization: str = ""
    """transformers' name of the method; empty where there is none."""
    libraries: dict[str, str] = field(default_factory=dict, hash=False)
    """Library -> the version that runs the model."""
    device: str
    dtype: str
    attention: str
    """transformers' name of the attention function."""
    executor: str
    n_layers: int
    n_parameters: int
    n_bytes: int
    """Of weights and buffers."""

    @property
    def line(self) -> str:
        """The model in one line."""
        parts = (self.name, self.fingerprint, self.device, self.dtype, self.attention)
        return " · ".join((*parts, f"{self.executor} executor"))
