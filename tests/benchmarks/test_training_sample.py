"""What is trained on to measure speed: batches drawn as the mixture draws them, and a recipe cut to them."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from codequarry.benchmarks.training_speed import cut, draw
from codequarry.data.mixture import batch_shares, part_of
from codequarry.data.pair import Pair
from codequarry.data.pair_files import read_pairs
from codequarry.recipes.read import read_recipe, recipe_path
from codequarry.recipes.schema import Backbone, LossTerms, Recipe


@pytest.fixture
def recipe(small: tuple[str, ...]) -> Recipe:
    return read_recipe(recipe_path("nano"), small)


def test_steps_are_drawn_as_the_mixture_draws_them_and_bring_their_pairs(
    some_pairs: list[Pair], recipe: Recipe
) -> None:
    sample, parts = draw(some_pairs, recipe, 400)
    shares = batch_shares({"a:nl2code": 120, "b:code2nl": 60}, recipe.mixture_exponent)
    assert sum(parts.values()) == 400
    for part, share in shares.items():
        assert parts[part] / 400 == pytest.approx(share, abs=0.08)
    assert Counter(map(part_of, sample)) == {"a:nl2code": 120, "b:code2nl": 60}
    assert not any(pair.negatives for pair in sample)

    few = draw(some_pairs, recipe, 1)
    assert len(few[0]) == 4 * recipe.batch_size
    assert draw(some_pairs, recipe, 1) == few


def test_a_recipe_s_weights_count(some_pairs: list[Pair], recipe: Recipe) -> None:
    weighted = replace(recipe, source_weights={"a": 0.1})
    _, parts = draw(some_pairs, weighted, 400)
    shares = batch_shares({"a:nl2code": 120, "b:code2nl": 60}, recipe.mixture_exponent, {"a": 0.1})
    assert parts["a:nl2code"] / 400 == pytest.approx(shares["a:nl2code"], abs=0.08)
    _, parts = draw(some_pairs, replace(recipe, source_weights={"*:code2nl": 0.0}), 5)
    assert parts == {"a:nl2code": 5}


def test_pairs_that_fill_no_batch_are_refused(some_pairs: list[Pair], recipe: Recipe) -> None:
    with pytest.raises(ValueError, match="among 5 pairs fills one batch of 8"):
        draw([pair for pair in some_pairs if pair.source == "few"], recipe, 1)


def test_the_cut_recipe_does_the_same_work_and_nothing_else(
    some_pairs: list[Pair], recipe: Recipe, small: tuple[str, ...], tmp_path: Path
) -> None:
    added = ["objective.spread_out=0.1", "lora.rank=4", "dropout=0.1", "temperature=0.02"]
    elaborate = read_recipe(recipe_path("nano"), [*small, *added])
    sample, parts = draw(some_pairs, elaborate, 3)
    settings, sources = cut(elaborate, some_pairs, 3, tmp_path)
    assert sources == parts
    cut_recipe = read_recipe(recipe_path("nano"), [*small, *added, *settings])
    for name in ("pooling", "max_length", "matryoshka_dims", "batch_size", "temperature", "learning_rate"):
        assert getattr(cut_recipe, name) == getattr(elaborate, name), name
    assert (cut_recipe.max_steps, cut_recipe.objective, cut_recipe.dropout) == (3, LossTerms(), 0.0)
    assert (cut_recipe.validation, cut_recipe.lora) == (None, None)
    assert cut_recipe.backbone == Backbone(str(tmp_path / "backbone"))
    assert (tmp_path / "backbone/model.safetensors").is_file()
    assert read_pairs(cut_recipe.data).pairs == sample


def test_the_cut_recipe_draws_each_part_as_often_as_the_sample_says(
    some_pairs: list[Pair], recipe: Recipe, small: tuple[str, ...], tmp_path: Path
) -> None:
    settings, parts = cut(recipe, some_pairs, 7, tmp_path)
    read = read_recipe(recipe_path("nano"), [*small, *settings])
    sizes = Counter(map(part_of, read_pairs(read.data).pairs))
    shares = batch_shares(sizes, read.mixture_exponent, read.source_weights)
    assert len(parts) == 2
    assert shares == pytest.approx({part: count / 7 for part, count in parts.items()})
