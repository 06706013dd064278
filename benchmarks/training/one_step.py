"""One whole training step at the true shape of `0.5b` or `1.5b`, on the machine that is there.

    python -m codequarry.benchmarks.training.one_step 0.5b --data pairs/train
    python -m codequarry.benchmarks.training.one_step 1.5b --data pairs/train --lora

Random weights, a few pairs, `train.py` from the recipe to the saved model, in a process of its own whose time
and memory are told. Its files lie in a temporary folder; what they will take is asked of the disk first.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from codequarry.benchmarks.markdown import markdown_table
from codequarry.benchmarks.origin import origin, written_command
from codequarry.benchmarks.training.contender import Contender
from codequarry.benchmarks.training.sample import drawn, write_cut_recipe
from codequarry.benchmarks.training.step_by_step import take_turns
from codequarry.data.pair import Pair
from codequarry.data.pair_folders import read_pair_folders
from codequarry.modules.decoder_shape import DecoderShape
from codequarry.modules.told_in_a_sentence import run_program
from codequarry.modules.whole_files import write_json
from codequarry.recipes.read import read_recipe, recipe_path

Trained = Literal["all, float32", "all, bfloat16", "LoRA, bfloat16"]

RESULTS = Path("benchmarks/results/training-one-step.json")
_PROGRAM = "python -m codequarry.benchmarks.training.one_step"
_SETTINGS: dict[Trained, tuple[str, ...]] = {
    "all, float32": (),
    "all, bfloat16": ("weights=bfloat16",),
    "LoRA, bfloat16": ("weights=bfloat16", "lora.rank=16"),
}

_PEAKS = {
    "memory before it": "memory_before",
    "peak with it": "memory_step",
    "until the model is saved": "memory_end",
}


@dataclass(frozen=True)
class OneStep:
    """What one step took.

    trained: which weights, and how all of them are held; AdamW's two numbers a trained weight are held alike.
    parameters: outside the token table. settings: over the recipe's own. step_seconds: the step alone, by the
    clock; whole_seconds: from the start of the process to the saved model. Bytes of peak memory: until
    training began, until the step was made, and until the model was saved. disk: bytes of all files in the
    end.
    """

    recipe: str
    trained: Trained
    batch_size: int
    tokens: int
    parameters: int
    settings: list[str]
    grad_cache: bool
    step_cpu_seconds: float
    step_seconds: float
    whole_seconds: float
    loss: float
    memory_before: int
    memory_step: int
    memory_end: int
    disk: int


def one_step(
    recipe_name: str,
    trained: Trained,
    pairs: list[Pair],
    work: Path,
    *,
    batch_size: int = 8,
    tokenizer: Path | None = None,
    threads: int,
    settings: tuple[str, ...] = (),
) -> OneStep:
    """Train a recipe's shape for one step in the empty folder `work`.

    Arguments:
        recipe_name: a recipe with a [backbone.shape].
        trained: every weight, or LoRA's, and the numbers they are held in.
        pairs: of which `batch_size` are drawn.
        tokenizer: a folder; None trains one on the pairs.
        threads: of the CPU.
        settings: `field=value`, over the recipe's own.

    Raises ValueError for a recipe without a shape, a disk with too little room, and where training fails.
    """
    recipe = read_recipe(recipe_path(recipe_name), [*settings, f"batch_size={batch_size}"])
    if recipe.backbone.shape is None:
        raise ValueError(f"recipe {recipe_name} has no [backbone.shape] to make random weights of.")
    needed, free = _disk(recipe.backbone.shape, trained), shutil.disk_usage(work).free
    if needed > free:
        raise ValueError(
            f"weights and checkpoints take about {needed / 1e9:.0f} GB and {work.parent} has "
            f"{free / 1e9:.0f} GB free: pass --work with a folder on a larger disk."
        )
    sample = drawn(pairs, recipe, 1)
    file = write_cut_recipe(work, recipe, sample, work)
    own = (
        "save_steps=1",
        "logging_steps=1",
        f"backbone.name={recipe.backbone.name}",
        "backbone.weights=random",
        *(f"backbone.shape.{name}={value}" for name, value in asdict(recipe.backbone.shape).items()),
        *([f"backbone.tokenizer={tokenizer}"] if tokenizer is not None else []),
        f"precision={recipe.precision}",
        *_SETTINGS[trained],
    )
    began = time.perf_counter()
    (run,) = take_turns([Contender("one step", "ours", file, own)], work, 1, threads=threads, to_the_end=True)
    if run.failed is not None or run.setup is None:
        raise ValueError(f"{recipe_name} ({trained}) made no step: {run.failed}")
    (step,) = run.steps
    return OneStep(
        recipe=recipe_name,
        trained=trained,
        batch_size=batch_size,
        tokens=step.tokens,
        parameters=run.setup.parameters,
        settings=[*settings, *_SETTINGS[trained]],
        grad_cache=run.setup.grad_cache,
        step_cpu_seconds=round(step.cpu, 1),
        step_seconds=round(step.wall, 1),
        whole_seconds=round(time.perf_counter() - began, 1),
        loss=round(step.loss, 4),
        memory_before=run.setup.peak_memory,
        memory_step=step.peak_memory,
        memory_end=run.last_peak_memory,
        disk=sum(found.stat().st_size for found in work.rglob("*") if found.is_file()),
    )


def weights_of(shape: DecoderShape) -> int:
    """How many numbers a decoder of this shape has, within a percent: norms and biases are left out."""
    size = shape.hidden_size
    attention = 2 * size * size * (1 + shape.kv_heads / shape.heads)
    return int(shape.vocabulary * size + shape.layers * (attention + 3 * size * shape.intermediate_size))


def _disk(shape: DecoderShape, trained: Trained) -> int:
    """Bytes: the random weights in float32, a checkpoint with AdamW's numbers, and the model."""
    each = {"all, float32": 4 + 12 + 4, "all, bfloat16": 4 + 6 + 2, "LoRA, bfloat16": 4 + 2 + 2}
    return int(1.05 * weights_of(shape) * each[trained])


