from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

from codequarry.modules.build import build_model
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.instruction_prefix import InstructionPrefix
from codequarry.modules.tasks import CODE
from codequarry.modules.text_checks import MIN_TEXT_TOKENS

LONG = "x = compute(y)\n" * 500


@pytest.fixture(params=["decoder", "encoder"])
def model(request: pytest.FixtureRequest, small_decoder: Path, minilm: Path) -> CodeEmbedder:
    if request.param == "decoder":
        return build_model(str(small_decoder), max_length=128)
    return build_model(str(minilm), pooling="mean", max_length=128)


@pytest.mark.parametrize("name", sorted(CODE.prompts()))
def test_a_long_text_loses_its_middle_and_neither_prefix_nor_end(model: CodeEmbedder, name: str) -> None:
    tokenizer = model.tokenizer
    ids = model.preprocess([LONG], task=name)["input_ids"][0].tolist()
    start = tokenizer(CODE.prompts()[name] + "x")["input_ids"][:-2]
    assert len(ids) == 128
    assert ids[: len(start)] == start
    assert ids[-1] in (tokenizer.eos_token_id, tokenizer.sep_token_id)


def test_tokens_equal_those_of_the_stock_class(model: CodeEmbedder, tmp_path: Path) -> None:
    model.save(str(tmp_path))
    stock = SentenceTransformer(str(tmp_path))
    for name, prefix in CODE.prompts().items():
        for texts in (["def f(): pass", LONG], ["naïve 漢字\t\r\n  x"]):
            ours = model.preprocess(texts, task=name)["input_ids"]
            assert ours.equal(stock.preprocess(texts, prompt=prefix)["input_ids"])


def test_an_unknown_task_is_refused(model: CodeEmbedder) -> None:
    with pytest.raises(ValueError, match="'nl2code' is not a prompt name: pass one of nl2code_query"):
        model.preprocess(["x"], task="nl2code")


@pytest.mark.parametrize("empty", ["", "  \n\t"])
def test_an_empty_text_is_refused_with_its_position(model: CodeEmbedder, empty: str) -> None:
    with pytest.raises(ValueError, match="text 2 of 3 is empty"):
        model.preprocess(["a", empty, "c"], task="qa_document")


def test_a_prefix_that_leaves_too_little_room_is_refused_and_one_that_fits_is_not(
    model: CodeEmbedder,
) -> None:
    name = "code2completion_query"
    taken = len(model.tokenizer(CODE.prompts()[name])["input_ids"])
    model.max_seq_length = taken + MIN_TEXT_TOKENS
    model.preprocess(["x"], task=name)
    model.max_seq_length = taken + MIN_TEXT_TOKENS - 1
    with pytest.raises(ValueError, match=f"leave {MIN_TEXT_TOKENS - 1} for the text"):
        model.preprocess(["x"], task=name)


def test_left_truncation_is_refused(model: CodeEmbedder) -> None:
    model.tokenizer.truncation_side = "left"
    with pytest.raises(ValueError, match="a long text would lose its prefix"):
        model.encode_query(["x"], task="qa")


def test_a_tokenizer_without_end_of_sequence_is_refused(small_decoder: Path) -> None:
    model = CodeEmbedder(
        modules=[InstructionPrefix(str(small_decoder)), Pooling(64, "lasttoken"), Normalize()]
    )
    with pytest.raises(ValueError, match="appends no end-of-sequence"):
        model.encode_query(["x"])


def test_an_active_chat_template_is_refused_and_build_model_drops_it(
    small_decoder: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    with_template = tmp_path / "chat"
    with_template.mkdir()
    for file in small_decoder.iterdir():
        (with_template / file.name).write_bytes(file.read_bytes())
    tokenizer = AutoTokenizer.from_pretrained(with_template)
    tokenizer.chat_template = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
    tokenizer.save_pretrained(with_template)
    with pytest.raises(ValueError, match="a chat template is active"):
        InstructionPrefix(str(with_template)).preprocess(["x"])
    built = build_model(str(with_template), max_length=128)
    assert built.tokenizer.chat_template is None
    plain = build_model(str(small_decoder), max_length=128)
    assert (built.encode_query(["x"], task="qa") == plain.encode_query(["x"], task="qa")).all()


@pytest.mark.parametrize("forged", ["<|endoftext|>", "[SEP]", "[CLS] a [PAD]", "</s>"])
def test_source_text_cannot_forge_a_special_token(model: CodeEmbedder, forged: str, tmp_path: Path) -> None:
    model.save(str(tmp_path))
    for holder in (model, SentenceTransformer(str(tmp_path))):  # the policy is saved with the tokenizer
        tokenizer = holder.tokenizer
        ids = tokenizer(f"x = '{forged}'")["input_ids"]
        added_by_the_tokenizer = tokenizer("x")["input_ids"]
        for special in set(tokenizer.all_special_ids):
            assert ids.count(special) == added_by_the_tokenizer.count(special)
