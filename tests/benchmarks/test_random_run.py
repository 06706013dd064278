"""A random run is a run that releases are built from, and says that nothing was trained."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from codequarry.benchmarks.random_run import write_random_run
from codequarry.modules.decoder_shape import DecoderShape
from codequarry.recipes.read import read_recipe, recipe_path
from codequarry.release.publish import is_trained
from codequarry.release.run_folder import RunFolder

SHAPE = DecoderShape(hidden_size=32, layers=1, heads=2, kv_heads=1, intermediate_size=64, vocabulary=900)


def recipe(**changes):
    """0.5b on a shape that fits into a test."""
    given = read_recipe(recipe_path("0.5b"))
    return replace(given, backbone=replace(given.backbone, shape=SHAPE), matryoshka_dims=(32, 16), **changes)


def test_it_is_a_run_of_the_recipes_shape_that_nobody_trained(tmp_path):
    folder = write_random_run(recipe(), tmp_path / "runs" / "random")
    run = RunFolder.read(folder)
    assert (run.dims, run.max_length, run.pooling, run.is_decoder) == ((32, 16), 512, "lasttoken", True)
    assert run.recipe["backbone"]["weights"] == "random"
    assert not is_trained(folder)
    assert load_file(folder / "model.safetensors")["embed_tokens.weight"].shape == (900, 32)
    assert [path.name for path in folder.parent.iterdir()] == ["random"]


def test_the_weights_are_in_the_recipes_type_and_the_tokenizer_may_be_given(tmp_path, small_decoder):
    given = recipe(weights="bfloat16")
    given = replace(given, backbone=replace(given.backbone, tokenizer=str(small_decoder)))
    folder = write_random_run(given, tmp_path / "random")
    assert load_file(folder / "model.safetensors")["embed_tokens.weight"].dtype == torch.bfloat16
    words = [
        json.loads((path / "tokenizer.json").read_text())["model"]["vocab"]
        for path in (folder, small_decoder)
    ]
    assert words[0] == words[1]


def test_a_recipe_without_a_shape_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"recipe mini has no backbone\.shape"):
        write_random_run(read_recipe(recipe_path("mini")), tmp_path / "random")


def test_a_folder_that_exists_is_not_written_over(tmp_path):
    with pytest.raises(ValueError, match="exists: choose another --out"):
        write_random_run(recipe(), tmp_path)
