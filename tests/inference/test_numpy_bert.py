"""The encoder without torch gives the vectors of torch, or leaves the folder to `load`."""

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import codequarry
from codequarry.inference.encoder import Encoder
from codequarry.inference.numpy_bert import NumpyBert, numpy_bert
from codequarry.inference.open import open_light, open_static
from codequarry.modules.backbone import MINI_FOLDER
from codequarry.modules.tasks import SIDES, TASKS

TEXTS = [
    "def total(prices):\n    return sum(prices)",
    "x",
    "Größe = MAX_SIZE  # 大小",
    "stop = '[SEP]' + '[CLS]'  # names of special tokens are text",
    "word " * 1000,  # past the model's length
    "\t\n  é e\u0301 \u200b zero width",
]


@pytest.fixture(scope="module")
def mini() -> Any:
    return codequarry.load("mini")


@pytest.fixture(scope="module")
def numpy_mini() -> NumpyBert:
    model = numpy_bert(MINI_FOLDER)
    assert model is not None
    return model


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("task", TASKS)
def test_vectors_are_those_of_torch_with_every_prompt(
    task: str, side: Any, mini: Any, numpy_mini: NumpyBert
) -> None:
    prompt = mini.prompt_family.prefix(task, side)
    expected = mini.encode(TEXTS, prompt=prompt)
    np.testing.assert_allclose(numpy_mini.encode(TEXTS, prompt=prompt), expected, atol=2e-6)


def test_a_text_has_the_same_vector_alone_and_among_others(numpy_mini: NumpyBert) -> None:
    together = numpy_mini.encode(TEXTS * 20)
    alone = np.concatenate([numpy_mini.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(together, np.tile(alone, (20, 1)), atol=1e-6)


def test_it_has_the_fingerprint_of_the_model_so_that_both_share_stored_vectors(
    mini: Any, numpy_mini: NumpyBert
) -> None:
    assert numpy_mini.fingerprint == mini.fingerprint
    assert numpy_mini.prompt_family == mini.prompt_family
    assert numpy_mini.get_embedding_dimension() == mini.get_embedding_dimension()


def test_the_encoder_of_search_takes_it_as_it_takes_the_model(mini: Any, numpy_mini: NumpyBert) -> None:
    numpys, torchs = Encoder(numpy_mini), Encoder(mini)
    space = torchs.space("qa")
    assert numpys.space("qa").fingerprint == space.fingerprint
    query = "Why is it slow?"
    np.testing.assert_allclose(
        numpys.encode_query(query, "qa", space), torchs.encode_query(query, "qa", space), atol=5e-3
    )  # torch's may be in bf16
    assert numpys.empty_texts(["x", "\0", "\ufeff"]) == torchs.empty_texts(["x", "\0", "\ufeff"]) == [1, 2]
    assert numpys.count_tokens(TEXTS) == torchs.count_tokens(TEXTS)


def test_dimensions_are_cut_and_others_refused(numpy_mini: NumpyBert) -> None:
    cut = open_light("mini", dims=128)
    assert cut.get_embedding_dimension() == 128
    np.testing.assert_allclose(cut.encode(TEXTS), numpy_mini.encode(TEXTS)[:, :128], atol=1e-6)
    with pytest.raises(ValueError, match="embedding dim 100 is not among the trained dims"):
        open_light("mini", dims=100)


def test_threads_that_encode_at_once_do_not_disturb_each_other(numpy_mini: NumpyBert) -> None:
    expected = numpy_mini.encode(TEXTS)
    found: list[Any] = [None] * 4

    def encode(place: int) -> None:
        Encoder(numpy_mini).count_tokens(TEXTS)  # takes the tokenizer's limit off, and puts it back
        found[place] = Encoder(numpy_mini).encode(TEXTS)

    threads = [threading.Thread(target=encode, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in found:
        np.testing.assert_allclose(one, expected, atol=1e-6)


def change(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | fields), "utf-8")


CHANGES = {
    "another activation": lambda folder: change(folder / "config.json", hidden_act="gelu_new"),
    "another family": lambda folder: change(folder / "config.json", model_type="roberta"),
    "more heads": lambda folder: change(folder / "config.json", num_attention_heads=6),
    "another pooling": lambda folder: change(
        folder / "1_Pooling/config.json", pooling_mode_mean_tokens=False, pooling_mode_cls_token=True
    ),
    "a shorter text": lambda folder: change(folder / "sentence_bert_config.json", max_seq_length=32),
    "damaged weights": lambda folder: (folder / "model.safetensors").write_bytes(
        (folder / "model.safetensors").read_bytes()[:-1000] + b"\x40" * 1000
    ),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "no golden vectors": lambda folder: (folder / "golden_vectors.json").unlink(),
    "a list for a configuration": lambda folder: (folder / "config.json").write_text("[]"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_folder_that_it_does_not_reproduce_is_left_to_load(what: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(MINI_FOLDER, folder)
    CHANGES[what](folder)
    assert numpy_bert(folder) is None


def test_a_static_model_is_known_by_its_folder() -> None:
    assert open_static("mini") is None
    assert open_static("pico") is not None
