"""How much of the base to give back: a trained run averaged with its base at several shares, each scored.

    python -m codequarry.benchmarks.training.shares runs/mini --pairs runs/mini/validation --pairs unseen

Choose `average_with_base` of a recipe by this, on pairs that were held out of training. Pairs of sources that
the run never drew tell more than pairs of its own: what a fine-tuning forgets lies outside of it.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codequarry.benchmarks.command import out_folder
from codequarry.benchmarks.markdown import markdown_table
from codequarry.benchmarks.origin import origin, written_command
from codequarry.data.pair_files import read_pairs
from codequarry.modules.score_names import MEAN, score_name
from codequarry.modules.told_in_a_sentence import run_program
from codequarry.modules.whole_files import write_json
from codequarry.recipes.run_folder import recipe_of

RESULTS = "training-shares.json"
_PROGRAM = "python -m codequarry.benchmarks.training.shares"


def scores_by_share(
    run: Path, pairs: Mapping[str, Path], shares: Sequence[float], dims: Sequence[int] = ()
) -> list[dict[str, Any]]:
    """A row for each share and folder of pairs: `share`, `pairs`, and nDCG@10 by the names of `score_names`.

    Arguments:
        run: a finished run on pretrained weights, not averaged itself.
        pairs: files or folders of held-out pairs, by name.
        shares: of the base, from 0 (the run) to 1 (the base, with our prompts).
        dims: numbers kept of each vector, scored beside the whole vectors.

    Raises ValueError for a run that is averaged already or started from random weights.
    """
    from codequarry.modules.average import average, float_copy
    from codequarry.modules.load import load
    from codequarry.modules.machine import fast_autocast
    from codequarry.modules.validation import ValidationScores
    from codequarry.training.initial_model import initial_model

    recipe = recipe_of(run)
    if recipe.average_with_base or recipe.backbone.weights == "random":
        raise ValueError(
            f"{run} was averaged already, or has no base to go back to: average_with_base is "
            f"{recipe.average_with_base} and its weights began {recipe.backbone.weights}. Pass a run on "
            "pretrained weights with average_with_base = 0."
        )
    scorers = {name: ValidationScores(_by_task(folder), dims=dims) for name, folder in pairs.items()}
    model = load(str(run))
    trained = float_copy(model)
    base = float_copy(initial_model(recipe, run / "backbones.lock.json", run, (), str(model.device)))
    rows: list[dict[str, Any]] = []
    for share in shares:
        average(model, trained, 1.0)  # back to the run
        average(model, base, share)
        with fast_autocast(model.device.type):
            rows += [{"share": share, "pairs": name} | scorer(model) for name, scorer in scorers.items()]
    return rows


def share_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """nDCG@10 in percent: a line a share, a column a folder of pairs, the mean over tasks."""
    names = list(dict.fromkeys(row["pairs"] for row in rows))
    found = {(row["share"], row["pairs"]): row[score_name(MEAN)] for row in rows}
    lines = [
        [f"{share:g}", *(f"{100 * found[share, name]:.1f}" for name in names)]
        for share in dict.fromkeys(row["share"] for row in rows)
    ]
    return markdown_table(["share of the base", *names], lines)


def _by_task(folder: Path) -> dict[str, list[tuple[str, str]]]:
    tasks: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for pair in read_pairs(folder).pairs:
        tasks[pair.task].append((pair.query, pair.document))
    return dict(sorted(tasks.items()))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The program's options."""
    parser.add_argument("run", type=Path, help="a finished run, trained with average_with_base = 0")
    parser.add_argument(
        "--pairs", type=Path, action="append", required=True, help="held-out pairs; may be given again"
    )
    parser.add_argument("--shares", default="0,0.1,0.2,0.3,0.4,0.5,1", help="of the base, with commas")
    parser.add_argument("--dims", default="128", help="also scored, with commas (default: 128)")
    parser.add_argument("--out", type=Path, help=f"folder for {RESULTS} (default: benchmarks/results)")


def run(arguments: argparse.Namespace) -> None:
    """Score every share, print the table and write the results."""
    rows = scores_by_share(
        arguments.run,
        {folder.name: folder for folder in arguments.pairs},
        [float(word) for word in arguments.shares.split(",")],
        [int(word) for word in arguments.dims.split(",") if word],
    )
    path = out_folder(arguments) / RESULTS
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {
        **origin(written_command(_PROGRAM)),
        "scores": rows,
    }
    write_json(path, record)
    print(f"\n{share_table(rows)}\n\nwrote {path}")


if __name__ == "__main__":
    run_program(__doc__, add_arguments, run)
