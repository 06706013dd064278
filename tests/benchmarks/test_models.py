import shutil
from pathlib import Path

import numpy as np
import pytest

from codequarry.benchmarks.models import (
    BASELINE,
    WRONG_PROMPTS,
    BenchmarkModel,
    FusedSearch,
    benchmark_model,
    has_prompts,
    load_model,
    other_task,
    place_of,
    variants_of,
)
from codequarry.common.environment import has_int8_products
from codequarry.modules.build import build_model
from codequarry.modules.tasks import CODE, TASKS


def test_the_packaged_model_is_called_by_its_name_and_has_no_prompts(minilm_model: BenchmarkModel) -> None:
    assert minilm_model.label == "all-MiniLM-L6-v2" == BASELINE
    assert not minilm_model.ours
    assert {minilm_model.prompt(task, "query") for task in TASKS} == {""}
    assert place_of(minilm_model).name == "sentence-transformers/all-MiniLM-L6-v2"


def test_a_model_with_our_prompts_gets_those_of_each_task(prompted: BenchmarkModel) -> None:
    assert prompted.prompt("qa", "document") == CODE.prefix("qa", "document")
    assert prompted.prompt("qa", "document", "none") == ""


def test_another_models_own_prompts_are_used(minilm: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(minilm))
    model.prompts = {"query": "query: ", "passage": "passage: "}
    found = benchmark_model("e5-like", model)
    assert (found.prompt("qa", "query"), found.prompt("qa", "document")) == ("query: ", "passage: ")


def test_the_same_weights_have_the_same_fingerprint_and_others_another(
    minilm: Path, tmp_path: Path, minilm_model: BenchmarkModel
) -> None:
    assert load_model(str(minilm)).fingerprint == minilm_model.fingerprint
    shorter = load_model(str(minilm)).model
    shorter.max_seq_length = 64
    assert benchmark_model("x", shorter).fingerprint != minilm_model.fingerprint


def test_a_tokenizer_that_reads_special_tokens_in_texts_is_another_model(prompted: BenchmarkModel) -> None:
    """Flipping the policy moves vectors, so stored ones must not be taken for the new ones."""
    model = prompted.model
    text = ["the [SEP] token"]
    before, policy = model.encode(text, prompt=""), model.tokenizer.split_special_tokens
    model.tokenizer.split_special_tokens = not policy
    try:
        assert not np.allclose(model.encode(text, prompt=""), before, atol=0.01)
        assert benchmark_model("mini", model).fingerprint != prompted.fingerprint
    finally:
        model.tokenizer.split_special_tokens = policy
    assert benchmark_model("mini", model).fingerprint == prompted.fingerprint == model.fingerprint


def test_a_saved_model_of_ours_is_loaded_with_its_prompts_under_its_folders_name(
    minilm: Path, tmp_path: Path
) -> None:
    build_model(str(minilm), pooling="mean").save(str(tmp_path / "run"))
    found = load_model(str(tmp_path / "run"))
    assert found.ours
    assert found.label == "run"
    assert place_of(found).name == "codequarry/run"


def test_a_model_with_a_pooling_that_stock_sentence_transformers_lacks_is_scored_too(
    small_decoder: Path, tmp_path: Path
) -> None:
    build_model(str(small_decoder), pooling="latentattention", dims=(64,)).save(str(tmp_path / "latent"))
    found = load_model(str(tmp_path / "latent"))
    assert found.ours
    assert found.dims == 64


@pytest.mark.parametrize("name", ["./absent", "/absent/model", "nonsense"])
def test_a_model_that_is_not_there_is_a_sentence(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"is not here. Pass mini, pico, 0.5b, all-MiniLM-L6-v2, a model folder"
    ):
        load_model(name)


def test_a_folder_that_is_no_model_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no finished model"):
        load_model(str(tmp_path))


def test_damaged_weights_are_a_sentence(minilm: Path, tmp_path: Path) -> None:
    shutil.copytree(minilm, tmp_path / "model")
    (tmp_path / "model/model.safetensors").write_bytes(b"half a file")
    with pytest.raises(ValueError, match="model could not be loaded"):
        load_model(str(tmp_path / "model"))


