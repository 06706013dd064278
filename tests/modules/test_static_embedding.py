import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

import codequarry
from codequarry.common.errors import UserError
from codequarry.modules.build import build_model
from codequarry.modules.packing import packed
from codequarry.modules.static_embedding import PromptedStaticEmbedding, _some_tokens
from codequarry.modules.tasks import CODE

TEXTS = [
    "parse a date",
    "def f(x):\r\n\treturn x  # größe\n",
    "x = 1\n" * 900,
    "<|endoftext|> [SEP]",
    "  a  ",
]


def test_a_saved_folder_gives_stock_sentence_transformers_the_same_vectors(static_folder: Path) -> None:
    ours, stock = codequarry.load(str(static_folder)), SentenceTransformer(str(static_folder))
    assert type(stock[0]) is StaticEmbedding
    own = ours.encode_query(TEXTS, task="qa")
    assert np.abs(own - stock.encode(TEXTS, prompt_name="qa_query")).max() < 1e-6


def test_the_folder_has_model2vecs_layout(static_folder: Path) -> None:
    assert list(load_file(static_folder / "model.safetensors")) == ["embeddings"]
    config = json.loads((static_folder / "config.json").read_text(encoding="utf-8"))
    assert (config["normalize"], config["max_length"]) == (True, None)
    assert "codequarry" not in (static_folder / "modules.json").read_text(encoding="utf-8")


def test_saving_what_was_loaded_changes_no_file(static_folder: Path, tmp_path: Path) -> None:
    codequarry.load(str(static_folder)).save(str(tmp_path / "again"))
    for name in ("model.safetensors", "tokenizer.json", "config.json", "modules.json", "golden_vectors.json"):
        assert (tmp_path / "again" / name).read_bytes() == (static_folder / name).read_bytes(), name


def test_rows_in_half_precision_are_float32_in_memory(static_folder: Path, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    model = codequarry.load(str(static_folder))
    model.save(str(tmp_path / "half"))
    rows = load_file(tmp_path / "half" / "model.safetensors")["embeddings"]
    save_file({"embeddings": rows.astype(np.float16)}, tmp_path / "half" / "model.safetensors")
    found = codequarry.load(str(tmp_path / "half"))
    assert found[0].embedding.weight.dtype == torch.float32
    assert found.fingerprint != model.fingerprint


def test_the_prompt_has_a_sentence_and_no_token(static_folder: Path) -> None:
    module = codequarry.load(str(static_folder))[0]
    with pytest.raises(UserError, match="came without its prefix"):
        module.preprocess(["x"], task="qa")
    bare = module.preprocess(["x = 1"])["input_ids"]
    assert module.preprocess(["x = 1"], prompt=CODE.prefix("qa", "document"))["input_ids"].equal(bare)


@pytest.mark.parametrize("text", ["", " \n\t", "\ud800"])
def test_texts_without_a_token_are_refused(static_folder: Path, text: str) -> None:
    model = codequarry.load(str(static_folder))
    with pytest.raises(UserError, match=r"is empty|half a surrogate pair"):
        model.encode_document(["x", text], task="qa")
    with pytest.raises(UserError, match=r"is empty|half a surrogate pair"):
        model[0].preprocess(["x", text], prompt=CODE.prefix("qa", "document"))


def test_packed_texts_give_the_vectors_of_offsets(static_folder: Path) -> None:
    model = codequarry.load(str(static_folder))
    features = model.preprocess(TEXTS)
    parts = np.split(features["input_ids"].numpy(), features["offsets"].numpy()[1:])
    whole = model(features)["sentence_embedding"]
    assert model(packed(parts))["sentence_embedding"].equal(whole)


def test_token_dropout_leaves_out_a_share_and_never_all_of_a_text() -> None:
    torch.manual_seed(0)
    ids, offsets = torch.arange(20_000), torch.tensor([0, 1, 2, 10_000])
    kept, begin = _some_tokens(ids, offsets, 0.9)
    assert 0.08 < len(kept) / len(ids) < 0.12
    texts = np.split(kept.numpy(), begin.numpy()[1:])
    assert texts[0].tolist() == [0]
    assert texts[1].tolist() == [1]
    assert all(2 <= one < 10_000 for one in texts[2])
    assert all(one >= 10_000 for one in texts[3])


def test_dropout_is_of_training_alone(static_folder: Path) -> None:
    model = codequarry.load(str(static_folder))
    before = model.encode_query(TEXTS, task="qa")
    model[0].token_dropout = 0.5
    assert np.array_equal(model.encode_query(TEXTS, task="qa"), before)
    model.train()
    features = model.preprocess(TEXTS)
    assert not model(dict(features))["sentence_embedding"].equal(model(dict(features))["sentence_embedding"])


def test_a_folder_is_trained_further_with_its_own_shape_alone(static_folder: Path) -> None:
    model = build_model(str(static_folder), pooling="mean", dims=(32, 8))
    assert model.matryoshka_dims == (32, 8)
    for wrong in (
        {"pooling": "lasttoken"},
        {"pooling": "mean", "max_length": 64},
        {"pooling": "mean", "projections": [8]},
    ):
        with pytest.raises(UserError, match="holds a static model"):
            build_model(str(static_folder), **wrong)
    with pytest.raises(UserError, match="must fall from 32"):
        build_model(str(static_folder), pooling="mean", dims=(16, 8))


def test_rows_and_tokenizer_of_two_models_are_refused(static_folder: Path, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    codequarry.load(str(static_folder)).save(str(tmp_path / "m"))
    rows = load_file(tmp_path / "m" / "model.safetensors")["embeddings"]
    save_file({"embeddings": rows[:-1]}, tmp_path / "m" / "model.safetensors")
    with pytest.raises(UserError, match="are of two models"):
        PromptedStaticEmbedding.load(str(tmp_path / "m"))
