"""Made-up records for tests of what is shown: every field filled, nothing measured."""

from __future__ import annotations

from typing import Any, cast

from pytest_ragshortcut.reporting.schema import (
    SCHEMA,
    CheckRecord,
    ExplanationRecord,
    GateRecord,
    ModelRecord,
    ReadingRecord,
    Report,
    TestRecord,
)

TOKENS = ["Context", ":", " Ada", " was", " born", " in", " Cork", ".", "\n"]
TOKENS += ["Question", ":", " Where", " was", " Ada", " born", "?", "\n", "Answer", ":"]
SPANS = {
    "context": [[2, 8]],
    "passage_0": [[2, 8]],
    "question": [[11, 16]],
    "subject": [[13, 14]],
    "attribute": [[6, 7]],
    "readers": [[18, 19]],
    "last": [[18, 19]],
    "template": [[0, 2], [8, 11], [16, 19]],
}
N_LAYERS = 4
COLUMNS = [6, 7, 13, 18]


def explanation() -> ExplanationRecord:
    """Make an explanation of a prompt of 19 tokens on 4 layers."""
    n = len(TOKENS)
    layers = [f"layer {layer}" for layer in range(N_LAYERS)]
    return {
        "tokens": list(TOKENS),
        "spans": {role: [list(run) for run in spans] for role, spans in SPANS.items()},
        "shades": {
            "attention contribution": [round(i / n, 3) for i in range(n)],
            "causal trace": [float(i == 6) if i in COLUMNS else None for i in range(n)],
        },
        "maps": [
            {
                "title": "attribute masked, one state restored",
                "unit": "p(answer) given back",
                "rows": layers,
                "columns": list(COLUMNS),
                "values": [
                    [0.9, 0.1, 0.0, 0.0],
                    [0.7, 0.2, 0.0, 0.1],
                    [0.2, 0.1, -0.05, 0.6],
                    [0.0, None, 0.0, 0.9],
                ],
            }
        ],
        "curves": [
            {
                "title": "attention knockout, windows of 2 layers",
                "unit": "relative change of p(answer)",
                "points": layers,
                "lines": [
                    {"label": "attribute", "book": "open", "values": [0.0, -0.2, -0.9, -0.1]},
                    {"label": "subject", "book": "open", "values": [0.0, 0.0, -0.1, None]},
                    {"label": "subject", "book": "closed", "values": [-0.1, -0.8, -0.4, 0.0]},
                ],
            }
        ],
        "pieces": [
            {
                "passage": 0,
                "sentence": None,
                "text": "Ada was born in Cork.",
                "probability": 0.01,
                "effect": 7.5,
            }
        ],
        "missing": {},
    }


def check(
    *,
    kind: str = "context",
    score: float | None = 0.5,
    verdict: str = "MIXED",
    claims: tuple[str, ...] = ("> 0.8",),
    held: bool = False,
    explained: bool = True,
    question: str = "Where was Ada born?",
    passages: tuple[str, ...] = ("Ada was born in Cork.",),
    seconds: float = 0.25,
) -> CheckRecord:
    """Make one check."""
    return {
        "check": f"assert_{kind}_reliance",
        "kind": "context" if kind == "context" else "parametric",
        "case": f"RagCase({question!r}, {passages!r})",
        "asking": "0123456789ab",
        "question": question,
        "passages": list(passages),
        "subject": "Ada",
        "answer": "Cork",
        "context_answer": "Cork",
        "memory_answer": "Dublin",
        "found": {
            "subject": {"text": "Ada", "how": "the only name in the question"},
            "answer": {"text": "Cork", "how": "the model's greedy open-book answer"},
        },
        "score": score,
        "interval": [None, None] if score is None else [score, score],
        "verdict": verdict,
        "reason": "follow is 0.50, between memory and context",
        "model": "embedded:reader",
        "swap": {
            "substitutes": ["Rome", "Oslo"],
            "substitute_probability": [0.5, 0.49],
            "memory_probability": [0.5, 0.51],
        },
        "evidence": [
            {"probe": "swap: follow", "value": 0.5, "reading": "over Rome, Oslo"},
            {
                "probe": "knockout attribute -> answer",
                "value": -0.5,
                "reading": "relative change of p(answer), all layers",
            },
            {"probe": "contributions", "value": None, "reading": "no attention"},
        ],
        "claims": list(claims),
        "held": held,
        "work": {"seconds": seconds, "forwards": 5.1, "remembered": 2, "computed": 9},
        "spread": 1e-06,
        "explanation": explanation() if explained else None,
        "unexplained": "",
        "notes": {"ticket": "RAG-17"},
    }


def of_test(name: str = "test_it", *checks: CheckRecord, outcome: str = "failed") -> TestRecord:
    """Make a test of some checks, or of one."""
    made = checks or (check(),)
    return {
        "id": f"test_release.py::{name}",
        "command": f'pytest "test_release.py::{name}"',
        "file": "test_release.py",
        "line": 7,
        "outcome": "passed" if outcome == "passed" else "failed",
        "seconds": 1.5,
        "n_checks": len(made),
        "checks": list(made),
        "hunt": None,
    }


