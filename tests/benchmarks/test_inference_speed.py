"""The measurement of inference: what it measures, and what it writes."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel, Qwen2Config, Qwen2Model

from codequarry.benchmarks.inference_speed import (
    Contender,
    flops,
    measure,
    record,
    results_file,
    sample,
    speed_table,
    texts_of,
)
from codequarry.common.errors import UserError

CODE = 'def total(prices):\n    """Add up a list of prices.\n\n    More."""\n    return sum(prices)\n'


def test_documents_are_chunks_and_queries_first_lines_of_docstrings(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(CODE + "\n\ndef plain(x):\n    return x\n")
    documents, queries = texts_of(tmp_path)
    assert queries == ["Add up a list of prices."]
    assert any("return sum(prices)" in text for text in documents)
    assert sample(documents, 1) == sample(documents, 1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no documented code"):
        texts_of(tmp_path / "empty")


@pytest.mark.parametrize("kind", ["bert", "qwen2"])
def test_flops_are_those_that_torch_counts(kind: str) -> None:
    sizes = {
        "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
        "vocab_size": 100, "attn_implementation": "eager",
    }  # fmt: skip
    if kind == "bert":
        model: torch.nn.Module = BertModel(BertConfig(**sizes), add_pooling_layer=False)
    else:
        model = Qwen2Model(Qwen2Config(**sizes, num_key_value_heads=2))
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.eval()(input_ids=torch.ones(1, 30, dtype=torch.long))
    assert flops(model.config, [30]) == counter.get_total_flops()


def fake(name: str, vectors: np.ndarray) -> Contender:
    return Contender(name, lambda texts, prompt: vectors[: len(texts)])


def test_contenders_take_turns_and_are_compared_with_the_first() -> None:
    asked = []
    unit = np.eye(2, dtype=np.float32)
    ways = [
        Contender(name, lambda texts, prompt, name=name: asked.append(name) or unit[: len(texts)])  # type: ignore[func-returns-value,misc]
        for name in "abc"
    ]
    ways[2] = Contender("c", lambda texts, prompt: unit[::-1][: len(texts)])
    assert list(measure(ways, ["x", "y"], ["z"], ("d: ", "q: "), rounds=3)) == [1, 2, 3]
    assert [way.cosine for way in ways] == [1, 1, 0]
    assert all(len(way.documents) == len(way.query) == 3 for way in ways)
    assert asked[5:] == list("aabb") + list("bbaa") + list("aabb"), "who begins moves on"


def test_ratios_are_medians_of_rounds_and_the_table_has_them(tmp_path: Path) -> None:
    config = SimpleNamespace(
        hidden_size=8, intermediate_size=32, num_attention_heads=2, num_hidden_layers=1, model_type="bert"
    )
    ways = [fake("sentence-transformers", np.eye(2)), fake("codequarry", np.eye(2))]
    ways[0].documents, ways[0].query = [4.0, 8.0, 6.0], [0.02, 0.02, 0.02]
    ways[1].documents, ways[1].query = [2.0, 2.0, 2.0], [0.01, 0.01, 0.02]
    found = record("mini", ways, [10, 20], config, {"fp32": 1e9}, 3, 5)
    ours = found["rows"][1]
    assert (ours["documents_ratio"], ours["query_ratio"]) == (3, 2)
    assert ours["documents_per_second"] == 1
    assert ours["query_milliseconds"] == 10
    assert found["tokens"] == 30
    assert "| mini | codequarry | 1.0 | 3.00 |" in speed_table({"models": [found]})
    json.dumps(found)
    assert results_file(tmp_path).parent == tmp_path
