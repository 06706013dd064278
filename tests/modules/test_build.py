import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoTokenizer,
    GemmaConfig,
    GemmaModel,
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3Model,
)

from codequarry.modules.backbone import DecoderShape
from codequarry.modules.build import build_model
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.last_token_pooling import LastTokenPooling
from codequarry.modules.random_backbone import write_random_backbone
from codequarry.modules.tasks import CODE

SIZE = {
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
}


def family_folder(folder: Path, config, model_class) -> Path:
    """A decoder of another family, its tokenizer putting a start token first and nothing last."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([Path(__file__).read_text()], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    model_class._from_config(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("config_class", "model_class"),
    [(Qwen3Config, Qwen3Model), (LlamaConfig, LlamaModel), (GemmaConfig, GemmaModel)],
    ids=["qwen3", "llama", "gemma"],
)
def test_every_decoder_family_gets_an_end_of_sequence_and_a_pad_token_beside_it(
    config_class, model_class, tmp_path: Path
) -> None:
    model = build_model(str(family_folder(tmp_path, config_class(**SIZE), model_class)), max_length=96)
    tokenizer = model.tokenizer
    ids = tokenizer("x")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.pad_token_id not in (None, tokenizer.eos_token_id)
    model.save(str(tmp_path / "saved"))
    stock = SentenceTransformer(str(tmp_path / "saved"))
    assert stock.tokenizer("x")["input_ids"] == ids
    np.testing.assert_allclose(stock.encode(["x"], prompt_name="query"), model.encode_query(["x"]), atol=1e-6)


def test_an_encoder_keeps_its_mean_pooling_its_length_and_its_vectors(minilm: Path) -> None:
    model = build_model(str(minilm), pooling="mean")
    assert type(model[1]) is Pooling
    assert model.max_seq_length == 256
    texts = ["def f(): pass", "sort a list " * 200]
    expected = SentenceTransformer(str(minilm)).encode(texts)
    np.testing.assert_allclose(model.encode(texts, prompt=""), expected, atol=1e-6)


def test_a_decoder_gets_last_token_pooling_unit_vectors_and_all_prompts(small_decoder: Path) -> None:
    model = build_model(str(small_decoder), max_length=96)
    assert type(model[1]) is LastTokenPooling
    assert model.prompts == CODE.prompts()
    np.testing.assert_allclose(np.linalg.norm(model.encode_query(["a", "b c d"]), axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", ["decoder", "encoder"])
def test_the_first_layers_alone_give_the_hidden_state_after_them_here_and_saved(
    kind: str, layers: int, small_decoder: Path, minilm: Path, tmp_path: Path
) -> None:
    pooling = "lasttoken" if kind == "decoder" else "mean"
    backbone = str(small_decoder if kind == "decoder" else minilm)
    whole = build_model(backbone, pooling=pooling, max_length=64, device="cpu").eval()  # type: ignore[arg-type]
    texts = ["def area(width, height): return width * height", "parse a date"]
    for text in texts:
        features = whole.preprocess([text])
        with torch.no_grad():
            states = whole.transformers_model(
                **{name: features[name] for name in ("input_ids", "attention_mask")},
                output_hidden_states=True,
            ).hidden_states
            state = states[layers]
            if kind == "decoder" and layers < len(states) - 1:  # the last state is after the norm already
                state = whole.transformers_model.norm(state)
        expected = torch.nn.functional.normalize(
            state[0, -1] if kind == "decoder" else state[0].mean(0), dim=0
        )
        cut = build_model(backbone, pooling=pooling, max_length=64, layers=layers, device="cpu")  # type: ignore[arg-type]
        assert np.abs(cut.encode([text], prompt="")[0] - expected.numpy()).max() < 1e-6
    cut.save(str(tmp_path / "cut"))
    assert json.loads((tmp_path / "cut/config.json").read_text())["num_hidden_layers"] == layers
    stock = SentenceTransformer(str(tmp_path / "cut"), device="cpu")
    assert np.abs(stock.encode(texts) - cut.encode(texts, prompt="")).max() < 1e-6


@pytest.mark.parametrize("layers", [0, -1, 99])
def test_a_number_of_layers_that_the_backbone_has_not_is_refused(small_decoder: Path, layers: int) -> None:
    with pytest.raises(ValueError, match=r"the backbone has \d+, of which a number from 1"):
        build_model(str(small_decoder), max_length=64, layers=layers, device="cpu")


def test_dims_that_do_not_fall_from_the_hidden_size_are_refused(small_decoder: Path) -> None:
    for dims in [(32, 16), (64, 16, 32), (64, 64)]:
        with pytest.raises(ValueError, match="must fall from 64, the size of a vector"):
            build_model(str(small_decoder), dims=dims)


def test_a_saved_config_tells_older_readers_the_rope_theta_and_dtype(
    small_decoder: Path, tmp_path: Path
) -> None:
    """transformers 4 falls back to theta 10,000 without a word when it finds no `rope_theta`."""
    build_model(str(small_decoder), max_length=96, dtype="bfloat16").save(str(tmp_path))
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 1e6
    assert config["torch_dtype"] == config["dtype"] == "bfloat16"


@pytest.mark.skipif("CODEQUARRY_DATA" not in os.environ, reason="the Qwen2.5 tokenizer is in CODEQUARRY_DATA")
def test_the_true_qwen_vocabulary_keeps_its_ids_its_end_and_gets_another_pad(tmp_path: Path) -> None:
    vocabulary = AutoTokenizer.from_pretrained(str(Path(os.environ["CODEQUARRY_DATA"], "tokenizer/qwen2.5")))
    assert vocabulary.pad_token == vocabulary.eos_token, "as the base models have it"
    shape = DecoderShape(32, 1, 2, 1, 64, vocabulary=151_936)
    model = build_model(str(write_random_backbone(tmp_path / "b", shape, vocabulary, seed=1)), max_length=512)
    assert model.tokenizer("Hello world")["input_ids"] == [9707, 1879, 151643]
    assert (model.tokenizer.pad_token, model.tokenizer.pad_token_id) == ("<|fim_pad|>", 151662)
    forged = model.tokenizer("x<|endoftext|>y")["input_ids"]
    assert forged.count(151643) == 1
    assert model.encode_query(["x"], task="code2completion").shape == (1, 32)


def test_dtype_is_that_of_the_weights_in_memory(small_decoder: Path) -> None:
    assert build_model(str(small_decoder), dtype="bfloat16").dtype == torch.bfloat16


@pytest.fixture(scope="module")
def with_dense(small_decoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model that pools by mean and has two Dense layers, as EmbeddingGemma has."""
    folder = tmp_path_factory.mktemp("stage") / "one"
    build_model(str(small_decoder), pooling="mean", projections=(96, 48), max_length=64).save(str(folder))
    return folder


