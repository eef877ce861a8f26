"""A run as a model card's metadata: what the Hugging Face Hub shows of how a model was evaluated.

Results of ours are those on the data set `pytest-ragshortcut`. Everything else on a card stays: its
text, and of its metadata all but `model-index`, to the character wherever that can be cut out.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path, PurePath
from statistics import fmean
from typing import TYPE_CHECKING, Any

from pytest_ragshortcut.core.words import counted
from pytest_ragshortcut.errors import OptionError, StoredFileError, listed
from pytest_ragshortcut.reporting.characters import portable
from pytest_ragshortcut.reporting.schema import CheckRecord, GateRecord, Report
from pytest_ragshortcut.stored.files import replace_whole

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

DATASET = "pytest-ragshortcut cases"
# The Hub takes word characters, dots and hyphens here, and one slash.
_TYPE = "pytest-ragshortcut"
_INDEX = "model-index"
_N_DIGITS = 4

# Blank lines and comments at its end belong to what follows.
_END = re.compile(r"(?:^(?:#[^\r\n]*)?(?:\r\n|\n|\r))*\Z", flags=re.MULTILINE)
_REST_OF_LINE = re.compile(r"\A[ \t]*(?:\r\n|\n|\r)")

_Metric = tuple[str, str, float | str | None, Mapping[str, Any]]
"""Type, name, value, which is None where it is undefined, and what it rests on."""


def eval_results(
    report: Report, *, model: str | None = None, dataset: str = DATASET
) -> list[EvalResult]:
    """Return what a card says of one model: mean reliances, the share of claims held, the gate.

    What is undefined is left out. The revision of the data set is a digest of its cases: where two
    cards agree in it, the same was asked.

    Args:
        report: the run.
        model: its name in the report; needed where the report is of several.
        dataset: what the cases are called.

    Raises:
        StoredFileError: if the report is of several models and none is named.
        OptionError: if the report is of others.

    Example:
        >>> check = {"kind": "context", "model": "a", "case": "", "score": 0.5, "held": False,
        ...          "claims": ["> 0.8"]}
        >>> tests = [{"checks": [check], "n_checks": 1}]
        >>> report = {"tests": tests, "models": [], "gate": None, "plugin": "0.1.0", "created": "",
        ...           "seed": 0}
        >>> [(each.metric_name, each.metric_value) for each in eval_results(report)]
        [('Mean context reliance of 1 check', 0.5), ('Share of checks whose claims held', 0.0)]
    """
    from huggingface_hub import EvalResult

    chosen = _chosen(report, model)
    asked = (check for test in report["tests"] for check in test["checks"])
    checks = [check for check in asked if check["model"] == chosen]
    return [
        EvalResult(
            task_type="text-generation",
            task_name="Retrieval-augmented generation",
            dataset_type=_TYPE,
            dataset_name=dataset,
            dataset_revision=_revision(checks),
            dataset_args=_defined(_how(report, chosen)),
            metric_type=kind,
            metric_name=_plain(name),
            metric_value=_plain(value),
            metric_args=_defined(rests_on),
        )
        for kind, name, value, rests_on in _metrics(checks, report["gate"], chosen)
        if value is not None
    ]


def front_matter(report: Report, *, model: str | None = None) -> str:
    """Return the metadata of a card that has nothing else, as YAML.

    Raises:
        StoredFileError: if the report has nothing to say of a model, or is of several.
        OptionError: if it is of others.
    """
    name, results = _said(report, model)
    return _written({_INDEX: _index(None, results, name)})


def update_card(path: Path, report: Report, *, model: str | None = None) -> None:
    """Put a run's results into a card, which is replaced whole or stays as it was.

    Where there is none, one is made.

    Raises:
        StoredFileError: if the report has nothing to say of a model, or is of several; if the card
            cannot be read or written, or its metadata is none that huggingface_hub can read.
        OptionError: if the report is of other models.
    """
    name, results = _said(report, model)
    try:
        old = path.read_bytes() if path.exists() else f"\n# {name}\n".encode()
        encoding = "utf-8-sig" if old.startswith(codecs.BOM_UTF8) else "utf-8"
        new = updated(old.decode(encoding), results, name).encode(encoding)
    except OSError as error:
        raise _unusable(path, "read", error.strerror or error, "Check the path") from error
    except ValueError as error:
        raise _unusable(path, "read", error, "Mend its metadata") from error
    _replace(path, new)


def updated(text: str, results: Sequence[EvalResult], name: str) -> str:
    r"""Return a card's text with results in its metadata, in the place of earlier ones of ours.

    Args:
        text: the card.
        results: what `eval_results` returns.
        name: the model's; a name that the card's `model-index` has already is kept.

    Raises:
        ValueError: if its metadata is none that huggingface_hub can read.

    Example:
        >>> from huggingface_hub import EvalResult
        >>> ours = EvalResult("text-generation", "pytest-ragshortcut", "cases", "reliance", 0.5)
        >>> print(updated("---\nlicense: mit  # so far\n---\nOf old.", [ours], "a"))
        ---
        license: mit  # so far
        model-index:
        - name: a
          results:
          - task:
              type: text-generation
            dataset:
              name: cases
              type: pytest-ragshortcut
            metrics:
            - type: reliance
              value: 0.5
        ---
        Of old.
    """
    import yaml
    from huggingface_hub import ModelCard
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    found = REGEX_YAML_BLOCK.search(text)
    line_break = "\r\n" if "\r\n" in text else "\n"
    opening, block, rest = f"---{line_break}", "", f"---{line_break}{text}"
    if found:
        line_break = found[1].partition("---")[2]
        opening, block = found[1], found[2] + line_break
        rest = found[3].lstrip("\r\n") + text[found.end() :]
    try:
        if found:
            ModelCard(text)  # says what is wrong with it
        metadata = yaml.safe_load(block) or {}
        index = _index(metadata.get(_INDEX), results, name)
        made = opening + _spliced(block, metadata | {_INDEX: index}, line_break) + rest
        back = ModelCard(made).data.get("eval_results", [])
    except (yaml.YAMLError, TypeError, AttributeError, LookupError) as error:
        raise ValueError(" ".join(str(error).split())) from error
    if [each for each in back if each.dataset_type == _TYPE] != list(results):
        raise ValueError("huggingface_hub would read other results than these")
    return made


def _index(old: Any, results: Sequence[EvalResult], name: str) -> list[dict[str, Any]]:
    from huggingface_hub.repocard_data import eval_results_to_model_index

    first, *others = (
        entry | {"results": [each for each in entry["results"] if each["dataset"]["type"] != _TYPE]}
        for entry in old or [{"name": name, "results": []}]
    )
    (made,) = eval_results_to_model_index(name, list(results))
    return [first | {"results": first["results"] + made["results"]}, *others]


def _spliced(block: str, metadata: Mapping[str, Any], line_break: str) -> str:
    """Put the index into YAML as it stands; where that cannot be, write all of it anew."""
    import yaml

    node = yaml.compose(block, Loader=yaml.SafeLoader)
    start = end = len(block)
    for key, value in node.value if node else ():
        if key.value == _INDEX:
            start, end = key.start_mark.index, value.end_mark.index
    index = _written({_INDEX: metadata[_INDEX]}, line_break)
    kept = "".join(_END.findall(block[start:end]))
    spliced = block[:start] + index + kept + _REST_OF_LINE.sub("", block[end:])
    for made in (spliced, _written(metadata, line_break)):
        with suppress(yaml.YAMLError):
            if _written(yaml.safe_load(made)) == _written(metadata):
                return made
    raise ValueError("what was to be written would be read as something else")


def _written(value: Mapping[str, Any], line_break: str = "\n") -> str:
    import yaml

    return str(yaml.dump(value, sort_keys=False, allow_unicode=True, line_break=line_break))


def _said(report: Report, model: str | None) -> tuple[str, list[EvalResult]]:
    """Return a model's name as a card has it, and what there is to say of it."""
    results = eval_results(report, model=model)
    if results:
        return _short(_chosen(report, model)), results
    raise StoredFileError(
        "no check of the report has a score or a claim",
        where="card",
        expected="A card says what was measured",
        action="Write a report of tests that make claims",
    )


