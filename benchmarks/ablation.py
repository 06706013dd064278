"""What one field of a recipe changes: variants of a recipe, each trained with several seeds and scored.

    python -m codequarry.benchmarks.ablation nano --variant pooling=mean --variant pooling=lasttoken \\
        --seeds 3 --set data=pairs/train --set max_steps=200 --heldout pairs/heldout --out results/x.json

A difference between variants counts when it is larger than what another seed changes. The same command
resumes: a variant and seed that the results file holds is not run again, and a run that was stopped continues
from its checkpoint.
"""

import argparse
import json
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from codequarry.benchmarks.models import benchmark_model
from codequarry.benchmarks.results import MEAN, Row
from codequarry.common.environment import origin, written_command
from codequarry.common.errors import UserError, run_program
from codequarry.common.files import write_json
from codequarry.common.tables import markdown_table
from codequarry.data.eval_set import pair_sets
from codequarry.data.pair_files import fingerprint, fingerprint_folders, read_pairs
from codequarry.recipes.read import offer_settings, read_recipe, recipe_path
from codequarry.train import train

SCORES = ("ndcg@10", "mrr@10", "recall@1")
UNCHANGED = "(unchanged)"  # the name of the variant without a setting
_PROGRAM = "python -m codequarry.benchmarks.ablation"


def ablate(
    recipe: str,
    variants: Sequence[Sequence[str]],
    heldout: Path,
    out: Path,
    *,
    seeds: Sequence[int] = (1, 2, 3),
    settings: Sequence[str] = (),
    work: Path | None = None,
) -> dict[str, Any]:
    """Train each variant with each seed, or take it from the results, and score it on held-out pairs.

    Arguments:
        recipe: a recipe file or the name of a shipped one.
        variants: `field=value` settings of each; [] is the recipe as it is.
        heldout: a file or folder of pairs that no variant trains on.
        out: the results file, written after every run.
        seeds: of weights, order, dropout and of the pairs that a cap of the recipe keeps.
        settings: `field=value` each, for all variants.
        work: the folder of the runs and vectors; None: `out` with the suffix `.runs`.

    Returns what the results file holds: `runs` with the mean over tasks and each task's score, and `variants`
    with mean, standard deviation (n - 1; 0 of one run) and number of runs of each score, best nDCG@10 first.

    Raises UserError for variants that are equal or set the seed, for a recipe or pairs that cannot be used,
    and for an `out` that holds runs of another recipe, on other pairs.
    """
    file, work = recipe_path(recipe), work or out.with_suffix(".runs")
    names = [" ".join(variant) or UNCHANGED for variant in variants]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"the variant {twice[0]!r} is given twice: drop one.")
    if any(re.match(r"seed\s*=", setting) for variant in (settings, *variants) for setting in variant):
        raise UserError("seed is not a setting of an ablation: pass --seeds, how many each variant gets.")
    recipes = [read_recipe(file, [*settings, *variant]) for variant in variants]
    data = [fingerprint_folders(Path(one.data), subfolders=one.subfolders) for one in recipes]
    sets = pair_sets(read_pairs(heldout).pairs)
    base = json.dumps(asdict(read_recipe(file, settings)) | {"seed": None})
    about = {
        "measured": "variants of a recipe on held-out pairs",
        "recipe": json.loads(re.sub(r'"/[^"]*/', '"', base)),  # a folder of this machine by its last name
        "heldout": {
            "sha256": fingerprint(heldout),
            "queries": {found.name: len(found.queries) for found in sets},
        },
    }
    record = _resumed(out, about, dict(zip(names, data, strict=True)))
    done = {(run["variant"], run["seed"]) for run in record["runs"]}
    for seed in seeds:  # the outer loop: after one seed of all there is something to compare
        for name, variant, sha256 in zip(names, variants, data, strict=True):
            if (name, seed) in done:
                continue
            folder = work / f"{re.sub(r'[^A-Za-z0-9_.=-]+', '_', name)}-seed{seed}"
            print(f"\n{name}, seed {seed}: {folder}", flush=True)
            train(file, folder, settings=[*settings, *variant, f"seed={seed}"])
            run = {"variant": name, "seed": seed, "data_sha256": sha256, **_scored(folder, sets, work)}
            record["runs"].append(run | origin(written_command(_PROGRAM)))
            record["variants"] = summary(record["runs"])
            out.parent.mkdir(parents=True, exist_ok=True)
            write_json(out, record)
    return record


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """By variant, best nDCG@10 first: runs, mean seconds, and each score's mean and standard deviation."""
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(run["variant"] for run in runs):
        own = [run for run in runs if run["variant"] == name]
        found[name] = {"runs": len(own), "seconds": round(statistics.mean(run["seconds"] for run in own), 1)}
        for score in SCORES:
            values = [run[score] for run in own]
            deviation = statistics.stdev(values) if len(values) > 1 else 0.0
            found[name][score] = {
                "mean": round(statistics.mean(values), 4),
                "deviation": round(deviation, 4),
            }
    return dict(sorted(found.items(), key=lambda item: -item[1]["ndcg@10"]["mean"]))