def step_table(record: Mapping[str, Any]) -> str:
    """The results as a Markdown table, for the terminal and the README."""
    head = ["model", "trained", "pairs", "tokens", "seconds a step", *_PEAKS]
    lines = [
        [
            f"`{row['recipe']}`",
            row["trained"],
            str(row["batch_size"]),
            f"{row['tokens']:,}",
            f"{row['step_seconds']:.0f}",
            *(f"{row[name] / 1e9:.1f} GB" for name in _PEAKS.values()),
        ]
        for row in record["rows"]
    ]
    return markdown_table(head, lines, words=("trained",))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The program's options."""
    parser.add_argument("recipe", choices=["0.5b", "1.5b"], help="whose shape")
    parser.add_argument(
        "--data", type=Path, required=True, help="a folder of pairs, folders inside it included"
    )
    parser.add_argument("--lora", action="store_true", help="train an adapter on frozen bfloat16 weights")
    parser.add_argument(
        "--weights",
        choices=["float32", "bfloat16"],
        help="that are trained, all of them (default: float32 for 0.5b, bfloat16 for 1.5b, whose AdamW would "
        "need 25 GB)",
    )
    parser.add_argument("--pairs", type=int, default=8, help="of the step (default: %(default)s)")
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer's folder (default: trained on the pairs)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="(default: all)")
    parser.add_argument("--work", type=Path, help="where files lie meanwhile (default: a temporary folder)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the results file (default: %(default)s)")


def run(arguments: argparse.Namespace) -> None:
    """Make the step, print the table and write the results: a row for each recipe and way to train it."""
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    trained = _trained(arguments.recipe, arguments.weights, arguments.lora)
    pairs = read_pair_folders(arguments.data, subfolders=True).pairs
    print(f"{arguments.recipe}, {trained}: writing random weights, one step, saving; minutes", flush=True)
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        found = one_step(
            arguments.recipe,
            trained,
            pairs,
            Path(work),
            batch_size=arguments.pairs,
            tokenizer=arguments.tokenizer and arguments.tokenizer.resolve(),
            threads=arguments.threads,
        )
    row = {
        **asdict(found),
        **origin(written_command(_PROGRAM)),
        "threads": arguments.threads,
        "load_before": round(before, 2),
        "load_after": round(os.getloadavg()[0], 2),
    }
    record: dict[str, Any] = {"measured": "one training step", "rows": []}
    if arguments.out.is_file():
        record = json.loads(arguments.out.read_text(encoding="utf-8"))
    key = found.recipe, found.trained
    others = [one for one in record["rows"] if (one["recipe"], one["trained"]) != key]
    ways = get_args(Trained)
    record["rows"] = sorted([*others, row], key=lambda one: (one["recipe"], ways.index(one["trained"])))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out, record)
    print(f"\n{step_table(record)}\n\nwrote {arguments.out}")


def _trained(recipe: str, weights: str | None, lora: bool) -> Trained:
    if lora:
        if weights == "float32":
            raise ValueError("--lora with --weights float32: the adapter's base is held in bfloat16 here.")
        return "LoRA, bfloat16"
    if (weights or ("float32" if recipe == "0.5b" else "bfloat16")) == "float32":
        return "all, float32"
    return "all, bfloat16"


if __name__ == "__main__":
    run_program(__doc__, add_arguments, run)
