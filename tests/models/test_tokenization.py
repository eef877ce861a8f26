"""Spans over the user's own tokenizer: offsets alone, whatever the text and the vocabulary."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from pytest_ragshortcut.core.cases import RagCase
from pytest_ragshortcut.core.prompts import CHAT, PLAIN, Prompt, Template, render
from pytest_ragshortcut.core.spans import positions
from pytest_ragshortcut.errors import (
    AnswerNotFoundError,
    PlanError,
    SpanNotFoundError,
    SpecialTokenError,
    TemplateError,
    TokenizerError,
)
from pytest_ragshortcut.models.tokenization import PromptTokenizer

TURNS = (
    "{% for turn in messages %}<|{{ turn.role }}|>\n{{ turn.content CONTENT }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
PASSAGE = "Eavan Boland, the poet, was born in Dublin in 1944."
CASE = RagCase("Where was Eavan Boland born?", [PASSAGE, "Cork lies in Ireland."])

TEXT = st.text(min_size=1, max_size=24).filter(str.strip) | st.sampled_from(
    ["日本の首都は東京です。", "👩‍👩‍👧 and 🇮🇪 Dublin", "naïve café, Ångström", "  Cork\t\n ", "x",
     "Übergröße", "كتاب قديم", "ไทย", "e\u0301clair", "{question} {context}", "a\u00a0b\u2009c",
     "▁ ▁Dublin"]
)  # fmt: skip
every_tokenizer = pytest.mark.parametrize("kind", tiny.TOKENIZERS)


def prompts(kind: str, template: Template = PLAIN) -> PromptTokenizer:
    return PromptTokenizer(tiny.TOKENIZERS[kind](), template)


def compact(text: str) -> str:
    return "".join(text.split())


@every_tokenizer
@settings(max_examples=60)
@given(question=TEXT, passages=st.lists(TEXT, min_size=1, max_size=3))
@example(question="Where?", passages=[" Dublin", "Dublin "])
def test_a_role_is_the_tokens_that_share_a_letter_with_it(
    kind: str, question: str, passages: list[str]
) -> None:
    tokenizer = tiny.TOKENIZERS[kind]()
    prompt = render(RagCase(question, passages), PLAIN)
    offsets = tokenizer(prompt.text, return_offsets_mapping=True)["offset_mapping"]
    tokenized = prompts(kind).tokenize(prompt)
    assert tokenized.input_ids == tuple(tokenizer(prompt.text)["input_ids"])
    for role, ((start, stop),) in prompt.spans.items():
        letters = {i for i in range(start, stop) if not prompt.text[i].isspace()}
        covered = [set(range(left, right)) for left, right in offsets]
        expected = {index for index, letter in enumerate(covered) if letters & letter}
        assert set(tokenized.positions(role)) == expected
        assert expected


@settings(max_examples=60)
@given(question=TEXT, passages=st.lists(TEXT, min_size=1, max_size=3))
def test_the_tokens_of_a_role_decode_to_a_text_that_holds_it(
    question: str, passages: list[str]
) -> None:
    tokenizer = tiny.byte_level_tokenizer()
    prompt = render(RagCase(question, passages), PLAIN)
    tokenized = prompts("byte level").tokenize(prompt)
    for role, ((start, stop),) in prompt.spans.items():
        ids = [tokenized.input_ids[position] for position in tokenized.positions(role)]
        said = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        assert compact(prompt.text[start:stop]) in compact(said)


@every_tokenizer
@settings(max_examples=60)
@given(question=TEXT, passages=st.lists(TEXT, min_size=1, max_size=3))
def test_context_question_and_template_share_all_tokens_among_them(
    kind: str, question: str, passages: list[str]
) -> None:
    tokenized = prompts(kind).tokenize(render(RagCase(question, passages), PLAIN))
    everything = set(range(len(tokenized.input_ids)))
    template = set(tokenized.positions("template"))
    assert set(tokenized.positions("context", "question")) | template == everything
    assert not set(tokenized.positions("context", "question")) & template
    assert 0 in template
    assert tokenized.positions("last") == (len(everything) - 1,)
    assert everything - template
    each = [set(tokenized.positions(f"passage_{i}")) for i in range(len(passages))]
    assert set().union(*each) == set(tokenized.positions("context"))


@every_tokenizer
def test_passages_that_a_line_break_parts_share_no_token(kind: str) -> None:
    tokenized = prompts(kind).tokenize(render(CASE, PLAIN))
    first, second = (set(tokenized.positions(f"passage_{i}")) for i in range(2))
    assert first
    assert second
    assert not first & second
    assert max(first) < min(second)


@every_tokenizer
def test_the_subject_is_found_in_the_question_and_not_in_the_context(kind: str) -> None:
    prompt = render(CASE, PLAIN).with_phrase(
        "subject", "Eavan Boland", region="question", last=True
    )
    tokenized = prompts(kind).tokenize(prompt)
    assert set(tokenized.positions("subject")) < set(tokenized.positions("question"))
    ids = [tokenized.input_ids[position] for position in tokenized.positions("subject")]
    assert tiny.TOKENIZERS[kind]().decode(ids).strip() == "Eavan Boland"


def test_a_token_of_a_leading_space_belongs_to_its_word() -> None:
    tokenized = prompts("byte level").tokenize(render(CASE, PLAIN))
    first = tokenized.tokens[tokenized.positions("passage_0")[0]]
    assert first.startswith("Ġ")
    assert tokenized.spans["passage_0"][0][0] > 0


def test_a_letter_split_over_several_tokens_is_covered_by_all_of_them() -> None:
    prompt = Prompt("a 本 b", {"question": ((2, 3),)})
    tokenized = prompts("byte level").tokenize(prompt)
    ids = [tokenized.input_ids[position] for position in tokenized.positions("question")]
    assert len(ids) == 3
    assert tiny.byte_level_tokenizer().decode(ids) == "本"


@every_tokenizer
@pytest.mark.parametrize("answer", ["Dublin", "Cork", "1944", "東京", "a poet of Dublin"])
def test_the_answer_is_read_after_a_space_and_decodes_to_itself(kind: str, answer: str) -> None:
    asked = prompts(kind)
    prompt = asked.tokenize(render(CASE, PLAIN))
    reading = asked.reading(prompt, answer)
    ids = reading.answer_ids
    if kind != "unigram" or answer.isascii():
        assert tiny.TOKENIZERS[kind]().decode(ids).strip() == answer
    assert reading.input_ids == prompt.input_ids + ids[:-1]
    assert reading.readers[0] == reading.n_prompt - 1
    assert len(reading.readers) == len(ids)
    assert reading.readers[-1] == len(reading.input_ids) - 1
    assert len(reading.tokens) == len(reading.input_ids)
    assert positions(reading.spans["readers"]) == reading.readers
    assert asked.reading(reading, "Cork") == asked.reading(prompt, "Cork")


def test_an_answer_that_would_change_the_last_token_of_the_prompt_is_refused() -> None:
    template = Template(
        open_book="{context}\n{question}\nBorn in Dub", closed_book="{question}", answer_prefix=""
    )
    asked = prompts("byte level", template)
    prompt = asked.tokenize(render(CASE, template))
    with pytest.raises(PlanError, match="merges with the end of the prompt"):
        asked.reading(prompt, "lin")


@pytest.mark.parametrize("answer", [(), ""])
def test_an_answer_without_tokens_is_refused(answer: Any) -> None:
    template = Template(answer_prefix="")
    asked = prompts("byte level", template)
    with pytest.raises(AnswerNotFoundError, match="no tokens"):
        asked.reading(asked.tokenize(render(CASE, template)), answer)


@every_tokenizer
@pytest.mark.parametrize("phrase", ["Dublin", "Eavan Boland", "1944", "Ada Quill"])
def test_a_phrase_alone_has_the_tokens_that_it_has_in_a_sentence(kind: str, phrase: str) -> None:
    asked = prompts(kind)
    text = f"Cork is not {phrase}"
    spans = {"question": ((12, 12 + len(phrase)),)}
    tokenized = asked.tokenize(Prompt(text, spans))
    within = [tokenized.input_ids[position] for position in tokenized.positions("question")]
    alone = asked.token_ids(phrase)
    # A vocabulary may keep the space as a token of its own.
    assert alone[-len(within) :] == tuple(within)
    assert len(alone) - len(within) <= 1


@pytest.mark.parametrize("role", ["question", "context"])
def test_a_control_token_in_a_retrieved_text_is_refused_by_name(role: str) -> None:
    poisoned = "Born in <|endoftext|> Dublin"
    texts = {"question": "Where?", "context": PASSAGE, role: poisoned}
    prompt = render(RagCase(**texts), PLAIN)
    with pytest.raises(SpecialTokenError) as raised:
        prompts("byte level").tokenize(prompt)
    assert (raised.value.token, raised.value.role) == ("<|endoftext|>", role)


def test_an_added_token_that_is_no_control_token_is_ordinary_text() -> None:
    tokenizer = copied(tiny.byte_level_tokenizer())
    tokenizer.add_tokens(["<ticker>"])
    prompt = render(RagCase("Where?", "It trades as <ticker> XY."), PLAIN)
    assert "<ticker>" in PromptTokenizer(tokenizer, PLAIN).tokenize(prompt).tokens


def copied(tokenizer: PreTrainedTokenizerFast, **options: Any) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer

    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|endoftext|>", **options)


def chatting(content: str = "") -> PreTrainedTokenizerFast:
    template = TURNS.replace("CONTENT", content)
    return copied(tiny.byte_level_tokenizer(), chat_template=template)


@pytest.mark.parametrize("content", ["", "| trim"])
def test_a_chat_prompt_keeps_its_spans(content: str) -> None:
    asked = PromptTokenizer(chatting(content), CHAT)
    prompt = asked.chat(render(CASE, CHAT))
    assert prompt.text.startswith("<|user|>\n")
    assert prompt.text.endswith("<|assistant|>\n")
    ((start, stop),) = prompt.spans["question"]
    assert prompt.text[start:stop] == CASE.question
    ((start, stop),) = prompt.spans["passage_1"]
    assert prompt.text[start:stop] == CASE.passages[1]
    tokenized = asked.tokenize(prompt)
    assert tokenized.positions("template")[0] == 0
    assert set(tokenized.positions("last")) <= set(tokenized.positions("template"))


@pytest.mark.parametrize(
    ("content", "times"), [("~ turn.content", "2"), ("| upper", "0"), ("| length", "0")]
)
def test_a_chat_template_that_repeats_or_changes_the_turn_is_refused(
    content: str, times: str
) -> None:
    asked = PromptTokenizer(chatting(content), CHAT)
    with pytest.raises(TemplateError, match=f"renders the user's turn {times} times"):
        asked.chat(render(CASE, CHAT))


def test_a_chat_template_that_writes_the_start_token_has_it_once() -> None:
    tokenizer = copied(
        tiny.metaspace_tokenizer(),
        bos_token="<s>",
        chat_template="{{ bos_token }}" + TURNS.replace("CONTENT", ""),
    )
    start = tokenizer.convert_tokens_to_ids("<s>")
    for template in (CHAT, PLAIN):
        asked = PromptTokenizer(tokenizer, template)
        prompt = render(CASE, template)
        tokenized = asked.tokenize(asked.chat(prompt) if template.chat else prompt)
        assert tokenized.input_ids[0] == start
        assert tokenized.input_ids.count(start) == 1


def test_a_chat_template_that_strips_a_space_which_the_passage_has_is_refused() -> None:
    asked = PromptTokenizer(chatting("| trim"), CHAT)
    with pytest.raises(TemplateError, match="0 times"):
        asked.chat(render(RagCase("Where?", "  Here."), CHAT))


def test_a_chat_template_that_raises_is_refused_with_its_own_words() -> None:
    refusal = "{{ raise_exception('a system turn is needed') }}"
    tokenizer = copied(tiny.byte_level_tokenizer(), chat_template=refusal)
    with pytest.raises(TemplateError, match="a system turn is needed"):
        PromptTokenizer(tokenizer, CHAT).chat(render(CASE, CHAT))


def test_chat_without_a_chat_template_is_refused() -> None:
    with pytest.raises(TokenizerError, match="no chat template"):
        PromptTokenizer(tiny.byte_level_tokenizer(), CHAT)


def test_a_slow_tokenizer_is_refused() -> None:
    with pytest.raises(TokenizerError, match="slow"):
        PromptTokenizer(ByT5Tokenizer(), PLAIN)


class WithoutOffsets(PreTrainedTokenizerFast):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("return_offsets_mapping"):
            raise NotImplementedError("no offsets here")
        return super().__call__(*args, **kwargs)


class WithGaps(PreTrainedTokenizerFast):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        encoded = super().__call__(*args, **kwargs)
        encoded["offset_mapping"][3] = (0, 0)
        return encoded


@pytest.mark.parametrize(
    ("kind", "reason"), [(WithoutOffsets, "no offsets here"), (WithGaps, "no token covers")]
)
def test_a_tokenizer_that_cannot_say_what_its_tokens_cover_is_refused(
    kind: type[PreTrainedTokenizerFast], reason: str
) -> None:
    backend = tiny.byte_level_tokenizer().backend_tokenizer
    asked = PromptTokenizer(kind(tokenizer_object=backend), PLAIN)
    with pytest.raises(TokenizerError, match=reason):
        asked.tokenize(render(CASE, PLAIN))


def test_an_end_token_that_closes_every_text_is_left_out_of_prompt_and_answer() -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = copied(tiny.byte_level_tokenizer())
    end = tokenizer.eos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", end)]
    )
    assert tokenizer("a")["input_ids"][-1] == end
    asked = PromptTokenizer(tokenizer, PLAIN)
    prompt = asked.tokenize(render(CASE, PLAIN))
    assert end not in prompt.input_ids
    assert end not in asked.reading(prompt, "Dublin").answer_ids
    assert end not in asked.token_ids("Dublin")


def test_a_phrase_that_is_not_in_its_region_is_refused() -> None:
    with pytest.raises(SpanNotFoundError, match="does not occur in the question"):
        render(CASE, PLAIN).with_phrase("subject", "Dublin", region="question")
