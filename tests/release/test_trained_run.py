import json

import pytest

from codequarry.modules.attention import Attention
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.latent_attention_pooling import LatentAttentionPooling
from codequarry.release.trained_run import RunFolder, data_of_all_stages, public_record, stages


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_run_is_read_whole(decoder_run):
    run = RunFolder.read(decoder_run)
    assert (run.pooling, run.max_length, run.hidden_size, run.dims) == ("lasttoken", 64, 64, (64, 32, 16))
    assert Attention.of(run.config).causal
    assert run.vector_size == 64
    assert run.recipe["name"] == run.training["recipe"]["name"] == "nano"


def test_the_record_names_no_folder_of_the_trainers_disk(decoder_run):
    run = RunFolder.read(decoder_run)
    assert (run.recipe["data"], run.training["data"][0]["source"]) == ("pairs", "here")


def test_a_release_is_a_run_again(built, decoder_run):
    """So that weights kept in bf16 can be trained further, or released with another card."""
    release, run = RunFolder.read(built), RunFolder.read(decoder_run)
    assert release.training == run.training
    assert (release.pooling, release.max_length, release.dims) == (run.pooling, run.max_length, run.dims)


def test_an_old_spelling_of_the_pooling_is_read_too(run):
    flags = {"pooling_mode_cls_token": False, "pooling_mode_lasttoken": True}
    (run / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 64, **flags}))
    assert RunFolder.read(run).pooling == "lasttoken"


@pytest.mark.parametrize("name", ["modules.json", "config.json", "training.json", "model.safetensors"])
def test_an_unfinished_run_is_refused_with_the_way_to_finish_it(run, name):
    (run / name).unlink()
    with pytest.raises(ValueError, match=rf"not a finished run: {name} missing.*continues where it stopped"):
        RunFolder.read(run)


def test_a_record_without_the_recipe_is_refused(run):
    edit(run / "training.json", recipe="nano")
    with pytest.raises(ValueError, match=r"the whole recipe and holds 'nano', .*: train it again"):
        RunFolder.read(run)


def test_other_prompts_are_refused_by_name(run):
    path = run / "config_sentence_transformers.json"
    saved = json.loads(path.read_text())["prompts"]
    edit(path, prompts=saved | {"qa_query": "Answer:\n", "chat_query": ""})
    with pytest.raises(ValueError, match=r"other prompts.*at chat_query, qa_query:"):
        RunFolder.read(run)


def test_a_module_class_from_elsewhere_is_refused_by_name(run):
    rows = json.loads((run / "modules.json").read_text())
    rows[1]["type"] = "codequarry.modules.last_token_pooling.LastTokenPooling"
    (run / "modules.json").write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=r"codequarry\.modules\.last_token_pooling"):
        RunFolder.read(run)


def test_a_run_that_pools_with_latents_is_refused_with_the_poolings_that_can_be_released(run):
    model = CodeEmbedder(str(run))
    model[1] = LatentAttentionPooling(64)
    model.save(str(run))
    with pytest.raises(ValueError, match=r"LatentAttentionPooling.*servers.*pooling = 'lasttoken' or 'mean'"):
        RunFolder.read(run)


def test_a_run_without_normalize_is_refused(run):
    rows = json.loads((run / "modules.json").read_text())
    (run / "modules.json").write_text(json.dumps(rows[:2]))
    with pytest.raises(ValueError, match="a release holds Transformer, Pooling, Normalize, with any Dense"):
        RunFolder.read(run)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_to_be_run_on_loading_is_refused(run, name):
    edit(run / name, auto_map={"AutoModel": "theirs.Model"})
    with pytest.raises(ValueError, match="auto_map"):
        RunFolder.read(run)


def test_a_model_that_reads_through_a_chat_template_is_refused(run):
    edit(run / "sentence_bert_config.json", modality_config={"text": {}, "message": {}})
    with pytest.raises(ValueError, match="chat template"):
        RunFolder.read(run)


def test_a_recipe_that_contradicts_the_model_is_refused(run):
    edit(run / "training.json", recipe={"name": "nano", "max_length": 512})
    with pytest.raises(ValueError, match="recipe says max_length 512, the model 64"):
        RunFolder.read(run)


def test_rope_parameters_per_kind_of_layer_are_refused(run):
    edit(run / "config.json", rope_parameters={"full_attention": {"rope_theta": 1e6}})
    with pytest.raises(ValueError, match=r"per kind of layer \(full_attention\)"):
        RunFolder.read(run)


def test_a_language_model_head_is_refused(run):
    edit(run / "config.json", architectures=["Qwen2ForCausalLM"])
    with pytest.raises(ValueError, match="Qwen2ForCausalLM"):
        RunFolder.read(run)


def test_absolute_paths_are_cut_to_their_last_part_wherever_they_stand():
    record = {
        "recipe": {"data": "/home/me/pairs/train", "backbone": {"name": "~/models/small"}},
        "data": [{"source": "/srv/code/shop", "pairs": 7}],
        "left_out": {"/srv/code/blog:qa": "3 pairs, fewer than one batch of 64"},
    }
    assert public_record(record) == {
        "recipe": {"data": "train", "backbone": {"name": "small"}},
        "data": [{"source": "shop", "pairs": 7}],
        "left_out": {"blog:qa": "3 pairs, fewer than one batch of 64"},
    }


def test_everything_else_stays_as_it_is():
    record = {"data": "clean", "share": 0.5, "teacher": "owner/model", "weights": {"*/*": 0.1}, "lora": None}
    assert public_record(record) == record


def test_the_data_of_a_run_on_a_run_holds_both_ones_sources():
    first = {
        "steps": 5,
        "data": [
            {"source": "a", "task": "qa", "licence": "MIT", "pairs": 90, "pairs_drawn": 64},
            {"source": "b", "task": "qa", "licence": "CC-BY-SA-4.0", "pairs": 7, "pairs_drawn": 32},
        ],
    }
    last = {
        "steps": 3,
        "start": first,
        "data": [{"source": "a", "task": "qa", "licence": "MIT", "pairs": 40, "pairs_drawn": 96}],
    }
    assert [one["steps"] for one in stages(last)] == [5, 3]
    together = {row["source"]: row for row in data_of_all_stages(last)}
    assert (together["a"]["pairs"], together["a"]["pairs_drawn"]) == (90, 160)
    assert together["b"]["licence"] == "CC-BY-SA-4.0", (
        "what the first stage was trained on binds the last one"
    )
    assert data_of_all_stages(first) == first["data"]
    assert stages(first) == [first]
    del first["data"][0]["pairs_drawn"]
    assert data_of_all_stages(last)[0]["pairs_drawn"] is None, "not known of one stage, not known of both"
