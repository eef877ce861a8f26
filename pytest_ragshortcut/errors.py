"""Every exception of the package. Wrong use is one of these; a claim that fails is AssertionError.

RagShortcutError
├── CaseError                   the question, the passages, or what was said of them
│   ├── EmptyTextError
│   ├── SpanNotFoundError
│   ├── AmbiguousSpanError
│   ├── AnswerNotFoundError
│   ├── SpecialTokenError
│   └── PromptTooLongError
├── ModelError                  the checkpoint, its tokenizer, its architecture
│   ├── CheckpointNotFoundError
│   ├── AlteredWeightsError
│   ├── TokenizerError
│   ├── TemplateError
│   ├── UnsupportedArchitectureError
│   ├── NonFiniteLogitsError
│   ├── AdapterSelfCheckError
│   └── ExecutorSelfCheckError
├── PlanError                   an intervention that no executor can carry out
├── UndefinedEffectError        too small an effect to divide by
├── UncomparedError             a reliance check that checks nothing
├── OptionError                 a command-line option, ini value or marker
├── StoredFileError             a stored baseline or report that cannot be used
└── MissingExtraError           an optional dependency that is not installed
"""

from __future__ import annotations

from collections.abc import Sequence

_MAX_QUOTED = 60
_MAX_LISTED = 10


def quoted(text: str) -> str:
    """Quote user text, cut to 60 characters.

    Example:
        >>> quoted("Dublin")
        "'Dublin'"
    """
    return repr(text if len(text) <= _MAX_QUOTED else text[: _MAX_QUOTED - 1] + "…")


def listed(texts: Sequence[str]) -> str:
    """List alternatives, or say how many there are beyond ten.

    Example:
        >>> listed(["Paris", "Rome"])
        "'Paris', 'Rome'"
    """
    shown = ", ".join(quoted(text) for text in texts[:_MAX_LISTED])
    rest = len(texts) - _MAX_LISTED
    return f"{shown} and {rest} more" if rest > 0 else shown


class RagShortcutError(Exception):
    """Raised when the package is used in a way it cannot answer honestly.

    Args:
        problem: what is wrong, with its value.
        where: the case, span, layer or option it was found in.
        expected: what would be right.
        action: the one thing to do.
    """

    def __init__(self, problem: str, *, where: str, expected: str, action: str) -> None:
        self.problem, self.where, self.expected, self.action = problem, where, expected, action
        super().__init__(f"{problem} ({where}).\n{expected}. {action}.")


class CaseError(RagShortcutError):
    """Raised when a case's texts do not fit together."""


class EmptyTextError(CaseError):
    """Raised when a question, context, passage or answer is empty or only white space."""

    def __init__(self, *, role: str, text: str, is_needed: bool = False) -> None:
        self.role, self.text, self.is_needed = role, text, is_needed
        super().__init__(
            f"no {role} is named" if is_needed else f"the {role} is empty: {quoted(text)}",
            where=f"RagCase, {role}",
            expected=f"A {role} has at least one character that is not white space",
            action=f"Pass {role.replace(' ', '_')}=... to RagCase: no model finds it here"
            if is_needed
            else "Pass the text, or leave the case out of the suite",
        )


class SpanNotFoundError(CaseError):
    """Raised when a span that the caller named does not occur where it must."""

    def __init__(self, *, role: str, text: str, region: str, within: str) -> None:
        self.role, self.text, self.region, self.within = role, text, region, within
        super().__init__(
            f"the {role} {quoted(text)} does not occur in the {region} {quoted(within)}",
            where=f"span {role}",
            expected=f"The {role} is a verbatim part of the {region}, as whole words",
            action=f"Correct the case, or pass the {role} as the {region} spells it",
        )


class AmbiguousSpanError(CaseError):
    """Raised when a span was to be found and several candidates remain."""

    def __init__(self, *, role: str, candidates: Sequence[str], within: str, keyword: str) -> None:
        self.role, self.candidates, self.within = role, tuple(candidates), within
        super().__init__(
            f"the {role} is ambiguous: {len(candidates)} candidates, {listed(candidates)}",
            where=f"span {role}, in {quoted(within)}",
            expected=f"One {role} per case",
            action=f"Name it: {keyword}={candidates[0]!r}, say",
        )


