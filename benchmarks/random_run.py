"""A finished run of a recipe's true shape whose weights are random: for what must be tried at full size.

    python -m codequarry.benchmarks.random_run 0.5b --out runs/random-0.5b --set backbone.tokenizer=qwen2.5

Nothing is trained, and its record says so: `release publish` sends it nowhere but to a Hub of this machine.
Without a tokenizer one is trained on Python's own library; it has fewer tokens than the shape has rows.
"""

import argparse
import dataclasses
import shutil
import tempfile
from pathlib import Path

from codequarry.modules.told_in_a_sentence import run_program
from codequarry.modules.whole_files import write_json
from codequarry.recipes.read import offer_settings, read_recipe, recipe_path
from codequarry.recipes.schema import Recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the program."""
    parser.add_argument("recipe", help="a recipe with a backbone.shape: nano, 0.5b, 1.5b or a file")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder; it must not exist")
    offer_settings(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write the run and say where it is."""
    recipe = read_recipe(recipe_path(arguments.recipe), arguments.settings)
    print(f"wrote {write_random_run(recipe, arguments.out)}")


def write_random_run(recipe: Recipe, out: Path) -> Path:
    """Write the folder that training by `recipe` would leave, whole or not at all, and return it.

    The weights are drawn by the recipe's seed, in the type of its `weights`, which the disk has to hold twice
    for a moment.

    Raises ValueError for a recipe without a shape, and for an `out` that exists.
    """
    from codequarry.modules.build import build_model
    from codequarry.modules.random_backbone import read_tokenizer, train_tokenizer, write_random_backbone

    backbone = recipe.backbone
    if backbone.shape is None:
        raise ValueError(
            f"recipe {recipe.name} has no backbone.shape to draw weights for: take nano, 0.5b or 1.5b."
        )
    if out.exists():
        raise ValueError(f"{out} exists: choose another --out.")
    out.parent.mkdir(parents=True, exist_ok=True)
    tokenizer = (
        read_tokenizer(backbone.tokenizer)
        if backbone.tokenizer
        else train_tokenizer(_library(), backbone.shape.vocabulary)
    )
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as beside:
        start, model_folder = Path(beside, "backbone"), Path(beside, "run")
        write_random_backbone(start, backbone.shape, tokenizer, seed=recipe.seed, dtype=recipe.weights)
        model = build_model(
            str(start),
            pooling=recipe.pooling,
            max_length=recipe.max_length,
            dims=recipe.matryoshka_dims,
            dtype=recipe.weights,
            device="cpu",
        )
        model.save(str(model_folder))
        record = dataclasses.asdict(recipe)
        record["backbone"]["weights"] = "random"
        write_json(model_folder / "training.json", {"recipe": record, "steps": 0, "data": []})
        shutil.move(model_folder, out)
    return out


def _library() -> list[str]:
    """A few modules that every Python has."""
    import inspect
    import statistics
    import textwrap

    return [
        inspect.getsource(module) for module in (argparse, inspect, shutil, statistics, tempfile, textwrap)
    ]


if __name__ == "__main__":
    run_program(__doc__, add_arguments, run)