def model(name: str = "embedded:reader") -> ModelRecord:
    """Make a model."""
    return {
        "name": name,
        "fingerprint": "0123456789ab",
        "weights": "23456789abcd",
        "tokenizer": "3456789abcde",
        "chat_template": "",
        "config": "456789abcdef",
        "quantization": "",
        "libraries": {"torch": "2.13.0", "transformers": "5.23.0"},
        "device": "cpu",
        "dtype": "float32",
        "attention": "sdpa",
        "executor": "incremental",
        "n_layers": N_LAYERS,
        "n_parameters": 900_000,
        "n_bytes": 3_600_000,
        "n_copies": 1,
    }


def report(*tests: TestRecord) -> Report:
    """Make a report of some tests, or of one."""
    return {
        "schema": SCHEMA,
        "plugin": "0.1.0",
        "created": "2026-01-02T03:04:05+00:00",
        "seed": 0,
        "models": [model()],
        "tests": list(tests or (of_test(),)),
        "notes": [],
        "gate": None,
    }


def reading(score: float | None = 1.0, verdict: str = "SHORTCUT") -> ReadingRecord:
    """Make what a baseline keeps of a check."""
    return {
        "score": score,
        "interval": [score, score],
        "verdict": verdict,
        "answer": "Cork" if verdict == "SHORTCUT" else "Dublin",
        "context_answer": "Cork",
        "memory_answer": "Dublin",
        "readings": {"swap: follow": score, "knockout attribute -> answer": -0.5},
    }


def gate(*, passes: bool = False) -> GateRecord:
    """Make a gate of two properties, with a regression, a waived one and a warning."""
    case = "RagCase('Where was Ada born?', ('Ada was born in Cork.',))"
    regression = {
        "property": "test_release.py::test_it, context",
        "model": "./candidate",
        "test": "test_release.py::test_it[ada]",
        "command": 'pytest "test_release.py::test_it[ada]"',
        "case": case,
        "kind": "context",
        "question": "Where was Ada born?",
        "change": -0.75,
        "old": reading(),
        "new": reading(0.25, "MEMORY"),
        "waived": "",
    }
    undefined = {**regression, "change": None, "new": reading(None, "UNGROUNDED")}
    waived = {**regression, "test": "test_release.py::test_it[bob]", "waived": "RAG-17: old name"}
    fell = {
        "name": "test_release.py::test_it, context",
        "model": "./candidate",
        "baseline_model": "./released",
        "outcome": "PASS" if passes else "FAIL",
        "decides": True,
        "sentence": "unchanged on average; "
        "0 of 40 cases fell by more than 0.05, which still allows 8.8 %"
        if passes
        else "reads 0.19 less, at least 0.11 less with 95 % confidence: more than 0.05",
        "n_cases": 40,
        "n_left_out": 1,
        "baseline": 0.98,
        "candidate": 0.79,
        "change": -0.19,
        "change_interval": [-0.31, -0.11],
        "candidate_interval": [0.61, 0.9],
        "n_regressed": 9,
        "regressed_interval": [0.108, 0.385],
        "n_more": 0,
    }
    unclear = {
        **fell,
        "name": "test_release.py::test_other, parametric",
        "outcome": "PASS" if passes else "INCONCLUSIVE",
        "decides": False,
        "sentence": "unchanged on average, but 12 cases still allow 0.27 less; "
        "about 60 more cases like these would decide",
        "n_cases": 12,
        "n_left_out": 0,
        "candidate": 0.98,
        "change": 0.0,
        "change_interval": [-0.27, 0.27],
        "n_regressed": 0,
        "regressed_interval": [0.0, 0.265],
        "n_more": 60,
    }
    made: Any = {
        "outcome": "PASS" if passes else "FAIL",
        "passes": passes,
        "sentence": "2 properties are no worse"
        if passes
        else "1 of 2 properties is shown to be worse: test_release.py::test_it, context",
        "action": "Release it" if passes else "Look at the regressions below, the worst first",
        "policy": "margin:0.05, floor:0.8, confidence:0.95, inconclusive:fail",
        "baseline": "rag-baselines/released.json",
        "confidence": 0.95,
        "margin": 0.05,
        "floor": 0.8,
        "tolerance": 0.0001,
        "properties": [fell, unclear],
        "regressions": [waived] if passes else [undefined, regression, waived],
        "waivers": [
            {
                "test": "test_release.py::test_it[bob]",
                "case": "",
                "reason": "RAG-17: old name",
                "expires": "2027-01-31",
                "is_expired": False,
                "n_cases": 1,
            }
        ],
        "warnings": ["the device was cuda:0 and is cpu"],
    }
    return cast("GateRecord", made)