class AnswerNotFoundError(CaseError):
    """Raised when an answer or span was to be found and nothing fits."""

    def __init__(self, *, role: str, reason: str, within: str, keyword: str) -> None:
        self.role, self.reason, self.within = role, reason, within
        super().__init__(
            f"no {role} was found: {reason}",
            where=f"{role}, in {quoted(within)}",
            expected=f"The {role} is found by itself only where one reading is possible",
            action=f"Pass {keyword}='...'",
        )


class SpecialTokenError(CaseError):
    """Raised when a question or passage contains a special-token string of the tokenizer."""

    def __init__(self, *, token: str, role: str, text: str) -> None:
        self.token, self.role, self.text = token, role, text
        super().__init__(
            f"the {role} contains {token!r}, which the tokenizer reads as a control token",
            where=f"{role} {quoted(text)}",
            expected="Retrieved text reaches the model as text, never as control tokens",
            action="Remove or escape it in the retriever, as the deployed system must too",
        )


class PromptTooLongError(CaseError):
    """Raised when prompt and answer do not fit the model's window. Nothing is ever cut."""

    def __init__(self, *, n_tokens: int, max_tokens: int, text: str) -> None:
        self.n_tokens, self.max_tokens = n_tokens, max_tokens
        super().__init__(
            f"prompt and answer have {n_tokens} tokens, {n_tokens - max_tokens} more than "
            f"the model's window of {max_tokens}",
            where=f"prompt {quoted(text)}",
            expected=f"At most {max_tokens} tokens (max_position_embeddings)",
            action="Pass fewer or shorter passages; a silent cut would change the claim",
        )


class ModelError(RagShortcutError):
    """Raised when a model or tokenizer cannot be probed."""


class CheckpointNotFoundError(ModelError):
    """Raised when a checkpoint can be neither found nor loaded."""

    def __init__(self, *, name: str, reason: str) -> None:
        self.name, self.reason = name, reason
        super().__init__(
            f"no checkpoint could be loaded from {quoted(name)}: {reason}",
            where="model name or path",
            expected="A directory with config.json, model.safetensors and a fast tokenizer, "
            "a model name in the local cache, or embedded:reader",
            action="Check the path, and that it is relative to the folder pytest runs in",
        )


class AlteredWeightsError(ModelError):
    """Raised when a file of an embedded model is not the one shipped."""

    def __init__(self, *, name: str, files: Sequence[str]) -> None:
        self.name, self.files = name, tuple(files)
        super().__init__(
            f"{name} is not the model shipped; altered or missing: {listed(files)}",
            where="pytest_ragshortcut/models/embedded/weights",
            expected="Files with the checksums of SHA256SUMS; what the model does is known of "
            "these alone",
            action="Reinstall the package: pip install --force-reinstall pytest-ragshortcut",
        )


class TokenizerError(ModelError):
    """Raised when a tokenizer cannot say which characters a token covers."""

    def __init__(self, *, tokenizer: str, reason: str) -> None:
        self.tokenizer, self.reason = tokenizer, reason
        super().__init__(
            f"{tokenizer} cannot be used: {reason}",
            where="tokenizer",
            expected="A fast tokenizer whose offsets cover every character of the prompt",
            action="Load one with AutoTokenizer.from_pretrained(..., use_fast=True)",
        )


class TemplateError(ModelError):
    """Raised when a prompt template cannot carry the question and the passages."""

    def __init__(self, *, template: str, reason: str) -> None:
        self.template, self.reason = template, reason
        super().__init__(
            f"the prompt template {quoted(template)} cannot be used: {reason}",
            where="template",
            expected="Open-book text has {context} and {question} once each, closed-book text "
            "{question} once, and neither ends in white space",
            action="Pass Template(open_book=..., closed_book=...), or 'plain', or 'chat'",
        )


