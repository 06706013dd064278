import json
import socket
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

import codequarry
from codequarry.modules import backbone
from codequarry.modules.build import build_model


def test_mini_is_read_from_the_package_into_float32_without_the_network(
    small_decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_model(str(small_decoder), max_length=96, dims=(64, 16)).save(str(tmp_path))
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: tensor.bfloat16() for name, tensor in weights.items()},
        tmp_path / "model.safetensors",
        {"format": "pt"},
    )
    monkeypatch.setitem(backbone.SHIPPED, "mini", tmp_path)

    def refuse(*_: object) -> None:
        raise AssertionError("mini asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    model = codequarry.load("mini", dims=16, device="cpu")
    loaded = model.state_dict()
    assert {tensor.dtype for tensor in loaded.values()} == {torch.float32}
    for name, tensor in weights.items():
        assert torch.equal(loaded[f"0.model.{name}"], tensor.bfloat16().float())
    assert model.encode_query(["sort a list"], task="code2nl").shape == (1, 16)


def test_dims_are_checked_against_the_trained_ones(small_decoder: Path, tmp_path: Path) -> None:
    build_model(str(small_decoder), max_length=96, dims=(64, 16)).save(str(tmp_path))
    assert codequarry.load(str(tmp_path), dims=16).encode_query(["x"]).shape == (1, 16)
    with pytest.raises(ValueError, match=r"embedding dim 32 is not among the trained dims \(64, 16\)"):
        codequarry.load(str(tmp_path), dims=32)


def test_a_model_trained_for_one_size_has_that_size_only(small_decoder: Path, tmp_path: Path) -> None:
    build_model(str(small_decoder), max_length=96).save(str(tmp_path))
    with pytest.raises(ValueError, match=r"embedding dim 32 is not among the trained dims \(64,\)"):
        codequarry.load(str(tmp_path), dims=32)


def test_a_model_without_the_tasks_prompts_is_refused(minilm: Path) -> None:
    with pytest.raises(ValueError, match="does not carry the prompts of codequarry's tasks"):
        codequarry.load(str(minilm))


def test_an_edited_prompt_is_refused(small_decoder: Path, tmp_path: Path) -> None:
    build_model(str(small_decoder), max_length=96).save(str(tmp_path))
    config = json.loads((tmp_path / "config_sentence_transformers.json").read_text())
    config["prompts"]["qa_query"] = "Question: "
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"\(qa_query missing or different\)"):
        codequarry.load(str(tmp_path))


def test_an_unfinished_run_is_not_loaded_as_a_model(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ValueError, match="Run its training command again: it resumes"):
        codequarry.load(str(tmp_path))


def test_a_hub_name_without_a_network_is_answered_with_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"org/absent could not be loaded .* pass a local folder"):
        codequarry.load("org/absent")


def test_a_path_that_is_not_there_is_not_looked_up_on_the_hub() -> None:
    with pytest.raises(ValueError, match="is not a folder here"):
        codequarry.load("./runs/absent")
