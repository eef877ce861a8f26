"""The tokenizer of the embedded models: a small byte-level BPE trained on the world's text."""

import random
from collections.abc import Iterator

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from pytest_ragshortcut.models.embedded.scenes import recital, scene
from pytest_ragshortcut.models.embedded.world import facts

END = "<|endoftext|>"
VOCABULARY = 1024


def train_tokenizer(seed: int, scenes: int = 6000) -> PreTrainedTokenizerFast:
    """Train the tokenizer on training text only, so that held-out names stay in pieces."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(random.Random(f"tokenizer {seed}"), scenes), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=END,
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )


def _texts(rng: random.Random, scenes: int) -> Iterator[str]:
    for _ in range(scenes):
        for drawn in (scene(rng), recital(rng, 2)):
            asked = rng.choice(drawn.questions)
            yield f"{drawn.wording.prompt(drawn.passages, asked.question)} {asked.answer}"
    for fact in facts():
        yield f" {fact.subject} {fact.answer}"
