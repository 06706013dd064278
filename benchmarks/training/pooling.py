"""Which pooling? Last token, mean and latent attention on one recipe: same pairs, same steps, several seeds.

    python -m codequarry.benchmarks.training.pooling --data pairs/train --work runs/pooling

The ablation of jina-code-embeddings (arXiv 2508.21290, section 2), whose authors ran one seed each and found
last token 1.2 points ahead of mean and 0.1 ahead of latent attention. Here a difference counts when it is
larger than what another seed changes. Scores are those of pairs held out of the training sources. The same
command goes on where it was stopped: a finished run is not trained again.
"""

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from codequarry.benchmarks.command import out_folder
from codequarry.benchmarks.contenders import contender
from codequarry.benchmarks.markdown import markdown_table
from codequarry.benchmarks.origin import written_command
from codequarry.benchmarks.quality import MEAN, Row, pair_sets
from codequarry.data.mixture import known_licences, select
from codequarry.data.pair_files import read_pairs, write_pairs
from codequarry.data.pair_folders import HELD_OUT, fingerprint_folders, read_pair_folders
from codequarry.data.validation_split import split
from codequarry.modules.told_in_a_sentence import run_program
from codequarry.modules.whole_files import write_json
from codequarry.recipes.read import offer_settings, read_recipe, recipe_path
from codequarry.recipes.schema import Recipe
from codequarry.train import train

POOLINGS: tuple[str, ...] = get_args(Recipe.__annotations__["pooling"])
RESULTS = "training-pooling.json"
_PROGRAM = "python -m codequarry.benchmarks.training.pooling"


@dataclass(frozen=True)
class Trained:
    """One run: the unweighted mean over tasks of each score, between 0 and 1, and the time it took."""

    pooling: str
    seed: int
    ndcg_at_10: float
    mrr_at_10: float
    recall_at_1: float
    seconds: float


def ablate(
    data: Path,
    work: Path,
    *,
    recipe: str = "nano",
    steps: int = 300,
    seeds: Sequence[int] = (1, 2, 3),
    pairs_per_source: int = 200,
    settings: Sequence[str] = (),
) -> tuple[list[Trained], list[Row]]:
    """Train each pooling with each seed, or find it trained, and score all of them.

    Arguments:
        data: a folder of pairs, folders inside it included; those called heldout are not read.
        work: where the pairs that were drawn, the runs and the vectors lie.
        recipe: a recipe file or the name of a shipped one; its pooling, seed, data and steps are replaced.
        steps: optimiser steps of each run.
        seeds: of weights, order and dropout; the pairs are the same for all.
        pairs_per_source: drawn from one source and task, at most.
        settings: `field=value` each, further fields of the recipe.

    Returns the runs, and their rows by task. Raises ValueError for data that cannot be used, and for a
    `work` that holds runs on other pairs or with other settings.
    """
    chosen = read_recipe(recipe_path(recipe), settings)
    pairs = _drawn_once(data, work / "pairs", chosen.licences, pairs_per_source)
    runs = {(pooling, seed): work / f"{pooling}-{seed}" for seed in seeds for pooling in POOLINGS}
    for (pooling, seed), folder in runs.items():
        print(f"\n{folder.name}", flush=True)
        own = [
            f"data={json.dumps(str(pairs / 'train'))}",
            f"pooling={pooling}",
            f"seed={seed}",
            f"max_steps={steps}",
            "validation=none",  # scored below, on pairs that no run has seen
        ]
        train(recipe_path(recipe), folder, settings=[*settings, *own])

    from codequarry.benchmarks.score import score
    from codequarry.modules.load import load

    sets = pair_sets(read_pairs(pairs / HELD_OUT).pairs)
    # By `load`: stock sentence-transformers reads two of the three poolings only.
    models = [contender(folder.name, load(str(folder))) for folder in runs.values()]
    rows = score(sets, models, cache=work / "vectors")
    names = {folder.name for folder in runs.values()}
    whole = MEAN if len(sets) > 1 else sets[0].name
    mean_row = {row.name: row for row in rows if row.set == whole}
    trained = []
    for (pooling, seed), folder in runs.items():
        row = mean_row[folder.name]
        record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        trained.append(
            Trained(pooling, seed, row.ndcg_at_10, row.mrr_at_10, row.recall_at_1, float(record["seconds"]))
        )
    return trained, [row for row in rows if row.name in names]


def summary(trained: Sequence[Trained]) -> dict[str, dict[str, Any]]:
    """By pooling, best first: mean, standard deviation and seeds of each score, and the mean seconds."""
    found: dict[str, dict[str, Any]] = {}
    for pooling in dict.fromkeys(run.pooling for run in trained):
        own = [run for run in trained if run.pooling == pooling]
        found[pooling] = {
            name.replace("_at_", "@"): _over_seeds({run.seed: getattr(run, name) for run in own})
            for name in ("ndcg_at_10", "mrr_at_10", "recall_at_1")
        } | {"seconds": round(statistics.mean(run.seconds for run in own), 1)}
    return dict(sorted(found.items(), key=lambda item: -item[1]["ndcg@10"]["mean"]))


