import json
import logging
from pathlib import Path

import pytest

import codequarry
from codequarry.modules.build import build_model


def test_mini_is_the_verified_base_until_one_is_trained_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        model = codequarry.load("mini")
    assert "mini has not been trained yet" in caplog.text
    assert model.encode_query(["sort a list"], task="code2nl").shape == (1, 384)


def test_dims_are_checked_against_the_trained_ones(small_decoder: Path, tmp_path: Path) -> None:
    build_model(str(small_decoder), max_length=96, dims=(64, 16)).save(str(tmp_path))
    assert codequarry.load(str(tmp_path), dims=16).encode_query(["x"]).shape == (1, 16)
    with pytest.raises(ValueError, match=r"embedding dim 32 is not among the trained dims \(64, 16\)"):
        codequarry.load(str(tmp_path), dims=32)
    with pytest.raises(ValueError, match=r"embedding dim 128 is not among the trained dims \(384,\)"):
        codequarry.load("mini", dims=128)


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
    with pytest.raises(ValueError, match="is not here"):
        codequarry.load("./runs/absent")
