"""Weights that are not those of the configured model are named, tensor by tensor."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import codequarry
from codequarry.release.backbone_checks import check_backbone
from codequarry.release.weights import write_weights


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
