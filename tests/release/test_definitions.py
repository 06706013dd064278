"""The rows of models.toml say what the recipes say, and a folder that differs from its row is caught."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from codequarry.modules.backbone import PACKAGED
from codequarry.recipes.read import read_recipe, recipe_path
from codequarry.release.definitions import check_definition, definition_of, definitions

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
    assert recipes - {"own"} == set(definitions())


def test_the_licence_of_a_packaged_base_is_the_packages():
    for packaged in PACKAGED:
        rows = [row for row in definitions().values() if row.base_model == packaged.name]
        assert rows
        assert {row.base_licence for row in rows} == {packaged.licence}


def test_a_repository_belongs_to_one_definition():
    for row in definitions().values():
        assert definition_of(row.repository) is row
    assert definition_of("somebody/else") is None


def test_a_release_as_it_is_built_has_every_file_of_the_definitions(built):
    held = {path.relative_to(built).as_posix() for path in built.rglob("*")}
    for row in definitions().values():
        assert set(row.files) <= held


def folder_of(tmp_path, *, dims=(4, 2), base=SMALL.base_model, dtype="BF16", shards=((5, 5), (10,))):
    """A folder that is `SMALL`, unless told otherwise; shards are the numbers in each of their tensors."""
    (tmp_path / "config.json").write_text(json.dumps({"matryoshka_dimensions": dims}))
    (tmp_path / "training.json").write_text(json.dumps({"recipe": {"backbone": {"name": base}}}))
    for number, shard in enumerate(shards):
        header, at = {"__metadata__": {"format": "pt"}}, 0
        for index, count in enumerate(shard):
            end = at + count * 2
            header[f"t{index}"] = {"dtype": dtype, "shape": [count], "data_offsets": [at, end]}
            at = end
        text = json.dumps(header).encode()
        path = tmp_path / f"model-{number}.safetensors"
        path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(at))
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
        ({"dtype": "F32"}, "model-0.safetensors holds F32, defined is BF16."),
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