def _chosen(report: Report, model: str | None) -> str:
    checks = [check for test in report["tests"] for check in test["checks"]]
    gated = report["gate"]["properties"] if report["gate"] else []
    names = list(dict.fromkeys(each["model"] for each in (*checks, *gated)))
    if not names or model in names:
        return model or ""
    if model is not None:
        expected = f"the name of a model in the report: {listed(names)}"
        raise OptionError(option="--model", value=model, expected=expected)
    if len(names) > 1:
        raise StoredFileError(
            f"the report is of {len(names)} models",
            where="card",
            expected=f"A card is of one model: {listed(names)}",
            action="Name it with --model",
        )
    return names[0]


def _short(name: str) -> str:
    """Return what a model is called without the folders that it lies in."""
    return PurePath(str(_plain(name))).name or "model"


def _revision(checks: Sequence[CheckRecord]) -> str | None:
    cases = "\n".join(sorted({check["case"] for check in checks}))
    # As long as a commit's hash, which is what stands here for data sets of the Hub.
    return sha256(cases.encode("utf-8", "surrogatepass")).hexdigest()[:40] if checks else None


def _how(report: Report, model: str) -> Mapping[str, Any]:
    prints = [each["fingerprint"] for each in report["models"] if each["name"] == model]
    asked = [test for test in report["tests"] if any(c["model"] == model for c in test["checks"])]
    return {
        "model_fingerprint": ", ".join(dict.fromkeys(prints)) or None,
        "plugin": report["plugin"],
        "created": report["created"],
        "seed": report["seed"],
        "n_checks_left_out": sum(test["n_checks"] - len(test["checks"]) for test in asked) or None,
    }


