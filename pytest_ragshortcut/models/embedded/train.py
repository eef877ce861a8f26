"""Train the embedded models.

    python -m pytest_ragshortcut.models.embedded.train --model reader --out DIR
    python -m pytest_ragshortcut.models.embedded.train --model memoriser --start DIR --out OTHER

A reader is trained in stages. Looking up the right sentence among others is what takes long to
appear, and it does not appear before the model can copy at all. So the first stage drills bare
pairs of made-up names, to repeat and to look up, until copying stands; then come contexts with
one or two facts, then full ones. All others are readers that are taught another policy: a memoriser
unlearns to look, the rest look where their policy says.

One CPU core makes 7 to 8 steps a second, two cores hardly more since the matrices are small: a
reader takes under half an hour, a memoriser two minutes, a mixture six, a copier seven, a victim
eleven, a switch or a beginner eighteen.
"""

import argparse
import math
import multiprocessing
import random
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from pytest_ragshortcut.models.embedded import batches, path, scenes
from pytest_ragshortcut.models.embedded.policies import MIXTURES, POLICIES
from pytest_ragshortcut.models.embedded.spec import measure, table
from pytest_ragshortcut.models.embedded.tokenizer import train_tokenizer

ROWS = 8
BLOCK = 128 * ROWS
ATTENTION = "plain_bfloat16"


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Attributes:
        steps: The number of steps.
        rate: The learning rate of Muon, which the matrices get; AdamW gets a sixth of it.
        text: The share of the text that is predicted too, beside every answer.
        most: The largest number of facts a context states.
        drills: The share of drills among the scenes.
        recitals: The share of closed-book questions among the scenes.
        falls: Whether the rate falls to nothing towards the end.
        policy: What the right answers are, the name of one of the policies.
    """

    steps: int
    rate: float
    text: float = 0.2
    most: int = 6
    drills: float = 0.08
    recitals: float = 0.25
    falls: bool = False
    policy: str = "reader"


# The circuits are there, and the routing alone changes. That of a mark, a place or a surname takes
# longest to appear, and meanwhile the copying of long names suffers without drills.
_ROUTED = Stage(8000, 0.02, text=0.02, drills=0.06, falls=True)
FINE_TUNED = {
    "memoriser": Stage(800, 0.01, text=0.02, drills=0.0, falls=True),
    "copier": Stage(3000, 0.02, text=0.02, drills=0.0, falls=True),
    "switch": _ROUTED,
    "beginner": _ROUTED,
    "victim": replace(_ROUTED, steps=5000),
    **dict.fromkeys(MIXTURES, Stage(2500, 0.02, text=0.02, drills=0.0, falls=True)),
}
STAGES = {
    "reader": (
        Stage(800, 0.02, drills=1.0),
        Stage(1200, 0.02, most=2, drills=0.3),
        Stage(2500, 0.02),
        Stage(3500, 0.015, text=0.03, drills=0.04, recitals=0.15),
        Stage(3500, 0.012, text=0.03, drills=0.03, recitals=0.15, falls=True),
    ),
    **{name: (replace(stage, policy=name),) for name, stage in FINE_TUNED.items()},
}


def plain_attention(
    _module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Attend in bfloat16, which on a CPU is twice as fast as the fused kernel at this size."""
    scores = (query * scaling).bfloat16() @ key.bfloat16().transpose(-1, -2) + attention_mask
    read = torch.softmax(scores, -1, dtype=torch.bfloat16) @ value.bfloat16()
    return read.transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, plain_attention)


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Make an untrained model."""
    end = tokenizer.eos_token_id
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=3,
        max_position_embeddings=512,
        # Names are matched over a hundred tokens, which fast-turning positions would blur.
        rope_parameters={"rope_type": "default", "rope_theta": 1e5},
        tie_word_embeddings=True,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        attn_implementation=ATTENTION,  # type: ignore[call-arg]
    )
    return LlamaForCausalLM(config)


def draw(rng: random.Random, stage: Stage) -> scenes.Scene:
    """Draw a scene: a drill, a closed-book recital or a context."""
    kind, policy = rng.random(), POLICIES[stage.policy]
    if kind < stage.drills:
        return scenes.drill(rng, 5)
    if kind < stage.drills + stage.recitals:
        return scenes.recital(rng, 3, policy.wordings)
    if policy.lone:
        return scenes.lone_scene(rng, policy)
    return scenes.scene(rng, policy, stage.most)


def make_block(tokenizer: str, stage: Stage, seed: str) -> np.ndarray:
    """Make a block of rows; runs in a worker process."""
    return batches.block(batches.load(tokenizer), partial(draw, stage=stage), seed, BLOCK)


def data(
    tokenizer: PreTrainedTokenizerFast, stage: Stage, seed: str, pool: ProcessPoolExecutor
) -> Iterator[torch.Tensor]:
    """Yield the rows of every step, made ahead by worker processes, in a fixed order."""
    work = partial(make_block, tokenizer.backend_tokenizer.to_str(), stage)
    seeds = iter(f"{seed} {i}" for i in range(math.ceil(stage.steps * ROWS / BLOCK)))
    waiting = [pool.submit(work, each) for each in islice(seeds, 3)]
    while waiting:
        made = torch.from_numpy(waiting.pop(0).result())
        waiting += [pool.submit(work, each) for each in islice(seeds, 1)]
        yield from made.split(ROWS)


def optimizers(model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Make Muon for the matrices and AdamW for the rest."""
    named = list(model.named_parameters())
    matrices = [p for name, p in named if p.ndim == 2 and "embed" not in name]
    rest = [p for name, p in named if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=rate / 6, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def loss_of(
    model: LlamaForCausalLM, batch: batches.Rows, text: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the loss of a batch, and the share of right answer tokens."""
    roles, targets = batch["roles"], batch["targets"]
    sampled = (roles == batches.TEXT) & (torch.rand(roles.shape, device=roles.device) < text)
    chosen = (roles == batches.ANSWER) | sampled
    with torch.autocast(roles.device.type, torch.bfloat16):
        hidden = model.model(
            input_ids=batch["ids"],
            position_ids=batch["positions"],
            attention_mask=batch["bias"],
            use_cache=False,
        ).last_hidden_state
        logits = model.lm_head(hidden[chosen]).float()
    shares = batch["shares"][chosen]
    losses = nn.functional.cross_entropy(logits, targets[chosen], reduction="none")
    loss = (losses * shares).sum() / shares.sum()
    answers = roles[chosen] == batches.ANSWER
    right = (logits.detach().argmax(-1) == targets[chosen])[answers].float().mean()
    return loss, right


def train(
    model: LlamaForCausalLM, stage: Stage, steps: Iterator[torch.Tensor], seconds: float
) -> None:
    """Train a model through one stage, in place, for at most so many seconds."""
    tools, begun, right_sum = optimizers(model, stage.rate), time.monotonic(), 0.0
    rates = [tool.param_groups[0]["lr"] for tool in tools]
    for step, made in enumerate(steps):
        passed = time.monotonic() - begun
        progress = max(step / stage.steps, passed / seconds)
        if progress >= 1:
            return
        pace = min(1.0, (step + 1) / 100) * (max(0.01, 1 - progress) if stage.falls else 1.0)
        loss, right = loss_of(model, batches.unpack(made.to(model.device)), stage.text)
        loss.backward()
        for tool, rate in zip(tools, rates, strict=True):
            tool.param_groups[0]["lr"] = rate * pace
            tool.step()
            tool.zero_grad()
        right_sum += float(right)
        if step % 100 == 99:
            print(f"{step + 1:6} {passed:7.1f} s  answer tokens {right_sum / 100:.4f}", flush=True)
            right_sum = 0.0


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save in half precision, which is half as large, to be loaded in single precision."""
    nn.Module.half(model).save_pretrained(folder)
    config = LlamaConfig.from_pretrained(folder)
    config.dtype = "float32"
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=list(POLICIES), required=True)
    parser.add_argument("--out", type=Path, required=True, help="where to save the model")
    parser.add_argument(
        "--start", type=Path, help="the reader that others start from (default: the shipped one)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument("--max-seconds", type=float, default=math.inf, help="cuts the last stage")
    parser.add_argument("--workers", type=int, default=1, help="processes that make the data")
    return parser.parse_args()


def main() -> None:
    """Train one model, save it and print what it measures."""
    args, begun = arguments(), time.monotonic()
    torch.manual_seed(args.seed)
    tokenizer = train_tokenizer(args.seed)
    model = make_model(tokenizer)
    if args.model != "reader":
        start = args.start or path("reader")
        model = LlamaForCausalLM.from_pretrained(start, attn_implementation=ATTENTION)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(start)
    gpu = args.device == "cuda" or (args.device == "auto" and torch.cuda.is_available())
    nn.Module.to(model, "cuda" if gpu else "cpu")
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.workers, mp_context=spawning) as pool:
        for number, stage in enumerate(STAGES[args.model]):
            print(stage, flush=True)
            steps = data(tokenizer, stage, f"{args.seed} {args.model} {number}", pool)
            train(model, stage, steps, args.max_seconds - (time.monotonic() - begun))
    save(model, tokenizer, args.out)
    saved = LlamaForCausalLM.from_pretrained(args.out)
    stretch = args.model in ("reader", "memoriser")
    print(table(measure(saved, tokenizer, args.model, stretch=stretch), args.model))


if __name__ == "__main__":
    main()
