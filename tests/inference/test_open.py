"""`open_model` against `load`: the same model, without sentence-transformers."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

import codequarry
from codequarry.common.environment import fast_autocast
from codequarry.common.errors import UserError
from codequarry.inference.encoder import Encoder
from codequarry.inference.load import load
from codequarry.inference.open import open_model
from codequarry.inference.runtime import tokens
from codequarry.inference.runtime.folder import FolderModel
from codequarry.modules.backbone import MINI_FOLDER
from codequarry.modules.build import build_model

TEXTS = ["def f(x):\n    return x", "größe = '[SEP] <|endoftext|>'", "x = 1\n" * 400, "  parse\ta date 漢字"]


@pytest.fixture(scope="module", params=["mini", "decoder"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "mini":
        return MINI_FOLDER
    place = tmp_path_factory.mktemp("saved") / "decoder"
    backbone = request.getfixturevalue("small_decoder")
    build_model(str(backbone), max_length=300, dims=(64, 32), device="cpu").save(str(place))
    return place


def test_vectors_fingerprint_and_token_ids_are_those_of_load(folder: Path) -> None:
    opened, loaded = open_model(str(folder)), load(str(folder), device="cpu", runtime="stock")
    assert isinstance(opened, FolderModel)
    assert opened.fingerprint == loaded.fingerprint
    assert opened.tokenizer.ids(TEXTS) == loaded.tokenizer(TEXTS, truncation=True)["input_ids"]
    assert Encoder(opened).count_tokens(TEXTS) == Encoder(loaded).count_tokens(TEXTS)
    for task in ("nl2code", "qa"):
        for dims in (None, opened.matryoshka_dims[-1]):
            prompt = opened.prompt_family.prefix(task, "document")
            found, expected = (
                Encoder(one).encode(TEXTS, prompt, side="document", dims=dims) for one in (opened, loaded)
            )
            assert np.abs(found - expected).max() < 2e-6
    space = Encoder(opened).space("nl2code")
    assert space == Encoder(loaded).space("nl2code")
    with fast_autocast("cpu"):
        close = opened.encode(TEXTS, prompt="", normalize_embeddings=True)
    assert (close * loaded.encode(TEXTS, prompt="")).sum(axis=1).min() > 0.9995


def test_dims_and_bad_input_are_refused_as_load_refuses_them(folder: Path) -> None:
    opened, loaded = open_model(str(folder), dims=32), load(str(folder), dims=32, device="cpu")
    assert opened.encode(TEXTS, prompt="").shape == loaded.encode(TEXTS, prompt="").shape == (4, 32)
    assert opened.get_embedding_dimension() == 32
    long = "a " * opened.max_seq_length
    for texts, prompt in ((["x", ""], ""), (["\ud800"], ""), ([3], ""), (["x"], long)):
        sentences = []
        for one in (opened, loaded):
            with pytest.raises(UserError) as refused:
                one.encode(texts, prompt=prompt)
            sentences.append(str(refused.value))
        assert sentences[0] == sentences[1]
    for one in (open_model, load):
        with pytest.raises(UserError, match="embedding dim 33"):
            one(str(folder), dims=33)


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder, tmp_path / "model")
    (tmp_path / "model" / "manifest.json").unlink(missing_ok=True)
    return tmp_path / "model"


def edit(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


@pytest.mark.parametrize(
    "damage", ["golden", "weights", "extra tensor", "pooling", "tokenizer", "prompts", "missing"]
)
def test_a_folder_that_is_not_read_for_certain_is_left_to_load(
    copied: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if damage == "golden":
        (copied / "golden_vectors.json").unlink()
    elif damage in ("weights", "extra tensor"):
        weights = load_file(copied / "model.safetensors")
        if damage == "weights":
            next(iter(weights.values())).zero_()
        else:
            weights["another"] = next(iter(weights.values())).clone()
        save_file(weights, copied / "model.safetensors", {"format": "pt"})
    elif damage == "pooling":
        edit(copied / "1_Pooling" / "config.json", pooling_mode="max")
    elif damage == "tokenizer":
        edit(copied / "tokenizer_config.json", tokenizer_class="GPT2Tokenizer")
    elif damage == "prompts":
        edit(copied / "config_sentence_transformers.json", prompts={})
    else:
        copied = copied / "nothing"
    asked = []
    monkeypatch.setattr("codequarry.inference.load.load", lambda name, **_: asked.append(name))
    open_model(str(copied))
    assert asked == [str(copied)]


def test_the_words_of_a_qwen2_tokenizer_are_those_of_transformers() -> None:
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

    assert tokens.QWEN2_WORDS == PRETOKENIZE_REGEX


def test_the_first_vector_of_mini_imports_neither_transformers_nor_sentence_transformers() -> None:
    program = (
        "import sys; from codequarry.inference.open import open_model; from codequarry.inference.encoder "
        "import Encoder; Encoder(open_model('mini')).encode(['x'], 'query: ')\n"
        "print(*{'transformers', 'sentence_transformers', 'torch'} & sys.modules.keys())"
    )
    root = str(Path(codequarry.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": root}
    )
    assert done.stdout.split() == ["torch"]