class UnsupportedArchitectureError(ModelError):
    """Raised when a model has no layers, or no attention, that a probe could reach."""

    def __init__(self, *, model: str, missing: str) -> None:
        self.model, self.missing = model, missing
        super().__init__(
            f"{model} cannot be probed: {missing}",
            where="architecture",
            expected="A causal language model with a list of decoder layers, each with attention",
            action="Add its module names to pytest_ragshortcut/models/architectures.py",
        )


class NonFiniteLogitsError(ModelError):
    """Raised when a forward pass gives NaN or infinite log-probabilities."""

    def __init__(self, *, model: str, dtype: str, row: int) -> None:
        self.model, self.dtype, self.row = model, dtype, row
        super().__init__(
            f"{model} returned a non-finite log-probability in {dtype}",
            where=f"row {row} of the plan",
            expected="Finite logits at every reader",
            action="Check the checkpoint for NaN weights, or load it with dtype='float32'",
        )


class AdapterSelfCheckError(ModelError):
    """Raised when what a probe reconstructed is not what the model computed."""

    def __init__(self, *, model: str, layer: int, error: float, max_error: float) -> None:
        self.model, self.layer, self.error, self.max_error = model, layer, error, max_error
        super().__init__(
            f"the contributions of {model} do not add up to its attention output: relative "
            f"error {error:.3g}, max_error {max_error:.3g}",
            where=f"layer {layer}",
            expected="The sum over heads and tokens plus the output bias is the attention output",
            action="Describe this architecture in pytest_ragshortcut/models/architectures.py",
        )


class ExecutorSelfCheckError(ModelError):
    """Raised when the incremental executor computes something else than the untouched model."""

    def __init__(self, *, model: str, error: float, max_error: float) -> None:
        self.model, self.error, self.max_error = model, error, max_error
        super().__init__(
            f"the incremental executor's logits of {model} are not the model's own: relative "
            f"error {error:.3g}, max_error {max_error:.3g}",
            where="self-check of the executor",
            expected="The logits of an untouched forward",
            action="Use the reference executor, RagModel(..., executor='reference')",
        )


class PlanError(RagShortcutError):
    """Raised when a plan asks for positions, layers or edges that do not exist."""


class UndefinedEffectError(RagShortcutError):
    """Raised when an effect is too small to be divided by."""

    def __init__(self, *, quantity: str, clean: float, corrupted: float, min_effect: float) -> None:
        self.quantity, self.clean, self.corrupted = quantity, clean, corrupted
        self.min_effect = min_effect
        super().__init__(
            f"the {quantity} is undefined: p(clean)={clean:.3g}, p(corrupted)={corrupted:.3g}, "
            f"total effect {clean - corrupted:.3g} < min_total_effect {min_effect:.3g}",
            where="corrupted run",
            expected="A corruption that moves the answer by at least min_total_effect",
            action="Corrupt a span that the answer depends on, or raise the noise scale",
        )


class UncomparedError(RagShortcutError):
    """Raised when a reliance check was made and never compared with a limit."""

    def __init__(self, *, check: str, where: str) -> None:
        self.check = check
        super().__init__(
            f"{check} was never compared with a limit, so it checks nothing",
            where=where,
            expected=f"A claim such as {check} > 0.8",
            action="Add the comparison: one of >, >=, <, <=",
        )


class OptionError(RagShortcutError):
    """Raised when an option, ini value or marker has a value that means nothing."""

    def __init__(self, *, option: str, value: str, expected: str) -> None:
        self.option, self.value = option, value
        super().__init__(
            f"{option} has the value {quoted(value)}",
            where=f"option {option}",
            expected=f"{option} takes {expected}",
            action=f"Give {option} one of these, or leave it out",
        )


class StoredFileError(RagShortcutError):
    """Raised when a stored baseline or report is missing, unreadable or of another schema."""


class MissingExtraError(RagShortcutError):
    """Raised when a feature needs an optional dependency."""

    def __init__(self, *, feature: str, package: str, extra: str) -> None:
        self.feature, self.package, self.extra = feature, package, extra
        super().__init__(
            f"{feature} needs {package}, which is not installed",
            where=f"extra [{extra}]",
            expected=f"The extra [{extra}] brings {package}",
            action=f"Install it: pip install 'pytest-ragshortcut[{extra}]'",
        )
