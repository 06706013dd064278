"""A run averaged with its base."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from codequarry.benchmarks.training.shares import scores_by_share, share_table
from codequarry.data.pair import Pair
from codequarry.data.pair_files import write_pairs
from codequarry.modules.build import build_model
from codequarry.modules.machine import fast_autocast
from codequarry.modules.validation import ValidationScores
from codequarry.recipes.read import read_recipe, recipe_path
from codequarry.recipes.run_folder import claim, finish

WORDS = ["parse a date", "sort a list", "open a file", "send a mail", "close a socket", "draw a circle"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Path:
    """Finished, and far enough from its base that scores differ."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    recipe = read_recipe(recipe_path("mini"), ["average_with_base=0.0", f"backbone.name={minilm}"])
    claim(folder, recipe, "none", fresh=False)
    model = build_model(
        str(minilm), pooling="mean", max_length=recipe.max_length, dims=recipe.matryoshka_dims
    )
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn(weights.shape, generator=draw) * 0.05)
    finish(folder, model, {"recipe": asdict(recipe)})
    return folder


def test_share_0_is_the_run_and_share_1_its_base(run: Path, minilm: Path, tmp_path: Path) -> None:
    made = [Pair("nl2code", words, f"def {words.replace(' ', '_')}(): ...", "s", "python") for words in WORDS]
    write_pairs(tmp_path / "unseen/a.jsonl", made)
    rows = scores_by_share(run, {"unseen": tmp_path / "unseen"}, [0.0, 0.5, 1.0], dims=[32])
    assert [row["share"] for row in rows] == [0.0, 0.5, 1.0]
    scorer = ValidationScores({"nl2code": [(pair.query, pair.document) for pair in made]}, dims=[32])
    for row, source in ((rows[0], run), (rows[2], minilm)):
        model = build_model(str(source), pooling="mean", max_length=256)
        with fast_autocast("cpu"):
            expected = scorer(model)
        assert {name: row[name] for name in expected} == expected
    assert rows[0]["mean_ndcg@10"] < rows[2]["mean_ndcg@10"]
    assert share_table(rows).splitlines()[-1] == f"| 1 | {100 * rows[2]['mean_ndcg@10']:.1f} |"


def test_a_run_that_was_averaged_is_refused(run: Path, tmp_path: Path) -> None:
    recipe = read_recipe(recipe_path("mini"))
    claim(tmp_path / "run", replace(recipe, average_with_base=0.3), "none", fresh=False)
    with pytest.raises(ValueError, match=r"averaged already.*average_with_base is 0.3"):
        scores_by_share(tmp_path / "run", {}, [0.0])
    with pytest.raises(ValueError, match=r"holds no recipe.json"):
        scores_by_share(tmp_path, {}, [0.0])
