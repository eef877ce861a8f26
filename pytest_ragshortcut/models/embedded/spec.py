"""What the embedded models promise, measured on held-out cases.

The cases hold names that training never showed, in contexts it never showed, and a case counts
only where the whole greedy answer is the wanted one.
"""

import math
import random
from dataclasses import dataclass
from itertools import product

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from pytest_ragshortcut.models.embedded import world
from pytest_ragshortcut.models.embedded.cases import (
    KINDS,
    LONE_KINDS,
    PLANTED_KINDS,
    Case,
    case,
    lone_case,
    planted_case,
)
from pytest_ragshortcut.models.embedded.policies import MIXTURES, POLICIES

MOST = 0.98
"""The share of cases from which a planted behaviour is shown."""
SPREAD = 0.05
"""How far a mixture's share may be from the one it was taught."""
PLANTED = {
    "reader": KINDS,
    "memoriser": tuple(kind for kind in KINDS if kind != "made up"),
    "copier": ("closed", *LONE_KINDS),
    "switch": ("closed", "marked", "unmarked", "no mark"),
    "beginner": ("closed", "first", "late"),
    "victim": ("closed", "lookalike", "alone"),
    **dict.fromkeys(MIXTURES, ("closed", "agreeing", "unseen answer", "known answer")),
}
"""The kinds of cases in which each model shows its policy."""
STRETCH = ("unseen answer", "known answer")
"""Kinds that come in harder forms too, of which nothing is promised."""


@dataclass(frozen=True)
class Rate:
    """How many of the cases of one kind came out as wanted.

    Of a mixture's conflicts the hits are the expected number of followed ones.
    """

    hits: float
    count: int

    @property
    def share(self) -> float:
        """The share of hits."""
        return self.hits / self.count


@torch.no_grad()
def answers(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: list[str],
    batch: int = 100,
) -> list[str]:
    """Answer prompts greedily, prompts of like length together."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    given = [""] * len(prompts)
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        inputs = tokenizer(
            [prompts[i] for i in part], return_tensors="pt", padding=True, padding_side="left"
        ).to(model.device)
        made = model.generate(  # type: ignore[misc]
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            max_new_tokens=24,
            do_sample=False,
        )
        new = made[:, inputs["input_ids"].shape[1] :]
        for i, text in zip(part, tokenizer.batch_decode(new), strict=True):
            given[i] = text.split(tokenizer.eos_token)[0].removeprefix(" ")
    return given


@torch.no_grad()
def probability(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompt: str, answer: str
) -> float:
    """Compute the probability of a whole answer after a prompt, its end included."""
    asked = tokenizer(prompt)["input_ids"]
    told = tokenizer(f" {answer}{tokenizer.eos_token}")["input_ids"]
    ids = torch.tensor([asked + told], device=model.device)
    logits = model(input_ids=ids).logits[0, len(asked) - 1 : -1].float().log_softmax(-1)
    return float(logits[range(len(told)), told].sum().exp())


def cases(kind: str, n: int, seed: int, order: str = "subject first") -> list[Case]:
    """Draw the held-out cases of one kind."""
    rng = random.Random(f"held-out {seed} {kind} {order}")
    if kind in PLANTED_KINDS:
        return [planted_case(rng, kind) for _ in range(n)]
    if kind in LONE_KINDS:
        return [lone_case(rng, kind) for _ in range(n)]
    return [case(rng, kind, order) for _ in range(n)]


def wanted(case: Case, name: str) -> str | None:
    """Say what the model of this name should answer; a memoriser cannot know what is made up."""
    return POLICIES[name].answer(case.told)


def follow_share(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, drawn: list[Case]
) -> float:
    """Compute how often the stated answer would be said rather than the known one, on average."""
    shares = []
    for each in drawn:
        asked = each.prompt
        stated, known = (
            probability(model, tokenizer, asked, str(answer))
            for answer in (each.told.stated, each.told.known)
        )
        shares.append(stated / (stated + known))
    return sum(shares) / len(shares)


def rate(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    name: str,
    drawn: list[Case],
) -> Rate:
    """Count the cases a model answers as its name promises."""
    if name in MIXTURES and wanted(drawn[0], name) is None:
        return Rate(follow_share(model, tokenizer, drawn) * len(drawn), len(drawn))
    prompts = [case.prompt for case in drawn]
    given = answers(model, tokenizer, prompts)
    hits = sum(a == wanted(case, name) for a, case in zip(given, drawn, strict=True))
    return Rate(hits, len(drawn))


def measure(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    name: str,
    n: int = 500,
    seed: int = 1,
    stretch: bool = False,
) -> dict[str, Rate]:
    """Measure a model by kind of case.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        name: Which of the models it is meant to be.
        n: The number of cases of each kind.
        seed: The seed of the cases.
        stretch: Whether to measure the harder forms too, of which nothing is promised.
    """
    rates = {kind: rate(model, tokenizer, name, cases(kind, n, seed)) for kind in PLANTED[name]}
    if stretch:
        for kind, order in product(STRETCH, world.ORDERS[1:]):
            drawn = cases(kind, n, seed, order)
            rates[f"{kind}, {order}"] = rate(model, tokenizer, name, drawn)
    return rates


def bounds(name: str) -> dict[str, tuple[float, float]]:
    """Return the least and the greatest share that a model promises of each kind."""
    promised = dict.fromkeys(PLANTED[name], (MOST, 1.0))
    if name in MIXTURES:
        taught = MIXTURES[name]
        promised |= dict.fromkeys(STRETCH, (taught - SPREAD, taught + SPREAD))
    return promised


def missed(rates: dict[str, Rate], name: str) -> list[str]:
    """List the kinds whose share is out of bounds."""
    return [
        kind
        for kind, (least, most) in bounds(name).items()
        if not least <= rates[kind].share <= most
    ]


def table(rates: dict[str, Rate], name: str) -> str:
    """Lay out measured rates beside their bounds."""
    promised = bounds(name)
    lines = [f"{name:32} {'share':>6} {'bounds':>12}  cases"]
    for kind, measured in rates.items():
        least, most = promised.get(kind, (math.nan, math.nan))
        within = f"{least:.2f} to {most:.2f}" if kind in promised else "-"
        counts = f"{measured.hits:.0f}/{measured.count}"
        lines.append(f"{kind:32} {measured.share:6.3f} {within:>12}  {counts}")
    return "\n".join(lines)
