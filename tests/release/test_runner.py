"""The runner: its batches hold every text once, and its passes are what each library gives."""

import json

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from codequarry.release import runner
from codequarry.release.build import build
from codequarry.release.runner import batches

TEXTS = ["short"] * 15 + ["long " * 500] + ["a little longer"] * 24


@pytest.mark.parametrize("size", [1, 2, 3, 16, 100])
@pytest.mark.parametrize("count", [1, 2, 16, 17, 40])
def test_every_text_is_in_one_batch(size, count):
    texts = TEXTS[-count:]
    groups = batches(texts, size)
    assert sorted(place for group in groups for place in group) == list(range(count))
    assert all(1 <= len(group) <= size for group in groups)


def test_batches_are_full_but_for_that_of_the_longest_text_and_the_last():
    first, *full, last = batches(TEXTS, 16)
    assert TEXTS.index("long " * 500) in first
    assert len(first) == 4
    assert {len(group) for group in full} == {16}
    assert 1 <= len(last) <= 16


def test_the_tokens_that_padding_adds_are_a_third_of_what_they_were():
    plain = [range(start, min(start + 16, 40)) for start in range(0, 40, 16)]

    def padded(groups):
        return sum(len(group) * max(len(TEXTS[place]) for place in group) for group in groups)

    assert padded(batches(TEXTS, 16)) < padded(plain) / 3


def test_every_pass_is_what_encode_gives_and_smaller_dimensions_cost_no_second_pass(built):
    golden = json.loads((built / "golden_vectors.json").read_text(encoding="utf-8"))
    model = SentenceTransformer(str(built), device="cpu")
    inner, computed = model[0].forward, []

    def counted(features, **kwargs):
        computed.append(len(features["input_ids"]))
        return inner(features, **kwargs)

    model[0].forward = counted
    found = runner.encode_passes(model, golden, ["right", "left"])
    texts = len(golden["rows"])
    assert sum(computed) == 3 * texts  # alone, padded right, padded left
    assert list(found) == [
        "float32 right 1 64",
        "float32 right 16 64",
        "float32 right 16 32",
        "float32 right 16 16",
        "float32 left 16 64",
    ]
    assert "forward" not in vars(model)
    joined = [golden["prompts"][row["prompt_name"]] + row["text"] for row in golden["rows"]]
    for name, vectors in found.items():
        _, padding, size, dim = name.split()
        # The same texts together and the same padding: others would be rounded otherwise.
        groups = runner.batches(joined, 16) if size == "16" else [[place] for place in range(texts)]
        model.tokenizer.padding_side = padding
        plain = np.empty((texts, int(dim)), np.float32)
        for places in groups:
            some = [joined[place] for place in places]
            plain[places] = model.encode(some, truncate_dim=int(dim), normalize_embeddings=True)
        assert vectors.shape == plain.shape
        assert np.abs(vectors - plain).max() < 1e-6, name


def test_other_tokens_are_computed_anew():
    import torch

    asked = []

    def forward(features):
        asked.append(features)
        return {"sentence_embedding": features["input_ids"].sum(1)}

    once = runner.computed_once(forward)
    rows = torch.tensor([[1, 2, 3, 4]])
    masks = [torch.ones_like(rows), torch.tensor([[1, 1, 1, 0]])]
    for mask in [*masks, *masks]:
        assert once({"input_ids": rows, "attention_mask": mask})["sentence_embedding"].tolist() == [10]
    once({"input_ids": rows.reshape(2, 2), "attention_mask": masks[0].reshape(2, 2)})
    assert len(asked) == 3


def test_the_float32_of_a_bfloat16_release_is_what_sentence_transformers_has(decoder_run, tmp_path):
    release = build(decoder_run, tmp_path / "release", dtype="bf16", in_memory="bf16", progress=False)
    golden = json.loads((release / "golden_vectors.json").read_text(encoding="utf-8"))
    texts = [golden["prompts"][row["prompt_name"]] + row["text"] for row in golden["rows"]]
    expected = np.array([row["vector"] for row in golden["rows"]])
    found = {precision: embed(texts, "right") for precision, embed in runner.with_transformers(release)}
    assert list(found) == ["bfloat16", "float32"]
    assert np.abs(found["float32"] - expected).max() < 5e-6
    assert np.abs(found["bfloat16"] - expected).max() > 1e-4


def test_a_float32_release_is_read_once(built):
    assert [precision for precision, _ in runner.with_transformers(built)] == ["float32"]
