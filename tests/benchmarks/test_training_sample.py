"""What is trained on to measure speed: batches drawn as the mixture draws them, and a recipe cut to them."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from codequarry.benchmarks.training_speed import draw, write_cut_recipe
from codequarry.data.mixture import batch_shares, part_of
from codequarry.data.pair import Pair
from codequarry.data.pair_files import read_pairs
from codequarry.recipes.read import read_recipe, recipe_path
from codequarry.recipes.schema import LossTerms, Recipe


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


def test_longest_texts_are_their_own_repeated(some_pairs: list[Pair], recipe: Recipe) -> None:
    from codequarry.modules.random_backbone import train_tokenizer

    tokenizer = train_tokenizer((pair.document for pair in some_pairs), 600)
    before, after = (draw(some_pairs, recipe, 2, lengths)[0] for lengths in ("real", "longest"))
    for real, long in zip(before, after, strict=True):
        for short, text in ((real.query, long.query), (real.document, long.document)):
            assert text.startswith(f"{short}\n")
            assert len(tokenizer(text)["input_ids"]) > recipe.max_length


def test_pairs_that_fill_no_batch_are_refused(some_pairs: list[Pair], recipe: Recipe) -> None:
    with pytest.raises(ValueError, match="among 5 pairs fills one batch of 8"):
        draw([pair for pair in some_pairs if pair.source == "few"], recipe, 1)


def test_the_cut_recipe_does_the_same_work_and_nothing_else(
    some_pairs: list[Pair], recipe: Recipe, small: tuple[str, ...], tmp_path: Path
) -> None:
    elaborate = read_recipe(recipe_path("nano"), [*small, "objective.spread_out=0.1", "temperature=0.02"])
    sample, parts = draw(some_pairs, elaborate, 3)
    cut = read_recipe(write_cut_recipe(tmp_path, elaborate, sample, parts, tmp_path / "weights"))
    for name in ("pooling", "max_length", "matryoshka_dims", "batch_size", "temperature", "learning_rate"):
        assert getattr(cut, name) == getattr(elaborate, name), name
    assert (cut.max_steps, cut.objective, cut.validation, cut.lora) == (3, LossTerms(), None, None)
    assert cut.backbone.name == str(tmp_path / "weights")
    assert read_pairs(cut.data).pairs == sample


def test_the_cut_recipe_draws_each_part_as_often_as_the_sample_says(recipe: Recipe, tmp_path: Path) -> None:
    parts = {"a:nl2code": 5, "b:code2nl": 2}
    cut = read_recipe(write_cut_recipe(tmp_path, recipe, [], parts, tmp_path))
    shares = batch_shares({"a:nl2code": 160, "b:code2nl": 60}, cut.mixture_exponent, cut.source_weights)
    assert shares == pytest.approx({"a:nl2code": 5 / 7, "b:code2nl": 2 / 7})
