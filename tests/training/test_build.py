"""The model a run of a recipe starts from, and the one it ends with."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from codequarry.modules.backbone import DecoderShape
from codequarry.recipes.read import read_recipe
from codequarry.recipes.schema import Adapter, Backbone
from codequarry.training.build import average, float_copy, initial_model

RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = DecoderShape(hidden_size=64, layers=2, heads=4, kv_heads=2, intermediate_size=128, vocabulary=400)


def test_random_weights_are_drawn_once_and_read_again(tmp_path: Path) -> None:
    nano = read_recipe(RECIPES / "nano.toml")
    backbone = replace(nano.backbone, shape=SMALL)
    small = replace(nano, backbone=backbone, matryoshka_dims=(64, 16), validation=None)
    texts = ["def parse(text):\n    return text.strip()", "parse a text"] * 40
    first = initial_model(small, tmp_path / "lock", tmp_path / "run", texts, "cpu")
    again = initial_model(small, tmp_path / "lock", tmp_path / "run", iter(()), "cpu")
    assert first.fingerprint == again.fingerprint
    other = replace(small, seed=small.seed + 1)
    assert initial_model(other, tmp_path / "lock", tmp_path / "other", texts, "cpu").fingerprint != (
        first.fingerprint
    )


def test_the_recipe_says_length_dimensions_pooling_and_number_format(minilm: Path, tmp_path: Path) -> None:
    mini = read_recipe(RECIPES / "mini.toml")
    chosen = replace(
        mini, backbone=replace(mini.backbone, name=str(minilm)), max_length=77, weights="bfloat16"
    )
    model = initial_model(chosen, tmp_path / "lock", tmp_path, [], "cpu")
    assert model.max_seq_length == 77
    assert model.matryoshka_dims == mini.matryoshka_dims
    assert model[1].pooling_mode == "mean"
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}


def test_projections_are_built_and_do_not_go_with_an_adapter(small_decoder: Path, tmp_path: Path) -> None:
    nano = read_recipe(RECIPES / "nano.toml")
    recipe = replace(
        nano,
        backbone=Backbone(str(small_decoder)),
        projections=(96, 32),
        matryoshka_dims=(32, 16),
        validation=None,
    )
    model = initial_model(recipe, tmp_path / "lock", tmp_path / "run", iter(()), "cpu")
    assert [layer.out_features for layer in list(model)[2:4]] == [96, 32]
    with_adapter = replace(recipe, lora=Adapter(rank=4, alpha=8.0))
    with pytest.raises(ValueError, match="the adapter's folder has no place for them"):
        initial_model(with_adapter, tmp_path / "lock", tmp_path / "run", iter(()), "cpu")
    with pytest.raises(ValueError, match="as large as the last projection, so let the dims begin with 96"):
        replace(recipe, projections=(96,))
    with pytest.raises(ValueError, match="dimensions of at least 1"):
        replace(recipe, projections=(0, 32))


def moved(model: nn.Module) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1.0)


@pytest.mark.parametrize(("share", "left"), [(0.0, 1.0), (0.25, 0.75), (1.0, 0.0)])
def test_the_share_of_the_base_is_taken_off_the_way_trained(share: float, left: float) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    before = float_copy(model)
    moved(model)
    average(model, before, share)
    for name, weight in model.state_dict().items():
        assert torch.allclose(weight, before[name] + left), name


def test_the_copy_does_not_change_with_the_model() -> None:
    model = nn.Linear(3, 2)
    before = float_copy(model)
    moved(model)
    assert not torch.equal(before["weight"], model.weight)


def test_another_model_is_refused() -> None:
    with pytest.raises(ValueError, match=r"differ in 1 of their weights, such as bias"):
        average(nn.Linear(3, 2), float_copy(nn.Linear(3, 2, bias=False)), 0.5)
