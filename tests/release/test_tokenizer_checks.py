"""A tokenizer that other readers would read otherwise is named."""

import pytest

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