def test_a_hub_that_does_not_answer_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="someone/thing could not be loaded"):
        load_model("someone/thing")


def test_each_query_gets_the_sum_of_reciprocal_ranks_over_the_rankings_of_its_part() -> None:
    """Cormack, Clarke and Buettcher (SIGIR 2009): the sum of 1 / (k + rank), k = 60."""
    found = [
        {"python": {"q": {"a": 3.0, "b": 2.0, "c": 1.0}}, "go": {"q": {"z": 1.0}}},
        {"python": {"q": {"c": 0.9, "a": 0.1}}, "go": {"q": {}}},
    ]
    search = FusedSearch(found, "x/y", "1")
    asked = [{"id": "q", "text": ""}]
    fused = search.search(asked, top_k=9, hf_subset="python")["q"]
    assert fused == pytest.approx({"a": 1 / 61 + 1 / 62, "b": 1 / 62, "c": 1 / 63 + 1 / 61})
    assert list(search.search(asked, top_k=1, hf_subset="python")["q"]) == ["a"]
    assert search.search(asked, top_k=9, hf_subset="go") == {"q": {"z": 1 / 61}}


def test_documents_of_equal_score_are_ranked_by_falling_id() -> None:
    search = FusedSearch([{"default": {"q": {"a": 1.0, "b": 1.0}}}], "x/y", "1")
    assert search.search([{"id": "q", "text": ""}], top_k=1) == {"q": {"b": 1 / 61}}


def test_every_task_is_swapped_with_another_and_none_twice() -> None:
    assert {other_task(task) for task in TASKS} == set(TASKS)
    assert all(other_task(task) != task for task in TASKS)


def test_swaps_take_the_other_tasks_and_the_other_sides_prefix(prompted: BenchmarkModel) -> None:
    query, document = CODE.prefixes["qa"]
    assert prompted.prompt("qa", "query", "own") == query
    assert prompted.prompt("qa", "query", "none") == ""
    assert prompted.prompt("qa", "query", "sides") == document
    assert prompted.prompt("qa", "document", "task") == CODE.prefix("code2code", "document")


def test_a_model_without_prompts_has_none_that_could_be_wrong(
    prompted: BenchmarkModel, minilm_model: BenchmarkModel
) -> None:
    assert has_prompts(prompted)
    assert not has_prompts(minilm_model)
    asked = {"dims": [64], "precisions": ["int8"], "wrong_prompts": list(WRONG_PROMPTS)}
    assert [v.name for v in variants_of(minilm_model, **asked)] == ["64 dims", "int8"]  # type: ignore[arg-type]
    assert [v.name for v in variants_of(prompted, **asked)] == [  # type: ignore[arg-type]
        "64 dims", "int8", "no prompt", "sides swapped", "task swapped"
    ]  # fmt: skip


def test_only_the_wrong_prompts_that_were_asked_for_are_scored(prompted: BenchmarkModel) -> None:
    found = variants_of(prompted, dims=[], precisions=[], wrong_prompts=["none"])
    assert [(variant.name, variant.prompts) for variant in found] == [("no prompt", "none")]


@pytest.mark.parametrize("size", [0, 385])
def test_more_dimensions_than_there_are_is_a_sentence(minilm_model: BenchmarkModel, size: int) -> None:
    with pytest.raises(ValueError, match=f"vectors of 384 dimensions: they cannot be truncated to {size}"):
        variants_of(minilm_model, dims=[size], precisions=[], wrong_prompts=[])


@pytest.mark.skipif(not has_int8_products(), reason="the processor has no VNNI or AMX")
def test_a_model_in_8_bit_integers_is_called_so(minilm: Path) -> None:
    assert load_model("mini", runtime="int8").label == "mini-int8"
    assert load_model(str(minilm), runtime="int8").label == minilm.name, "sentence-transformers computes it"
