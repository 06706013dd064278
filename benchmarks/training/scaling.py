"""What a second rank brings: the same run on one process and on two, one thread each.

    python -m codequarry.benchmarks.training.scaling --data pairs/train

Each rank embeds its half of every step's pairs; embeddings are gathered, gradients averaged. So the losses
must be the same, and the time of a step half as long, but for what the ranks say to each other. Where there
are GPUs, each rank has one.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import codequarry
from codequarry.benchmarks.command import out_folder
from codequarry.benchmarks.markdown import markdown_table
from codequarry.benchmarks.origin import origin, written_command
from codequarry.modules.told_in_a_sentence import run_program
from codequarry.modules.whole_files import write_json
from codequarry.recipes.read import offer_settings, read_recipe, recipe_path

RESULTS = "training-scaling.json"
_PROGRAM = "python -m codequarry.benchmarks.training.scaling"


@dataclass(frozen=True)
class Sitting:
    """A run on `ranks` processes: seconds of training, pairs a second, and the loss of each step."""

    ranks: int
    seconds: float
    pairs_per_second: float
    losses: tuple[float, ...]


def sitting(
    ranks: int, recipe: str, work: Path, *, steps: int, threads: int, settings: Sequence[str]
) -> Sitting:
    """Train on so many ranks in `work`, as a user would. Raises ValueError, with what it said, if it fails.

    Arguments:
        recipe: a recipe file or a shipped recipe's name.
        steps: optimiser steps.
        threads: of each rank.
        settings: `field=value` each, over the recipe's own.
    """
    out = work / f"ranks-{ranks}"
    own = [f"max_steps={steps}", f"save_steps={steps}", "logging_steps=1", "validation=none"]
    flags = [word for setting in (*settings, *own) for word in ("--set", setting)]
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    script = Path(codequarry.__path__[0]) / "train.py"
    words = [sys.executable, *start, str(script), str(recipe_path(recipe)), "--out", str(out), *flags]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        # the launcher's own report comes last; the sentence, if there is one, stands before it
        said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        raise ValueError(
            f"the run on {ranks} ranks failed: {said[0] if said else done.stderr.strip()[-1000:]}"
        )
    record = json.loads((out / "training.json").read_text(encoding="utf-8"))
    state = out / f"checkpoints/checkpoint-{steps}/trainer_state.json"
    history = json.loads(state.read_text(encoding="utf-8"))["log_history"]
    pairs = steps * read_recipe(recipe_path(recipe), settings).batch_size
    return Sitting(
        ranks,
        record["seconds"],
        round(pairs / record["seconds"], 2),
        tuple(line["loss"] for line in history if "loss" in line),
    )


def losses_apart(one: Sitting, other: Sitting) -> float:
    """The largest difference between two runs' losses of a step, relative to the loss."""
    return max(abs(a - b) / abs(a) for a, b in zip(one.losses, other.losses, strict=True))


def scaling_table(record: Mapping[str, Any]) -> str:
    """The results as a Markdown table, for the terminal and the README."""
    first = record["runs"][0]
    lines = [
        [
            str(run["ranks"]),
            f"{run['pairs_per_second']:.1f}",
            f"{run['pairs_per_second'] / first['pairs_per_second']:.2f}",
        ]
        for run in record["runs"]
    ]
    return markdown_table(["ranks", "pairs/s", "times one rank"], lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The program's options."""
    parser.add_argument("--data", type=Path, required=True, help="a folder of pairs to train on")
    parser.add_argument("--recipe", default="nano", help="a recipe file or a shipped recipe's name")
    parser.add_argument("--steps", type=int, default=20, help="optimiser steps of each run")
    parser.add_argument("--threads", type=int, default=1, help="of each rank")
    offer_settings(parser)
    parser.add_argument("--out", type=Path, help=f"folder for {RESULTS} (default: benchmarks/results)")


def run(arguments: argparse.Namespace) -> None:
    """Train on one rank and on two, print the table and write the results."""
    settings = [*arguments.settings, f"data={json.dumps(str(arguments.data))}"]
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            sitting(
                ranks,
                arguments.recipe,
                Path(folder),
                steps=arguments.steps,
                threads=arguments.threads,
                settings=settings,
            )
            for ranks in (1, 2)
        ]
    record = {
        **origin(written_command(_PROGRAM)),
        "load_before": round(load, 2),
        "recipe": arguments.recipe,
        "steps": arguments.steps,
        "threads_a_rank": arguments.threads,
        "runs": [asdict(one) for one in runs],
        "losses_apart": losses_apart(*runs),
    }
    path = out_folder(arguments) / RESULTS
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record)
    print(f"\n{scaling_table(record)}\n\nlosses differ by {record['losses_apart']:.1e} at most\nwrote {path}")


if __name__ == "__main__":
    run_program(__doc__, add_arguments, run)