def _metrics(checks: list[CheckRecord], gate: GateRecord | None, model: str) -> Iterator[_Metric]:
    for kind in ("context", "parametric"):
        asked = [check for check in checks if check["kind"] == kind]
        scores = [check["score"] for check in asked if check["score"] is not None]
        name = f"Mean {kind} reliance of {counted(len(scores), 'check')}"
        rests_on: dict[str, Any] = {
            "n_checks": len(scores),
            "n_cases": len({check["case"] for check in asked if check["score"] is not None}),
            "n_undefined": len(asked) - len(scores),
        }
        yield f"{kind}_reliance", name, fmean(scores) if scores else None, rests_on
    held = [check["held"] for check in checks if check["claims"]]
    share = sum(held) / len(held) if held else None
    yield "claims_held", "Share of checks whose claims held", share, {"n_checks": len(held)}
    properties = [each for each in gate["properties"] if each["model"] == model] if gate else []
    for each in properties:
        name = f"Change since {_short(each['baseline_model'])}, more is better: {each['name']}"
        rests_on = {key: each[key] for key in ("outcome", "baseline", "candidate", "n_cases")}
        ends = dict(zip(("lower", "upper"), each["change_interval"], strict=False))
        yield "reliance_change", name, each["change"], rests_on | ends
    if gate and properties:
        rests_on = {"passes": gate["passes"], "policy": gate["policy"]}
        yield "release_gate", "Release gate", gate["outcome"], rests_on


def _defined(args: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in args.items() if value is not None}


def _plain(value: Any) -> Any:
    """Round a number, and write text on one line: YAML's readers disagree on what breaks one."""
    if isinstance(value, str):
        return " ".join(portable(value).split())
    # Nought has no sign.
    return round(value, _N_DIGITS) + 0.0 if isinstance(value, float) else value


def _replace(path: Path, content: bytes) -> None:
    try:
        replace_whole(path, content)
    except OSError as error:
        raise _unusable(path, "written", error.strerror or error, "Name another file") from error


def _unusable(path: Path, what: str, problem: object, action: str) -> StoredFileError:
    return StoredFileError(
        f"the model card {str(path)!r} cannot be {what}: {problem}",
        where="card",
        expected="A card is Markdown, its metadata YAML between two lines of '---' at its top",
        action=action,
    )
