"""What `save` adds to a folder: a card and golden vectors, with no network and no change to the model."""

import json
import socket
from pathlib import Path

import numpy as np
import pytest
import yaml
from sentence_transformers import SentenceTransformer

import codequarry
from codequarry.modules.build import build_model
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.saved_folder import base_of


@pytest.fixture
def model(small_decoder: Path) -> CodeEmbedder:
    return build_model(str(small_decoder), max_length=64, dims=(64, 32), device="cpu")


def test_a_saved_model_has_a_card_with_its_facts_and_no_others(
    model: CodeEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_decoder: Path
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("saving asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    model.save_pretrained(str(tmp_path / "model"))
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["library_name"] == "sentence-transformers"
    assert "base_model" not in head, "it was built on a folder of this machine"
    assert str(small_decoder) not in card
    assert "| embedding sizes | 64, 32 |" in card
    assert "| longest text | 64 tokens" in card
    assert all(f"| `{name}` | " in card for name in model.prompts)


def test_saving_again_keeps_the_card_of_the_folder_and_of_the_model(
    model: CodeEmbedder, tmp_path: Path
) -> None:
    model.save(str(tmp_path / "one"))
    (tmp_path / "one" / "README.md").write_text("# Mine\n")
    model.save(str(tmp_path / "one"))
    assert (tmp_path / "one" / "README.md").read_text() == "# Mine\n"
    codequarry.load(str(tmp_path / "one")).save(str(tmp_path / "two"))
    assert (tmp_path / "two" / "README.md").read_text() == "# Mine\n"


def test_the_golden_vectors_are_those_of_stock_sentence_transformers(
    model: CodeEmbedder, tmp_path: Path
) -> None:
    model.truncate_dim = 32
    model.train()
    before = model.tokenizer.backend_tokenizer.to_str()
    model.save(str(tmp_path))
    assert model.truncate_dim == 32
    assert all(module.training for module in model.modules())
    assert model.tokenizer.backend_tokenizer.to_str() == before
    golden = json.loads((tmp_path / "golden_vectors.json").read_text(encoding="utf-8"))
    assert codequarry.load(str(tmp_path)).truncate_dim == 32, "as it was saved"
    stock = SentenceTransformer(str(tmp_path), device="cpu")
    stock.truncate_dim = None
    for row in golden["rows"]:
        (vector,) = stock.encode([row["text"]], prompt_name=row["prompt_name"])
        assert np.abs(vector - np.array(row["vector"])).max() < 1e-6
    assert golden["dims"] == [64, 32]


def test_a_base_is_named_by_its_public_name_or_not_at_all() -> None:
    assert (
        base_of("/home/me/.cache/models--Qwen--Qwen2.5-Coder-0.5B/snapshots/0a1b")
        == "Qwen/Qwen2.5-Coder-0.5B"
    )
    assert base_of("Qwen/Qwen2.5-Coder-0.5B") == "Qwen/Qwen2.5-Coder-0.5B"
    assert base_of("/home/me/secret/model") is None
    assert base_of("") is None
