import json
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from transformers import AutoTokenizer

import codequarry
from codequarry.modules.golden_vectors import GOLDEN
from codequarry.modules.tasks import CODE
from codequarry.release.golden import check_golden, golden_texts, past_the_limit


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


def excuse_every_text(golden):
    for row in golden["rows"]:
        row["kind"] = "outer_whitespace"


def swap_two_prompts(golden):
    saved = golden["prompts"]
    saved["qa_query"], saved["qa_document"] = saved["qa_document"], saved["qa_query"]


def test_what_build_wrote_is_as_it_has_to_be(built):
    assert check_golden(built) == []


def test_the_embedded_model_asks_every_golden_text():
    assert check_golden(Path(codequarry.__file__).parent / "models" / "mini") == []


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda golden: golden["rows"].pop(0), "lacks 1 of"),
        (
            lambda golden: golden["rows"].pop(0),
            "such as 'parse an ISO 8601 date' with the prompt nl2code_que",
        ),
        (lambda golden: golden["rows"].clear(), "or another version of codequarry built the release"),
        (lambda golden: golden.pop("rows"), "cannot be read (KeyError: 'rows')"),
        (lambda golden: golden["rows"].append(3), "cannot be read (TypeError"),
        (excuse_every_text, "lacks"),
        (lambda golden: golden["dims"].pop(), "has dims [64, 32], config.json [64, 32, 16]"),
        (lambda golden: golden.pop("dims"), "cannot be read (KeyError: 'dims')"),
        (swap_two_prompts, "has other prompts than the tasks"),
        (lambda golden: golden["rows"][3]["vector"].pop(), "no unit vector of 64 numbers for 1 of"),
        (lambda golden: golden["rows"][3].update(vector=[0.0] * 64), "no unit vector of 64 numbers for 1 of"),
        (lambda golden: golden["rows"][3].update(vector=[float("nan")] * 64), "no unit vector of 64"),
        (lambda golden: golden["rows"][3].update(vector="none"), "no unit vector of 64 numbers"),
    ],
)
def test_a_golden_file_that_asks_less_is_named(spoilt, edit, named):
    said = spoilt(GOLDEN, edit)
    assert said.startswith(GOLDEN)
    assert named in said
