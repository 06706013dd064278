import json

import numpy as np
from sentence_transformers import SentenceTransformer
from transformers import AutoTokenizer

from codequarry.modules.tasks import CODE
from codequarry.release.golden import golden_texts, past_the_limit


def test_every_prompt_has_a_golden_text():
    assert {text.prompt_name for text in golden_texts(64)} == set(CODE.prompts())


def test_only_the_texts_that_are_named_so_begin_or_end_with_white_space():
    for text in golden_texts(64):
        assert (text.text != text.text.strip()) == (text.kind == "outer_whitespace"), text


def test_each_side_has_a_text_of_one_character():
    alone = [text.prompt_name for text in golden_texts(64) if len(text.text) == 1]
    assert {name.rpartition("_")[2] for name in alone} == {"query", "document"}


def test_the_model_s_own_special_tokens_are_spelled_out():
    texts = [text.text for text in golden_texts(64, ("<|mine|>",)) if text.kind == "special_tokens"]
    assert sum("<|mine|>" in text for text in texts) == 1


def test_the_long_text_is_past_the_limit(built, encoder_run):
    for folder, limit in ((built, 64), (encoder_run, 256)):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        assert len(tokenizer(past_the_limit(limit), verbose=False)["input_ids"]) > limit


def test_golden_vectors_are_what_stock_sentence_transformers_answers(built):
    golden = json.loads((built / "golden_vectors.json").read_text(encoding="utf-8"))
    model = SentenceTransformer(str(built), device="cpu")
    for row in golden["rows"]:
        vector = model.encode(golden["prompts"][row["prompt_name"]] + row["text"])
        np.testing.assert_allclose(row["vector"], vector, atol=1e-8)


def test_golden_vectors_tell_the_texts_apart(built):
    rows = json.loads((built / "golden_vectors.json").read_text(encoding="utf-8"))["rows"]
    # nl2code and the plain prompts are the same on purpose.
    vectors = np.array([row["vector"] for row in rows if row["prompt_name"] not in ("query", "document")])
    cosines = vectors @ vectors.T - np.eye(len(vectors))
    assert cosines.max() < 0.9999
