import json

import pytest
from transformers import AutoTokenizer

from codequarry.release.tokenizer import write_tokenizer


@pytest.fixture
def written(run, tmp_path):
    """Edit the run's tokenizer_config.json, write the release's, and return it."""

    def write(**changes):
        path = run / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        (tmp_path / "out").mkdir()
        write_tokenizer(run, tmp_path / "out", max_length=64)
        return json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())

    return write


def test_a_chat_template_is_left_behind(run, written, tmp_path):
    (run / "chat_template.jinja").write_text("{{ messages }}")
    assert "chat_template" not in written(chat_template="{{ messages }}")
    assert not list((tmp_path / "out").glob("*chat*"))


def test_the_generic_class_gets_the_name_both_generations_know(written):
    assert written(tokenizer_class="TokenizersBackend")["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_a_list_of_extra_tokens_gets_the_name_both_generations_know(written, tmp_path):
    fields = written(extra_special_tokens=["<|pad|>"])
    assert fields["additional_special_tokens"] == ["<|pad|>"]
    assert "extra_special_tokens" not in fields  # transformers 4 calls .keys() on it
    assert "<|pad|>" in AutoTokenizer.from_pretrained(tmp_path / "out").all_special_tokens


def test_nulls_and_the_last_call_are_not_kept(written):
    fields = written(add_prefix_space=None, max_length=128, stride=0, is_local=True, backend="tokenizers")
    assert fields.keys().isdisjoint({"add_prefix_space", "max_length", "stride", "is_local", "backend"})


def test_truncation_and_padding_of_the_last_call_are_not_kept(encoder_run, tmp_path):
    saved = json.loads((encoder_run / "tokenizer.json").read_text())
    assert saved["truncation"]["max_length"] == 128  # the package's file says so, though the model reads 256
    write_tokenizer(encoder_run, tmp_path, max_length=256)
    pipeline = json.loads((tmp_path / "tokenizer.json").read_text())
    assert pipeline["truncation"] is pipeline["padding"] is None
    assert pipeline["model"] == saved["model"]


def test_a_bert_config_repeats_what_its_normalizer_does(encoder_run, tmp_path):
    write_tokenizer(encoder_run, tmp_path, max_length=256)
    fields = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert (fields["do_lower_case"], fields["strip_accents"], fields["tokenize_chinese_chars"]) == (
        True,
        None,
        True,
    )


def test_a_special_token_in_a_text_stays_characters(written, tmp_path):
    written()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = tokenizer("stop = '<|endoftext|>'")["input_ids"]
    assert ids.count(tokenizer.eos_token_id) == 1
    assert ids[-1] == tokenizer.eos_token_id


PIPELINE, CONFIG = "tokenizer.json", "tokenizer_config.json"


def add_a_token(pipeline):
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    pipeline["added_tokens"].append(flags | {"id": 400, "content": "<|new|>"})


@pytest.mark.parametrize(
    ("file", "edit", "named"),
    [
        (PIPELINE, add_a_token, "The tokenizer has 1 tokens, such as '<|new|>', past the 400 rows"),
        (PIPELINE, lambda pipeline: pipeline.update(padding={"strategy": "BatchLongest"}), "cannot be read"),
        (
            PIPELINE,
            lambda pipeline: pipeline.update(normalizer={"type": "Lowercase"}),
            "gives other ids than",
        ),
        (PIPELINE, lambda pipeline: pipeline.update(post_processor=None), "not with the end-of-sequence"),
        (CONFIG, lambda config: config.update(eos_token="<|pad|>"), "not with the end-of-sequence '<|pad|>'"),
        (
            CONFIG,
            lambda config: config.update(tokenizer_class="Nobodys"),
            "'Nobodys', which transformers does",
        ),
    ],
)
def test_a_tokenizer_that_is_not_as_built_is_named(spoilt, file, edit, named):
    assert named in spoilt(file, edit)
