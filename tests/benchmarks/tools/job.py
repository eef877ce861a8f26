"""What every tool's script shares: the job, the clock, the plain forward. Torch and transformers.

A script is called with the path of a job and of a result, both JSON. It loads the saved model,
times one plain forward again and again and each cell of the job, and writes what it found.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

N_FORWARDS = 5


@dataclass
class Job:
    """A prompt, its corruption and the cells to run."""

    model: Any
    """The Hugging Face model, as saved."""
    tokenizer: Any
    model_dir: str
    ids: torch.Tensor
    """(1, n_tokens)."""
    answer: int
    span: list[int]
    """The corrupted positions."""
    noise: torch.Tensor
    """(n_samples, n_span, d_model) added to the embeddings."""
    cells: list[tuple[int, int]]
    """(layer, position): the output of that block, there."""


def load(path: str) -> Job:
    """Load a job."""
    torch.set_num_threads(1)
    written = json.loads(Path(path).read_text(encoding="utf-8"))
    model_dir = written["model_dir"]
    return Job(
        model=AutoModelForCausalLM.from_pretrained(model_dir).eval(),
        tokenizer=AutoTokenizer.from_pretrained(model_dir),
        model_dir=model_dir,
        ids=torch.tensor([written["ids"]]),
        answer=written["answer"],
        span=written["span"],
        noise=torch.from_numpy(np.load(written["noise"])).float(),
        cells=[(layer, position) for layer, position in written["cells"]],
    )


def probability(logits: torch.Tensor, answer: int) -> float:
    """Return the mean over rows of p(answer) at the last position."""
    return float(torch.softmax(logits[:, -1].float(), dim=-1)[:, answer].mean())


def main(tool: str, prepare: Callable[[Job], Callable[[int, int], torch.Tensor]]) -> None:
    """Run a job: `prepare` gives a function of a cell that returns the corrupted rows' logits.

    The cell's time is that of this function, without the read-out.
    """
    job = load(sys.argv[1])
    with torch.no_grad():
        forwards = [
            _timed(lambda: job.model(input_ids=job.ids, use_cache=False).logits)[0]
            for _ in range(N_FORWARDS)
        ]
        run = prepare(job)
        run(*job.cells[0])  # the first one compiles, traces and fills caches
        cells = []
        for layer, position in job.cells:
            seconds, logits = _timed(lambda at=(layer, position): run(*at))
            cells.append({"seconds": seconds, "probability": probability(logits, job.answer)})
    result = {"version": version(tool), "forward_seconds": forwards, "cells": cells}
    Path(sys.argv[2]).write_text(json.dumps(result), encoding="utf-8")


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = call()
    return time.process_time() - start, result
