import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import codequarry
from codequarry.common.errors import UserError
from codequarry.inference.static_encoder import StaticEncoder
from codequarry.modules.tasks import SIDES, TASKS

TEXTS = [
    "parse a date",
    "def f(x):\r\n\treturn x  # größe\n",
    "x = 1\n" * 3000,
    "<|endoftext|> [SEP]",
    "  a  ",
]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("task", TASKS)
def test_vectors_are_those_of_sentence_transformers(static_folder: Path, task: str, side: str) -> None:
    from sentence_transformers import SentenceTransformer

    stock = SentenceTransformer(str(static_folder))
    own = StaticEncoder(static_folder).encode(TEXTS, task, side)
    assert own.dtype == np.float32
    assert np.abs(own - stock.encode(TEXTS, prompt_name=f"{task}_{side}")).max() < 1e-6


def test_truncated_vectors_are_those_of_the_loaded_model(static_folder: Path) -> None:
    model = codequarry.load(str(static_folder))
    for dims in model.matryoshka_dims:
        encoder = StaticEncoder(static_folder, dims=dims)
        assert encoder.get_embedding_dimension() == dims
        own = encoder.encode(TEXTS, "qa", "query")
        assert np.abs(own - model.encode_query(TEXTS, task="qa", truncate_dim=dims)).max() < 1e-6
    with pytest.raises(UserError, match="12 is not among the trained dims"):
        StaticEncoder(static_folder, dims=12)


def test_model_and_space_are_known_by_the_same_names(static_folder: Path) -> None:
    from codequarry.inference.encoder import Encoder

    model, encoder = codequarry.load(str(static_folder)), StaticEncoder(static_folder)
    assert encoder.fingerprint == model.fingerprint
    assert encoder.prompt_family == model.prompt_family
    assert encoder.space("qa") == Encoder(model).space("qa")
    assert encoder.count_tokens(TEXTS) == Encoder(model).count_tokens(TEXTS)
    split, plain = encoder.token_ids(["parseDate", "_x"]), encoder.token_ids(["parse date", "X"])
    assert [ids.tolist() for ids in split] == [ids.tolist() for ids in plain]


def test_a_vector_does_not_depend_on_its_company(static_folder: Path) -> None:
    encoder = StaticEncoder(static_folder)
    together = encoder.encode(TEXTS * 300, "qa", "query")
    alone = np.array([encoder.encode_query(text, "qa") for text in TEXTS])
    assert np.array_equal(together[-len(TEXTS) :], alone)
    assert encoder.encode([], "qa", "query").shape == (0, 32)


def test_empty_texts_are_refused_or_zero(static_folder: Path) -> None:
    encoder = StaticEncoder(static_folder)
    with pytest.raises(UserError, match="text 2 of 3 is empty"):
        encoder.encode(["x", "", "y"], "qa", "query")
    found = encoder.encode(["x", "", "y"], "qa", "query", empty="zero")
    assert np.linalg.norm(found, axis=1).round(5).tolist() == [1.0, 0.0, 1.0]
    with pytest.raises(UserError, match="half a surrogate pair"):
        encoder.encode(["\ud800"], "qa", "query", empty="zero")


def test_a_task_or_side_that_is_none_is_refused(static_folder: Path) -> None:
    encoder = StaticEncoder(static_folder)
    with pytest.raises(UserError, match="'q' is not a task"):
        encoder.encode(["x"], "q", "query")
    with pytest.raises(UserError, match="is not a side"):
        encoder.encode(["x"], "qa", "doc")


def test_neither_torch_nor_transformers_is_imported(static_folder: Path) -> None:
    program = f"""
import sys
heavy = ("torch", "transformers", "sentence_transformers", "datasets", "accelerate", "huggingface_hub")
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in heavy:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
from pathlib import Path
from codequarry.inference.static_encoder import StaticEncoder
print(StaticEncoder(Path({str(static_folder)!r})).encode(["parse a date"], "qa", "query").shape)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("(1, 32)\n", 0), done.stderr


def damaged(folder: Path, out: Path, name: str, content: bytes | None) -> Path:
    shutil.copytree(folder, out)
    (out / name).unlink()
    if content is not None:
        (out / name).write_bytes(content)
    return out


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe", b"[]", b'{"prompts": {"query": "x"}}'])
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config_sentence_transformers.json"])
def test_damaged_files_are_refused_with_a_sentence(
    static_folder: Path, tmp_path: Path, name: str, content: bytes | None
) -> None:
    folder = damaged(static_folder, tmp_path / "m", name, content)
    with pytest.raises(UserError, match=r"(?s)Fetch or save the model again|prompts"):
        StaticEncoder(folder)


def test_rows_that_are_not_finite_are_refused(static_folder: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(static_folder, tmp_path / "m")
    rows = load_file(folder / "model.safetensors")["embeddings"]
    rows[3, 4] = np.nan
    save_file({"embeddings": rows}, folder / "model.safetensors")
    with pytest.raises(UserError, match="NaN or infinity"):
        StaticEncoder(folder)


def test_a_model_with_other_trained_dimensions_says_so(static_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(static_folder, tmp_path / "m")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"matryoshka_dimensions": "x"}), encoding="utf-8")
    with pytest.raises(UserError, match="not whole numbers that fall"):
        StaticEncoder(folder)