def ablation_table(record: Mapping[str, Any]) -> str:
    """Means over seeds in percent, ± the standard deviation, a line per variant, as a Markdown table."""
    lines = []
    for name, found in record["variants"].items():
        cells = (f"{100 * found[s]['mean']:.1f} ±{100 * found[s]['deviation']:.1f}" for s in SCORES)
        lines.append([f"`{name}`", str(found["runs"]), *cells, f"{found['seconds']:.0f}"])
    head = ["variant", "runs", "nDCG@10", "MRR@10", "recall@1", "seconds per run"]
    return markdown_table(head, lines)


def _scored(folder: Path, sets: Sequence[Any], work: Path) -> dict[str, Any]:
    """The scores of a finished run, between 0 and 1, and its seconds of training."""
    from codequarry.benchmarks.evaluate import score
    from codequarry.inference.load import load

    # By `load`: stock sentence-transformers reads two of our three poolings only.
    model = benchmark_model(folder.name, load(str(folder)))
    rows = [row for row in score(sets, [model], cache=work / "vectors") if row.name == folder.name]
    whole = next(row for row in rows if row.set == (MEAN if len(sets) > 1 else sets[0].name))
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    return {
        **_scores(whole),
        "by_task": {row.set: _scores(row) for row in rows if row.set != MEAN},
        "seconds": float(record["seconds"]),
    }


def _scores(row: Row) -> dict[str, float]:
    return {name: getattr(row, name.replace("@", "_at_")) for name in SCORES}


def _resumed(out: Path, about: dict[str, Any], data: Mapping[str, str]) -> dict[str, Any]:
    """What the results file holds already, or the beginning of it."""
    if not out.is_file():
        return {**about, "runs": [], "variants": {}}
    record: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    other = [name for name, value in about.items() if record.get(name) != value]
    runs = record.get("runs", [])
    other += ["data" for run in runs if data.get(run["variant"], run["data_sha256"]) != run["data_sha256"]]
    if other:
        what = ", ".join(dict.fromkeys(other))
        raise UserError(
            f"{out} holds runs that cannot be compared with these: {what} differs; "
            "pass another --out, or the recipe, --set, --heldout and pairs that it was begun with."
        )
    return record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the program."""
    add = parser.add_argument
    add("recipe", help="a recipe file or a shipped recipe's name")
    add(
        "--variant", dest="variants", action="append", nargs="*", required=True, metavar="FIELD=VALUE",
        help="settings that belong together; once per variant, without a setting for the recipe as it is",
    )  # fmt: skip
    add("--seeds", type=int, default=3, help="runs of each variant, seeds 1 to N (default: %(default)s)")
    offer_settings(parser)
    add("--heldout", type=Path, required=True, help="a file or folder of pairs that no variant trains on")
    add("--out", type=Path, required=True, help="the results file; the same one resumes")
    add("--work", type=Path, help="the folder of runs and vectors (default: --out with the suffix .runs)")


def run(arguments: argparse.Namespace) -> None:
    """Train, score, write the results and print the table."""
    record = ablate(
        arguments.recipe,
        arguments.variants,
        arguments.heldout,
        arguments.out,
        seeds=range(1, arguments.seeds + 1),
        settings=arguments.settings,
        work=arguments.work,
    )
    print(f"\n{ablation_table(record)}\n\nwrote {arguments.out}")


if __name__ == "__main__":
    run_program(__doc__, add_arguments, run)