def test_projections_are_dense_layers_between_pooling_and_unit_length(with_dense: Path) -> None:
    model = build_model(str(with_dense), pooling="mean", dims=(48, 16), device="cpu")
    assert [type(module) for module in model][1:] == [Pooling, Dense, Dense, Normalize]
    assert [(layer.in_features, layer.out_features) for layer in list(model)[2:4]] == [(64, 96), (96, 48)]
    assert all(layer.bias is False for layer in list(model)[2:4])
    texts = ["def f(): pass", "sort a list"]
    hidden = CodeEmbedder(modules=[model[0], model[1]], device="cpu").encode(texts, prompt="")
    projected = hidden @ model[2].linear.weight.detach().numpy().T @ model[3].linear.weight.detach().numpy().T
    expected = projected / np.linalg.norm(projected, axis=1, keepdims=True)
    np.testing.assert_allclose(model.encode(texts, prompt=""), expected, atol=1e-5)


def test_a_saved_folder_keeps_its_own_modules_and_their_weights(
    with_dense: Path, small_decoder: Path
) -> None:
    texts = ["def f(): pass", "sort a list"]
    for projections in [(), (96, 48)]:
        model = build_model(str(with_dense), pooling="mean", projections=projections, device="cpu")
        expected = SentenceTransformer(str(with_dense), device="cpu").encode(texts)
        np.testing.assert_allclose(model.encode(texts, prompt=""), expected, atol=1e-6)


def test_a_saved_latent_attention_keeps_its_weights(small_decoder: Path, tmp_path: Path) -> None:
    first = build_model(str(small_decoder), pooling="latentattention", max_length=64, device="cpu")
    first.save(str(tmp_path))
    second = build_model(str(tmp_path), pooling="latentattention", device="cpu")
    assert torch.equal(first[1].query.weight, second[1].query.weight)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"pooling": "lasttoken"},
            "pools by mean, and pooling = 'lasttoken' was asked for.*Say pooling = 'mean'",
        ),
        (
            {"pooling": "mean", "projections": (48,)},
            r"Dense layers to \[96, 48\], and projections = \[48\] were",
        ),
        ({"pooling": "mean", "dims": (64, 16)}, "must fall from 48, the size of a vector"),
    ],
)
def test_a_recipe_that_contradicts_the_folder_is_refused(with_dense: Path, asked: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(str(with_dense), **asked)


def test_modules_that_cannot_be_kept_are_refused_by_name(with_dense: Path, tmp_path: Path) -> None:
    shutil.copytree(with_dense, tmp_path, dirs_exist_ok=True)
    rows = json.loads((tmp_path / "modules.json").read_text())
    for place, name, message in [
        (2, "theirs.Gate", "names theirs.Gate, a class that is not of sentence-transformers"),
        (2, "sentence_transformers.models.SpladePooling", "SpladePooling, which is no module of a Sentence"),
        (0, "sentence_transformers.models.StaticEmbedding", "begins with StaticEmbedding"),
    ]:
        changed = [row | ({"type": name} if index == place else {}) for index, row in enumerate(rows)]
        (tmp_path / "modules.json").write_text(json.dumps(changed))
        with pytest.raises(ValueError, match=message):
            build_model(str(tmp_path), pooling="mean")
    (tmp_path / "modules.json").write_text(json.dumps(rows))
    pooling = json.loads((tmp_path / "1_Pooling/config.json").read_text())
    (tmp_path / "1_Pooling/config.json").write_text(json.dumps(pooling | {"include_prompt": False}))
    with pytest.raises(ValueError, match="pools texts without their prompts"):
        build_model(str(tmp_path), pooling="mean")
