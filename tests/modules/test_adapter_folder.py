"""An adapter and the backbone it belongs to: the merged model's vectors, and no others."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import codequarry
from codequarry.inference import load
from codequarry.modules import adapter_folder
from codequarry.modules.adapter_folder import BASE, AdapterBase, file_of, read_base, write_base
from codequarry.modules.build import build_model
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.tasks import CODE
from codequarry.training.lora import add_adapter, merge_adapter, save_adapter

pytest.importorskip("peft")

TEXTS = ["parse a date", "def f(x):\n    return x"]


@pytest.fixture
def trained(small_decoder: Path) -> CodeEmbedder:
    torch.manual_seed(0)
    model = build_model(str(small_decoder), max_length=64, dims=(64, 16), device="cpu")
    add_adapter(model, rank=4, alpha=8.0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return model


@pytest.fixture
def folder(trained: CodeEmbedder, small_decoder: Path, tmp_path: Path) -> Path:
    save_adapter(trained, tmp_path / "adapter", base=str(small_decoder))
    write_base(
        tmp_path / "adapter",
        AdapterBase(str(small_decoder), None, file_of(trained), "lasttoken", 64, (64, 16)),
    )
    return tmp_path / "adapter"


def test_it_loads_to_the_vectors_of_the_merged_model(folder: Path, trained: CodeEmbedder) -> None:
    expected = merge_adapter(trained).eval().encode_document(TEXTS, task="code2code")
    model = codequarry.load(str(folder), dims=16, device="cpu")
    assert model.max_seq_length == 64
    assert not model.training
    assert abs(model.encode_document(TEXTS, task="code2code", truncate_dim=64) - expected).max() < 1e-6
    assert np.allclose(np.linalg.norm(model.encode_query(TEXTS, task="qa"), axis=1), 1)


def test_an_adapter_on_the_first_layers_loads_with_these_alone(small_decoder: Path, tmp_path: Path) -> None:
    model = build_model(str(small_decoder), max_length=64, dims=(64, 16), layers=1, device="cpu")
    add_adapter(model, rank=4, alpha=8.0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    save_adapter(model, tmp_path, base=str(small_decoder))
    base = AdapterBase(str(small_decoder), None, None, "lasttoken", 64, (64, 16), layers=1)
    write_base(tmp_path, base)
    loaded = codequarry.load(str(tmp_path), device="cpu")
    assert loaded.transformers_model is not None
    assert loaded.transformers_model.config.num_hidden_layers == 1
    expected = merge_adapter(model).eval().encode_document(TEXTS, task="code2code")
    assert abs(loaded.encode_document(TEXTS, task="code2code") - expected).max() < 1e-6


@pytest.mark.parametrize(
    ("field", "value"), [("layers", 0), ("layers", True), ("max_length", -1), ("dims", [0])]
)
def test_a_number_that_is_none_is_named(folder: Path, field: str, value: Any) -> None:
    base = json.loads((folder / BASE).read_text())
    (folder / BASE).write_text(json.dumps(base | {field: value}))
    with pytest.raises(ValueError, match=f"{field} is .*not whole numbers above 0"):
        codequarry.load(str(folder))


def test_half_of_its_bytes_give_nearly_the_same_vectors(folder: Path, trained: CodeEmbedder) -> None:
    file = folder / "adapter_model.safetensors"
    save_file({name: one.bfloat16() for name, one in load_file(file).items()}, file)
    expected = merge_adapter(trained).eval().encode_document(TEXTS, task="code2code")
    found = codequarry.load(str(folder), device="cpu").encode_document(TEXTS, task="code2code")
    assert (found * expected).sum(axis=1).min() > 0.9999


def test_an_adapter_on_other_weights_than_its_own_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = json.loads((folder / BASE).read_text())
    (folder / BASE).write_text(json.dumps(base | {"sha256": "a" * 64}))
    with pytest.raises(
        ValueError, match=r"trained on the GGUF file of sha256 aaaaaaaaaaaa….*no GGUF file here"
    ):
        codequarry.load(str(folder))
    monkeypatch.setattr(adapter_folder, "source_sha256", lambda folder: "b" * 64)
    with pytest.raises(ValueError, match="sha256 bbbbbbbbbbbb… here"):
        codequarry.load(str(folder))
    monkeypatch.setattr(adapter_folder, "source_sha256", lambda folder: "a" * 64)
    assert codequarry.load(str(folder)).encode_query(TEXTS, task="qa").shape == (2, 64)


def test_the_file_a_backbone_was_made_of_is_written_down(
    trained: CodeEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter_folder, "source_sha256", lambda folder: "c" * 64)
    (tmp_path / "new").mkdir()
    write_base(tmp_path / "new", AdapterBase("small", "main", file_of(trained), "mean", 32, ()))
    base = read_base(tmp_path / "new")
    assert (base.backbone, base.revision, base.sha256) == ("small", "main", "c" * 64)


def test_an_adapter_from_before_there_were_prompt_families_has_that_called_code(folder: Path) -> None:
    now = read_base(folder)
    change(folder, BASE, {"prompts": "gone"})
    assert read_base(folder) == now
    assert codequarry.load(str(folder)).prompt_family == CODE


def change(folder: Path, name: str, fields: dict[str, Any]) -> None:
    content = json.loads((folder / name).read_text())
    content = {key: value for key, value in (content | fields).items() if value != "gone"}
    (folder / name).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "fields", "sentence"),
    [
        (BASE, {"pooling": "max"}, "pooling is 'max'"),
        (BASE, {"max_length": "64"}, "'max_length' is missing or of another type"),
        (BASE, {"dims": "gone"}, "'dims' is missing"),
        (BASE, {"prompts": "cod"}, "'cod' is not a prompt family"),
        (BASE, {"another": 1}, "fields of a newer version"),
        ("adapter_config.json", {"r": 0}, "holds no whole adapter .ZeroDivisionError"),
        ("adapter_config.json", {"lora_alpha": "gone"}, "holds no whole adapter .KeyError"),
    ],
)
def test_a_folder_that_was_tampered_with_is_refused_by_field(
    name: str, fields: dict[str, Any], sentence: str, folder: Path
) -> None:
    change(folder, name, fields)
    with pytest.raises(ValueError, match=sentence):
        codequarry.load(str(folder))


@pytest.mark.parametrize("broken", ["renamed", "reshaped", "not finite", "half", "cut off", "no JSON"])
def test_weights_that_do_not_fit_their_backbone_are_refused(broken: str, folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    weights = load_file(file)
    name = "base_model.model.layers.0.mlp.up_proj.lora_A.weight"
    if broken == "renamed":
        weights["base_model.model.layers.7.mlp.up_proj.lora_A.weight"] = weights.pop(name)
    elif broken == "reshaped":
        weights[name] = weights[name][:, :-1].contiguous()
    elif broken == "not finite":
        weights[name][0, 0] = float("nan")
    elif broken == "half":
        del weights[name]
    save_file(weights, file)
    if broken == "cut off":
        file.write_bytes(file.read_bytes()[:-100])
    elif broken == "no JSON":
        (folder / "adapter_config.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"does not fit|not finite|no whole adapter|cannot be read"):
        codequarry.load(str(folder))


def test_a_name_whose_adapter_is_not_here_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(load.ADAPTERS, "0.5b", tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"comes with codequarry as an adapter, but .* has none"):
        codequarry.load("0.5b")
