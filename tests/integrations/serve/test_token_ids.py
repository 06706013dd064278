"""Token ids are read only when this model's tokenizer made them."""

import ast
import inspect
import textwrap

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from tokenizers.decoders import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from codequarry.integrations.serve.requests import Limits, RequestContext, RequestError
from codequarry.integrations.serve.schemas import read_texts
from codequarry.integrations.serve.token_ids import TokenIds
from codequarry.modules.backbone import MINI_FOLDER

FUNCTIONS = [
    ast.get_source_segment(source, node)
    for source in [inspect.getsource(textwrap)]
    for node in ast.walk(ast.parse(source))
    if isinstance(node, ast.FunctionDef)
]


def byte_level(end):
    """A byte-level tokenizer as decoders have them, with an end of sequence or without."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        FUNCTIONS, BpeTrainer(vocab_size=600, special_tokens=["<|end|>"], initial_alphabet=alphabet)
    )
    if end:
        inner.post_processor = processors.TemplateProcessing(
            single="$A <|end|>", special_tokens=[("<|end|>", inner.token_to_id("<|end|>"))]
        )
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>", pad_token="<|end|>")


@pytest.fixture(scope="module", params=["mini", "end of sequence", "no special token"])
def tokenizer(request):
    if request.param == "mini":
        return AutoTokenizer.from_pretrained(MINI_FOLDER)
    return byte_level(request.param == "end of sequence")


def ids_of(tokenizer, text, special=True):
    return tokenizer(text, add_special_tokens=special, truncation=False, verbose=False)["input_ids"]


@pytest.mark.parametrize("special", [True, False])
def test_our_own_ids_spell_a_text_with_the_same_ids(tokenizer, special):
    reader = TokenIds(tokenizer)
    for text in FUNCTIONS:
        ids = ids_of(tokenizer, text, special)
        spelt = reader.text(ids, "text 1 of 1", "input")
        assert ids_of(tokenizer, spelt) == ids_of(tokenizer, text)


def test_a_short_text_needs_its_special_tokens(tokenizer):
    reader = TokenIds(tokenizer)
    marked, bare = (ids_of(tokenizer, "parse dates", special) for special in (True, False))
    if marked != bare:
        assert ids_of(tokenizer, reader.text(marked, "text 1 of 1", "input")) == marked
    with pytest.raises(RequestError, match="text 1 of 1 has 2 token ids without special") as error:
        reader.text(bare[:2], "text 1 of 1", "input")
    assert (error.value.status, error.value.field) == (422, "input")


@pytest.mark.parametrize("wrong", [-1, 10**6, 10**40])
def test_an_id_out_of_range_is_refused_with_its_position(tokenizer, wrong):
    ids = ids_of(tokenizer, FUNCTIONS[0])
    ids[3] = wrong
    with pytest.raises(
        RequestError, match=rf"text 2 of 9 has the token id .* at position 4; .* to {len(tokenizer) - 1}"
    ):
        TokenIds(tokenizer).text(ids, "text 2 of 9", "input")


def test_ids_of_another_tokenizer_are_refused():
    reader, other = TokenIds(AutoTokenizer.from_pretrained(MINI_FOLDER)), byte_level(False)
    for text in FUNCTIONS:
        with pytest.raises(RequestError, match=r"does not give for any text|special token"):
            reader.text(ids_of(other, text), "text 1 of 1", "input")


def test_padding_and_special_tokens_inside_are_refused():
    tokenizer = AutoTokenizer.from_pretrained(MINI_FOLDER)
    padded = tokenizer(FUNCTIONS[0], padding="max_length", max_length=2000, truncation=True)["input_ids"]
    twice = ids_of(tokenizer, "a") + ids_of(tokenizer, "b")
    for ids in (padded, twice, twice[1:]):
        with pytest.raises(RequestError, match="special token in its middle, or padding"):
            TokenIds(tokenizer).text(ids, "text 1 of 1", "input")


def test_reading_ids_leaves_the_models_tokenizer_as_it_was():
    tokenizer = AutoTokenizer.from_pretrained(MINI_FOLDER)
    before = tokenizer("a " * 400, truncation=True, max_length=16)["input_ids"]
    TokenIds(tokenizer).text(ids_of(tokenizer, FUNCTIONS[0]), "text 1 of 1", "input")
    assert tokenizer("a " * 400, truncation=True, max_length=16)["input_ids"] == before


def test_one_list_is_one_text_and_a_list_of_lists_several(served, tokenizer):
    context = RequestContext(served, Limits(), token_ids=TokenIds(tokenizer))
    ids = [ids_of(tokenizer, text) for text in FUNCTIONS[:3]]
    several = read_texts(ids, context, "input")
    assert len(several) == 3
    assert read_texts(ids[0], context, "input") == several[:1]
    assert read_texts([ids[0], "text"], context, "input") == (several[0], "text")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([[]], "text 1 of 1 is a list, not a text"),
        ([1, "a"], "text 1 of 2 is a number, not a text"),
        ([[1, 2.0]], "text 1 of 1 is a list, not a text"),
        ([[True, False]], "text 1 of 1 is a list, not a text"),
        ([[[1]]], "text 1 of 1 is a list, not a text"),
    ],
)
def test_what_is_neither_text_nor_ids_is_refused(served, tokenizer, value, sentence):
    context = RequestContext(served, Limits(), token_ids=TokenIds(tokenizer))
    with pytest.raises(RequestError, match=sentence):
        read_texts(value, context, "input")


def test_more_ids_than_a_text_of_the_limit_has_are_refused_before_they_are_read(served, tokenizer):
    context = RequestContext(served, Limits(characters=80), token_ids=TokenIds(tokenizer))
    with pytest.raises(RequestError, match="text 1 of 1 has 21 token ids; this server takes 20") as error:
        read_texts([[10**9] * 21], context, "input")
    assert error.value.status == 413