def conclusion(poolings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A sentence for each pooling behind the best: by how much, and whether seeds explain it.

    A difference is called one when the best is ahead in every seed and by more than the wider of the two
    ranges over seeds. With few seeds that is a rule of thumb, not a test.
    """
    best, *others = poolings
    first = poolings[best]["ndcg@10"]
    sentences = []
    for other in others:
        second = poolings[other]["ndcg@10"]
        ahead = [first["by_seed"][seed] - score for seed, score in second["by_seed"].items()]
        gap, spread = statistics.mean(ahead), max(first["range"], second["range"])
        points = f"{best} is {100 * gap:.1f} points of nDCG@10 ahead of {other}"
        wins = f"in {sum(value > 0 for value in ahead)} of {len(ahead)} seeds"
        if len(ahead) == 1:
            sentences.append(f"{points}; one seed says nothing about chance.")
        elif min(ahead) > 0 and gap > spread:
            sentences.append(f"{points}, {wins}; seeds spread over {100 * spread:.1f}: a difference.")
        else:
            sentences.append(f"{points}, {wins}; seeds spread over {100 * spread:.1f}: not shown to differ.")
    return sentences


def pooling_table(poolings: Mapping[str, Mapping[str, Any]]) -> str:
    """Means over seeds in percent, with the standard deviation behind them, as a Markdown table."""
    scores = ("ndcg@10", "mrr@10", "recall@1")
    lines = []
    for pooling, found in poolings.items():
        cells = (f"{100 * found[name]['mean']:.1f} ±{100 * found[name]['deviation']:.1f}" for name in scores)
        lines.append([f"`{pooling}`", *cells, f"{found['seconds']:.0f}"])
    return markdown_table(["pooling", "nDCG@10", "MRR@10", "recall@1", "seconds a run"], lines)


def _over_seeds(scores: Mapping[int, float]) -> dict[str, Any]:
    values = list(scores.values())
    return {
        "mean": round(statistics.mean(values), 4),
        "deviation": round(statistics.stdev(values), 4) if len(values) > 1 else 0.0,
        "range": round(max(values) - min(values), 4),
        "by_seed": {str(seed): score for seed, score in scores.items()},
    }


def _drawn_once(data: Path, pairs: Path, licences: str, per_source: int) -> Path:
    """The folder with the pairs that train and those that are held out, the same for every run."""
    about = {
        "data_sha256": fingerprint_folders(data, subfolders=True),
        "licences": licences,
        "pairs_per_source": per_source,
    }
    if (pairs / "about.json").is_file():
        drawn = json.loads((pairs / "about.json").read_text(encoding="utf-8"))
        if {name: drawn.get(name) for name in about} != about:
            raise ValueError(
                f"{pairs} was drawn from other pairs, or otherwise, than {data} asks for now: choose another "
                "--work, so that all runs have seen the same."
            )
        return pairs
    found = read_pair_folders(data, subfolders=True).pairs
    allowed, _ = select(found, licences=known_licences(), allowed=licences)
    parted = split(allowed)
    if not parted.validation:
        raise ValueError(
            f"{data} holds too few pairs to hold one out: a source and task needs 50 or more. Mine more code."
        )
    trained_on, _ = select(parted.train, licences={}, max_pairs=per_source)
    write_pairs(pairs / "train/pairs.jsonl.gz", trained_on)
    write_pairs(pairs / HELD_OUT / "pairs.jsonl.gz", parted.validation)
    counts = {"train": len(trained_on), "held_out": len(parted.validation), "set_aside": parted.set_aside}
    write_json(pairs / "about.json", about | counts)
    return pairs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The program's options."""
    parser.add_argument("--data", type=Path, required=True, help="a folder of pairs to train on")
    parser.add_argument("--work", type=Path, required=True, help="where runs lie; the same one resumes them")
    parser.add_argument("--recipe", default="nano", help="a recipe file or a shipped recipe's name")
    parser.add_argument("--steps", type=int, default=300, help="optimiser steps of each run")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each pooling")
    parser.add_argument(
        "--pairs-per-source", type=int, default=200, help="drawn from one source and task, at most"
    )
    offer_settings(parser)
    parser.add_argument("--out", type=Path, help=f"folder for {RESULTS} (default: benchmarks/results)")


def run(arguments: argparse.Namespace) -> None:
    """Train, score, print the table and write the results."""
    from codequarry.benchmarks.summary import write_results

    trained, rows = ablate(
        arguments.data,
        arguments.work,
        recipe=arguments.recipe,
        steps=arguments.steps,
        seeds=range(1, arguments.seeds + 1),
        pairs_per_source=arguments.pairs_per_source,
        settings=arguments.settings,
    )
    poolings = summary(trained)
    sentences = conclusion(poolings)
    print(f"\n{pooling_table(poolings)}\n")
    print("\n".join(sentences))
    path = out_folder(arguments) / RESULTS
    write_results(
        path,
        rows,
        benchmark="poolings on pairs held out of the training sources",
        command=written_command(_PROGRAM),
        more={
            "recipe": arguments.recipe,
            "steps": arguments.steps,
            "pairs": json.loads((arguments.work / "pairs/about.json").read_text(encoding="utf-8")),
            "runs": [asdict(one) for one in trained],
            "poolings": poolings,
            "conclusion": sentences,
        },
    )
    print(f"\nwrote {path}")


if __name__ == "__main__":
    run_program(__doc__, add_arguments, run)
