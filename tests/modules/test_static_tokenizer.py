import json

import pytest
from tokenizers import Tokenizer

from codequarry.modules.static_tokenizer import train_static_tokenizer
from codequarry.modules.tasks import CODE, TASKS, PromptFamily

TEXTS = ["def parse_http_request(self): return json.loads(text)", "class DateParser extends Parser {}"] * 9


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_static_tokenizer(TEXTS, 700, CODE)


def tokens(tokenizer: Tokenizer, text: str) -> list[str]:
    return tokenizer.encode(text, add_special_tokens=False).tokens


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("parseHTTPRequest", "parse HTTP request"),
        ("parse_http_request", "parse http request"),
        ("__parse__", "parse"),
        ("DateParser2x", "date parser 2 x"),
        ("a\t\n\r\n  b", "a b"),
        ("e\u0301", "\u00e9"),
        ("GRÖSSE", "grösse"),
    ],
)
def test_identifiers_are_read_as_their_words(tokenizer: Tokenizer, one: str, other: str) -> None:
    assert tokens(tokenizer, one) == tokens(tokenizer, other)


@pytest.mark.parametrize("prompt", sorted(set(CODE.prompts().values())))
def test_a_prompt_leaves_no_token_and_takes_none_of_the_text(tokenizer: Tokenizer, prompt: str) -> None:
    assert tokens(tokenizer, prompt) == []
    for text in ("parseDate", "  x = 1", "\n", "Candidate", "é"):
        assert tokens(tokenizer, prompt + text) == tokens(tokenizer, text)


def test_only_one_prompt_is_taken_off_and_only_at_the_beginning(tokenizer: Tokenizer) -> None:
    prompt = CODE.prefix("qa", "document")
    inside = tokens(tokenizer, f"x {prompt}")
    assert inside[1:] == tokens(tokenizer, f"{prompt}{prompt}") != []


def test_signs_of_regular_expressions_in_a_prompt_are_plain_characters() -> None:
    family = PromptFamily(None, dict.fromkeys(TASKS, ("what? (a+b) [x] \\d $1:\n", "it's #1. ")))
    made = train_static_tokenizer(TEXTS, 700, family)
    for prompt in family.prompts().values():
        assert tokens(made, f"{prompt}parse") == tokens(made, "parse")
    assert tokens(made, "whatt parse") != tokens(made, "parse")


def test_every_text_has_tokens_and_none_is_unknown(tokenizer: Tokenizer) -> None:
    for text in ("漢字", "\U0001d518", "\x00", "ß", "١٢٣", "<|endoftext|>"):
        assert tokens(tokenizer, text)
        assert "".join(tokenizer.decode([one]) for one in tokenizer.encode("ab1").ids) == "ab1"


def test_no_length_is_cut_and_nothing_is_padded(tokenizer: Tokenizer) -> None:
    saved = json.loads(tokenizer.to_str())
    assert saved["truncation"] is saved["padding"] is None
    assert saved["added_tokens"] == []
    assert len(tokens(tokenizer, "x " * 5000)) == 5000


def test_the_same_texts_give_the_same_tokenizer(tokenizer: Tokenizer) -> None:
    assert train_static_tokenizer(TEXTS, 700, CODE).to_str() == tokenizer.to_str()
