"""Fields that are not as the layout has them are named, whatever the manifest says."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import codequarry
from codequarry.release.config_checks import check_backbone
from codequarry.release.weights import write_weights

CONFIG, POOLING, BERT = "config.json", "1_Pooling/config.json", "sentence_bert_config.json"

PROMPTS, TOKENIZER = "config_sentence_transformers.json", "tokenizer_config.json"


def swap(one, other):
    def edit(config):
        saved = config["prompts"]
        saved[one], saved[other] = saved[other], saved[one]

    return edit


@pytest.mark.parametrize(
    ("file", "edit", "named"),
    [
        ("modules.json", lambda rows: rows[1].update(kwargs=["task"]), 'modules.json has {"idx": 1'),
        ("modules.json", lambda rows: rows.reverse(), "other modules than the layout, or in another"),
        ("modules.json", lambda rows: rows.append(rows[2]), "other modules than the layout, or in another"),
        ("modules.json", lambda rows: rows.append(3), "other modules than the layout, or in"),
        (POOLING, lambda config: config.update(pooling_mode_lasttoken=False), "switches on no mode"),
        (POOLING, lambda config: config.update(pooling_mode_mean_tokens=True), "on mean, lasttoken; exactly"),
        (POOLING, lambda config: config.update(pooling_mode="mean"), "has pooling_mode beside the flags"),
        (POOLING, lambda config: config.update(include_prompt=False), "has no include_prompt: true"),
        (POOLING, lambda config: config.update(word_embedding_dimension=32), "hidden_size 64"),
        (PROMPTS, swap("qa_query", "qa_document"), 'prompt qa_document is "Find the most relevant answer'),
        (PROMPTS, lambda config: config["prompts"].pop("query"), "prompt query is null"),
        (PROMPTS, lambda config: config.update(truncate_dim=16), "whether there is truncate_dim"),
        (PROMPTS, lambda config: config.update(similarity_fn_name="dot"), '"dot", not "cosine"'),
        (PROMPTS, lambda config: config.update(model_type="CrossEncoder"), '"CrossEncoder", not "Sent'),
        (PROMPTS, lambda config: config.pop("requirements"), "whether there is requirements"),
        (BERT, lambda config: config.update(max_seq_length=100), "has model_max_length 64, sentence_bert"),
        (BERT, lambda config: config.update(max_seq_length=32), "has max_length 64, the release max_seq"),
        (BERT, lambda config: config.update(document_length=32), "older readers take only max_seq_length"),
        (CONFIG, lambda config: config.update(matryoshka_dimensions=[64, 64]), "must fall, without repeats"),
        (CONFIG, lambda config: config.update(matryoshka_dimensions=[64, 48]), "has matryoshka_dims [64, 3"),
        (CONFIG, lambda config: config.update(torch_dtype="bfloat16"), 'torch_dtype "bfloat16" beside'),
        (CONFIG, lambda config: config.update(use_cache=True), "no use_cache: false"),
        ("training.json", lambda record: record.update(recipe="nano"), "does not hold the recipe"),
        (TOKENIZER, lambda config: config.update(auto_map={}), "tokenizer_config.json has auto_map"),
    ],
)
def test_a_field_that_is_not_of_the_layout_is_named(spoilt, file, edit, named):
    assert named in spoilt(file, edit)


@pytest.mark.parametrize("file", [CONFIG, POOLING, BERT, PROMPTS, TOKENIZER, "modules.json", "training.json"])
@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "cannot be read (JSONDecodeError)"),
        ("{'\u00e9': 1}".encode("latin-1"), "cannot be read (UnicodeDecodeError)"),
        (b"3", "holds 3, not a JSON"),
        (b"[" * 100_000, "cannot be read (RecursionError)"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "cannot be read (ValueError)"),
    ],
)
def test_a_file_that_is_no_json_is_the_only_thing_said(spoilt, file, content, named):
    (problem,) = spoilt(file, content).splitlines()
    assert problem.startswith(f"{file} {named}")


@pytest.mark.parametrize("file", [CONFIG, POOLING, BERT, PROMPTS, TOKENIZER])
@pytest.mark.parametrize(
    "value", [None, True, -1, "x" * 99, ["x"], {"x": []}, 10**400], ids=lambda value: repr(value)[:9]
)
def test_no_value_of_any_field_is_more_than_a_sentence(release, file, value):
    """Whatever type a field has: the checks answer with sentences."""
    from codequarry.release.config_checks import check_fields

    whole = (release / file).read_text(encoding="utf-8")
    for field in json.loads(whole):
        (release / file).write_text(json.dumps(json.loads(whole) | {field: value}), encoding="utf-8")
        assert all(isinstance(problem, str) and len(problem) < 400 for problem in check_fields(release))


def rewrite(release, edit):
    path = release / "model.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def drop_a_layer(tensors):
    for name in [name for name in tensors if name.startswith("layers.1.")]:
        del tensors[name]


def prefix_all(tensors):
    for name in list(tensors):
        tensors[f"model.{name}"] = tensors.pop(name)


def test_the_weights_of_a_decoder_and_of_the_embedded_model_are_theirs(built):
    assert check_backbone(built) == []
    assert check_backbone(Path(codequarry.__file__).parent / "models" / "mini") == []


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (drop_a_layer, "lack layers.1.input_layernorm.weight, layers.1.mlp.down_proj.weight, "),
        (drop_a_layer, "and 9 more, of the 26 tensors that config.json asks for"),
        # The final norm is all ones: drawn anew, it is the same, and no golden vector would tell.
        (lambda tensors: tensors.pop("norm.weight"), "The weights lack norm.weight"),
        (lambda tensors: tensors.update(lm_head=torch.ones(2)), "hold lm_head, for which config.json has no"),
        (prefix_all, "The weights hold model.embed_tokens.weight"),
        (
            lambda tensors: tensors.update({"layers.0.mlp.up_proj.weight": torch.zeros(130, 64)}),
            "layers.0.mlp.up_proj.weight of shape [130, 64], config.json asks for [128, 64]",
        ),
        # No golden text has this token.
        (lambda tensors: tensors["embed_tokens.weight"][1].fill_(torch.nan), "NaN or infinity, in embed_tok"),
        (lambda tensors: tensors["norm.weight"][9:10].fill_(-torch.inf), "NaN or infinity, in norm.weight"),
    ],
)
def test_tensors_that_are_not_the_model_s_are_named(release, edit, named):
    rewrite(release, edit)
    assert named in "\n".join(check_backbone(release))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"num_hidden_layers": 1, "layer_types": ["full_attention"]}, "The weights hold layers.1."),
        ({"num_hidden_layers": 3, "layer_types": ["full_attention"] * 3}, "The weights lack layers.2."),
        ({"vocab_size": 500}, "embed_tokens.weight of shape [400, 64], config.json asks for [500, 64]"),
        ({"model_type": "llama"}, "its model_type 'llama' is a LlamaModel"),
        ({"architectures": ["Qwen3Model"]}, "its model_type 'qwen2' is a Qwen2Model"),
        ({"model_type": "nobodys"}, "config.json cannot be read: "),
    ],
)
def test_a_configuration_of_another_model_is_named(spoilt, changes, named):
    assert named in spoilt("config.json", lambda config: config.update(changes))


def test_shards_in_bfloat16_are_read_as_one(release):
    (release / "model.safetensors").rename(release / "whole")
    write_weights([release / "whole"], release, "bf16", 50_000)
    assert len(list(release.glob("*.safetensors"))) > 2
    assert check_backbone(release) == []
