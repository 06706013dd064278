"""The passes over sentence-transformers give what `encode` gives, and compute nothing twice."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from codequarry.release import runners


@pytest.fixture
def runner(monkeypatch):
    """The program, found as it finds itself: with its folder on the path."""
    monkeypatch.syspath_prepend(str(Path(runners.__file__).parent))
    return importlib.import_module("with_sentence_transformers")


def test_every_pass_is_what_encode_gives_and_smaller_dimensions_cost_no_second_pass(runner, built):
    golden = json.loads((built / "golden_vectors.json").read_text(encoding="utf-8"))
    model = SentenceTransformer(str(built), device="cpu")
    inner, computed = model[0].forward, []

    def counted(features, **kwargs):
        computed.append(len(features["input_ids"]))
        return inner(features, **kwargs)

    model[0].forward = counted
    found = runner.passes(model, golden, ["right", "left"])
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


def test_other_tokens_are_computed_anew(runner):
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
