import shutil
from pathlib import Path

import numpy as np
import pytest

from codequarry.benchmarks.contenders import BASELINE, Contender, contender, load_contender
from codequarry.benchmarks.searchers import place_of
from codequarry.modules.build import build_model
from codequarry.modules.tasks import CODE, TASKS


def test_the_packaged_model_is_called_by_its_name_and_has_no_prompts(minilm_contender: Contender) -> None:
    assert minilm_contender.label == "all-MiniLM-L6-v2" == BASELINE
    assert not minilm_contender.ours
    assert {minilm_contender.prompt(task, "query") for task in TASKS} == {""}
    assert place_of(minilm_contender).name == "sentence-transformers/all-MiniLM-L6-v2"


def test_a_model_with_our_prompts_gets_those_of_each_task(prompted: Contender) -> None:
    assert prompted.prompt("qa", "document") == CODE.prefix("qa", "document")
    plain = prompted.without_prompts()
    assert plain.prompt("qa", "document") == ""
    assert plain.label == "mini, no prompt"


def test_another_models_own_prompts_are_used(minilm: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(minilm))
    model.prompts = {"query": "query: ", "passage": "passage: "}
    found = contender("e5-like", model)
    assert (found.prompt("qa", "query"), found.prompt("qa", "document")) == ("query: ", "passage: ")


def test_the_same_weights_have_the_same_fingerprint_and_others_another(
    minilm: Path, tmp_path: Path, minilm_contender: Contender
) -> None:
    assert load_contender(str(minilm)).fingerprint == minilm_contender.fingerprint
    shorter = load_contender(str(minilm)).model
    shorter.max_seq_length = 64
    assert contender("x", shorter).fingerprint != minilm_contender.fingerprint


def test_a_tokenizer_that_reads_special_tokens_in_texts_is_another_model(prompted: Contender) -> None:
    """Flipping the policy moves vectors, so stored ones must not be taken for the new ones."""
    model = prompted.model
    text = ["the [SEP] token"]
    before, policy = model.encode(text, prompt=""), model.tokenizer.split_special_tokens
    model.tokenizer.split_special_tokens = not policy
    try:
        assert not np.allclose(model.encode(text, prompt=""), before, atol=0.01)
        assert contender("mini", model).fingerprint != prompted.fingerprint
    finally:
        model.tokenizer.split_special_tokens = policy
    assert contender("mini", model).fingerprint == prompted.fingerprint == model.fingerprint


def test_a_saved_model_of_ours_is_loaded_with_its_prompts_under_its_folders_name(
    minilm: Path, tmp_path: Path
) -> None:
    build_model(str(minilm), pooling="mean").save(str(tmp_path / "run"))
    found = load_contender(str(tmp_path / "run"))
    assert found.ours
    assert found.label == "run"
    assert place_of(found).name == "codequarry/run"


def test_a_model_with_a_pooling_that_stock_sentence_transformers_lacks_is_scored_too(
    small_decoder: Path, tmp_path: Path
) -> None:
    build_model(str(small_decoder), pooling="latentattention", dims=(64,)).save(str(tmp_path / "latent"))
    found = load_contender(str(tmp_path / "latent"))
    assert found.ours
    assert found.dims == 64


@pytest.mark.parametrize("name", ["./absent", "/absent/model", "nonsense"])
def test_a_model_that_is_not_there_is_a_sentence(name: str) -> None:
    with pytest.raises(ValueError, match=r"is not here. Pass 'mini', 'all-MiniLM-L6-v2', a model folder"):
        load_contender(name)


def test_a_folder_that_is_no_model_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no finished model"):
        load_contender(str(tmp_path))


def test_damaged_weights_are_a_sentence(minilm: Path, tmp_path: Path) -> None:
    shutil.copytree(minilm, tmp_path / "model")
    (tmp_path / "model/model.safetensors").write_bytes(b"half a file")
    with pytest.raises(ValueError, match="model could not be loaded"):
        load_contender(str(tmp_path / "model"))


def test_a_hub_that_does_not_answer_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="someone/thing could not be loaded"):
        load_contender("someone/thing")
