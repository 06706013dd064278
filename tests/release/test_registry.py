"""The rows of models.toml say what the recipes say, and a folder that differs from its row is caught."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from codequarry.model_card.card import Card
from codequarry.model_card.render import header
from codequarry.modules.backbone import MINI, MINI_FOLDER, PACKAGED
from codequarry.modules.tasks import CODE
from codequarry.recipes.read import read_recipe, recipe_path
from codequarry.release.registry import (
    check_definition,
    definition_for,
    definition_of,
    definitions,
    licence_of,
)
from codequarry.release.weights import dtype_in_memory, dtype_on_disk

SMALL = replace(
    definitions()["mini"], dims=(4, 2), max_shard_bytes=40, files=("config.json", "training.json")
)


@pytest.mark.parametrize("row", definitions().values(), ids=lambda row: row.name)
def test_a_definition_agrees_with_its_recipe(row):
    recipe = read_recipe(recipe_path(row.name))
    assert recipe.name == row.name
    assert recipe.matryoshka_dims == row.dims
    assert row.base_model == (None if recipe.backbone.weights == "random" else recipe.backbone.name)
    assert (row.base_model is None) == (row.base_licence is None)
    if row.base_model is not None:
        text = recipe_path(row.name).read_text()
        assert f'"{row.base_model}"   # {row.base_licence}' in text


def test_every_recipe_but_your_own_has_a_definition():
    recipes = {file.stem for file in recipe_path("mini").parent.glob("*.toml")}
    assert {name for name in recipes if name.partition("-")[0] != "own"} == set(definitions())


def test_a_packaged_base_has_a_licence():
    assert all(licence_of(packaged.name) for packaged in PACKAGED)


def test_a_repository_belongs_to_one_definition():
    for row in definitions().values():
        assert definition_of(row.repository) is row
    assert definition_of("somebody/else") is None


def test_a_release_as_it_is_built_has_every_file_of_the_definitions(built):
    held = {path.relative_to(built).as_posix() for path in built.rglob("*")}
    for row in definitions().values():
        assert set(row.files) <= held


def test_what_a_recipe_makes_is_defined_by_its_name_or_else_by_its_base():
    base = {"name": "Qwen/Qwen2.5-Coder-1.5B"}
    rows = definitions()
    assert definition_for({"name": "nano", "backbone": base}) is rows["nano"]
    assert definition_for({"name": "mine", "backbone": base}) is rows["1.5b"]
    assert definition_for({"name": "mine", "backbone": {"name": "somebody/else"}}) is None
    assert definition_for({"name": "own", "backbone": {"name": MINI}}) is None
    assert definition_for({}) is None


@pytest.mark.parametrize("row", definitions().values(), ids=lambda row: row.name)
def test_the_licence_of_a_base_and_of_a_release_is_that_of_its_row(row):
    assert licence_of(row.repository) == row.licence
    if row.base_model is not None:
        assert licence_of(row.base_model) == row.base_licence


def test_the_licence_of_mini_is_known_by_its_short_name_and_of_nothing_else():
    assert licence_of(MINI) == definitions()[MINI].licence
    assert licence_of("nano") is None
    assert licence_of("somebody/else") is None


def test_the_licence_of_every_definition_is_the_one_that_cards_name():
    card = Card(
        name="x",
        load_as="x",
        version="1",
        dims=(2,),
        max_length=8,
        pooling="mean",
        prompts=CODE.prompts(),
        dtype="fp32",
        in_memory="fp32",
    )
    for row in definitions().values():
        assert f"license: {row.licence.lower()}" in header(card)


def test_the_mini_that_comes_with_the_package_is_stored_and_loaded_as_defined():
    row = definitions()[MINI]
    assert (dtype_on_disk(MINI_FOLDER), dtype_in_memory(MINI_FOLDER)) == (row.dtype, row.in_memory)
    assert check_definition(MINI_FOLDER, row) == []


def folder_of(tmp_path, *, dims=(4, 2), base=SMALL.base_model, dtype=torch.bfloat16, shards=((5, 5), (10,))):
    """A folder that is `SMALL`, unless told otherwise; shards are the numbers in each of their tensors."""
    (tmp_path / "config.json").write_text(json.dumps({"matryoshka_dimensions": dims}))
    (tmp_path / "training.json").write_text(json.dumps({"recipe": {"backbone": {"name": base}}}))
    for number, shard in enumerate(shards):
        tensors = {f"t{index}": torch.zeros(count, dtype=dtype) for index, count in enumerate(shard)}
        save_file(tensors, tmp_path / f"model-{number}.safetensors")
    return tmp_path


def test_a_folder_as_defined_passes(tmp_path):
    assert check_definition(folder_of(tmp_path), SMALL) == []


def test_a_single_tensor_may_be_larger_than_a_shard(tmp_path):
    assert check_definition(folder_of(tmp_path, shards=((1000,), (20,))), SMALL) == []


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"dims": (4, 1)}, "Its dims are [4, 1], defined are [4, 2]."),
        ({"base": "other/base"}, "It was trained on other/base, defined is"),
        ({"dtype": torch.float32}, "model-0.safetensors holds F32, defined is BF16."),
        ({"shards": ((5, 16),)}, "model-0.safetensors has 42 bytes of tensors; defined are 40 at most."),
        ({"shards": ()}, "It has no weights"),
    ],
)
def test_what_differs_from_the_definition_is_named(tmp_path, wrong, named):
    problems = check_definition(folder_of(tmp_path, **wrong), SMALL)
    assert any(named in problem for problem in problems), problems


def test_a_missing_file_is_named(tmp_path):
    (folder_of(tmp_path) / "config.json").unlink()
    assert check_definition(Path(tmp_path), SMALL) == ["config.json is missing."]


def test_weights_that_cannot_be_read_are_named(tmp_path):
    (folder_of(tmp_path) / "model-1.safetensors").write_bytes(b"no weights")
    (problem,) = check_definition(tmp_path, SMALL)
    assert problem.startswith("model-1.safetensors cannot be read")
