"""How fast training is: beside the plain sentence-transformers trainer, and of what the hardware can do.

    python -m codequarry.benchmarks.training_speed --data clean

Both trainers see the same batches and begin with the same weights, and take turns step by step. Batches are
drawn with each recipe's weights, which name sources of the mixture; on pairs of your own pass `--set
source_weights={}`. On a CPU `mini` and `nano` are measured, where a step takes seconds; on a GPU the true
shapes of `0.5b` and `1.5b` with random weights, one trainer after the other. What is measured already is
kept: the same command goes on where it was stopped, and `--models` measures a part.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from tqdm import tqdm

from codequarry.benchmarks.timed_trainer import (
    Format,
    Lengths,
    TimedTrainer,
)
from codequarry.benchmarks.training_sample import drawn, write_backbone, write_cut_recipe
from codequarry.benchmarks.training_tables import (
    CACHED,
    ON_CPU,
    ON_GPU,
    OURS,
    PUBLISHED,
    STOCK,
    run_table,
    speed_table,
    warnings_of,
)
from codequarry.benchmarks.training_turns import Roof, Trained, clock_of, step_flops, take_turns
from codequarry.common.environment import written_command
from codequarry.common.errors import run_program
from codequarry.common.files import write_json
from codequarry.data.pair import Pair
from codequarry.data.pair_files import fingerprint_folders, read_pair_folders
from codequarry.recipes.read import offer_settings, read_recipe, recipe_path

RESULTS = Path("benchmarks/results/training-throughput.json")

# How far two losses of a batch may be apart, as a share of their mean: rounding, grown over some steps.
AGREE: Mapping[Format, float] = {"fp32": 1e-3, "bf16": 3e-2}

_PROGRAM = "python -m codequarry.benchmarks.training_speed"


@dataclass(frozen=True)
class Part:
    """What one sitting measures: a recipe in a number format, on texts as they are or as long as can be."""

    recipe: str
    format: Format
    lengths: Lengths = "real"

    @property
    def name(self) -> str:
        """The part's key in the results, e.g. `nano, bf16`."""
        return f"{self.recipe}, {self.format}" + (", longest texts" if self.lengths == "longest" else "")


@dataclass(frozen=True)
class Plan:
    """How a part is measured.

    steps, warm_up: measured steps of each trainer, and those before them, in which memory still grows: a page
    that is new costs as much as many that are there. threads: of a CPU. tokenizer: a folder, for random
    weights; None trains one on the pairs. settings: `field=value`, over each recipe's own.
    """

    steps: int = 10
    warm_up: int = 6
    threads: int = 1
    tokenizer: Path | None = None
    settings: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """As plain data; of the tokenizer's folder its last name."""
        return asdict(self) | {
            "tokenizer": self.tokenizer.name if self.tokenizer else None,
            "settings": list(self.settings),
        }


def parts_of(models: Sequence[str]) -> list[Part]:
    """The parts that models are measured in: both formats on a CPU, both lengths on a GPU."""
    found = []
    for model in models:
        if model in ON_GPU:
            found += [Part(model, "bf16", lengths) for lengths in get_args(Lengths)]
        else:
            found += [Part(model, number_format) for number_format in get_args(Format)]
    return found


def measure(part: Part, pairs: Sequence[Pair], plan: Plan, work: Path, device: str) -> dict[str, Any]:
    """Measure one part in the folder `work`, which is made if need be; returns its record.

    On a GPU the trainers run one after the other, ours alone on the longest texts, and one that does not
    fit is told so. Raises ValueError where ours fails, or the two saw different batches.
    """
    work.mkdir(parents=True, exist_ok=True)
    recipe = read_recipe(recipe_path(part.recipe), plan.settings)
    turns = plan.warm_up + plan.steps
    # One step more, that nobody makes: in the last one too the next batch is collated.
    sample = drawn(pairs, recipe, turns + 1, part.lengths)
    backbone = write_backbone(
        work / "backbone", recipe, pairs, str(plan.tokenizer) if plan.tokenizer else None
    )
    file = write_cut_recipe(work, recipe, sample, backbone)
    contenders = _contenders(part, file)
    roof = Roof(device, part.format, plan.threads)
    before = os.getloadavg()[0]
    together = device == "cpu"
    with tqdm(total=turns if together else turns * len(contenders), desc=part.name, unit="turn") as bar:

        def between(_: int) -> None:
            roof.look()
            bar.update()

        trained = take_turns(
            contenders, work, turns, threads=plan.threads, together=together, between=between
        )
    rows = [_row(one, part, plan, recipe.batch_size, roof, device) for one in trained]
    _check(trained)
    stock, ours = (
        next((one for one in trained if one.contender.name == name), None) for name in (STOCK, OURS)
    )
    assert ours is not None
    for row, one in zip(rows, trained, strict=True):
        row |= _beside(one, stock, plan.warm_up, part.format, clock_of(device, plan.threads))
    record: dict[str, Any] = {
        "recipe": part.recipe,
        "format": part.format,
        "lengths": part.lengths,
        "max_length": recipe.max_length,
        "batch_size": recipe.batch_size,
        "device": device,
        "clock": clock_of(device, plan.threads),
        "sources": sample.parts,
        "matmul_peak_gflops": round(roof.best / 1e9, 1),
        "load_before": round(before, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "rows": rows,
    }
    if part.recipe in PUBLISHED:
        seconds = statistics.mean(step.wall for step in ours.steps[plan.warm_up :])
        record["run"] = {
            "steps": recipe.max_steps,
            "projected_hours": round(recipe.max_steps * seconds / 3600, 2),
            "published": asdict(PUBLISHED[part.recipe]),
        }
    return record


def _contenders(part: Part, recipe: Path) -> list[TimedTrainer]:
    precision = f"precision={part.format}"
    ours = TimedTrainer(OURS, "ours", recipe, (precision, "grad_cache=auto"))
    if part.lengths == "longest":
        return [ours]
    stock = TimedTrainer(STOCK, "stock", recipe, (precision,))
    return [stock, ours, TimedTrainer(CACHED, "ours", recipe, (precision, "grad_cache=on"))]


def _row(one: Trained, part: Part, plan: Plan, batch_size: int, roof: Roof, device: str) -> dict[str, Any]:
    if one.failed is not None:
        if one.contender.trainer == "ours":
            raise ValueError(f"{one.contender.name} did not train {part.name}: {one.failed}")
        return {"trainer": one.contender.name, "failed": one.failed}
    assert one.setup is not None
    steps = one.steps[plan.warm_up :]
    clock = clock_of(device, plan.threads)
    of_peak = [step_flops(one.setup, step) / getattr(step, clock) / roof.best for step in steps]
    return {
        "trainer": one.contender.name,
        "grad_cache": one.setup.grad_cache,
        "attention": one.setup.attention,
        "optimizer": one.setup.optimizer,
        "parameters": one.setup.parameters,
        "cpu_seconds": _spread([step.cpu for step in steps]),
        "wall_seconds": _spread([step.wall for step in steps]),
        "pairs_per_second": round(batch_size / statistics.median(getattr(step, clock) for step in steps), 2),
        "tokens": _spread([step.tokens for step in steps]),
        "of_matmul_peak": _spread(of_peak, digits=4),
        "peak_memory": max(step.peak_memory for step in one.steps),
        "losses": [round(step.loss, 5) for step in one.steps],
    }


def _beside(
    one: Trained, stock: Trained | None, warm_up: int, number_format: Format, clock: str
) -> dict[str, Any]:
    """How much faster than the stock trainer, step by step, and whether the losses are the same."""
    if stock is None or stock is one or stock.failed is not None:
        return {}
    both = list(zip(one.steps, stock.steps, strict=True))
    apart = max(abs(mine.loss - theirs.loss) for mine, theirs in both)
    apart /= statistics.mean(step.loss for step in stock.steps)
    times = [getattr(theirs, clock) / getattr(mine, clock) for mine, theirs in both[warm_up:]]
    return {
        "times_stock": _spread(times),
        "losses_apart": float(f"{apart:.1e}"),
        "losses_agree": apart <= AGREE[number_format],
    }


def _check(trained: Sequence[Trained]) -> None:
    """Raise ValueError where two trainers counted different tokens in one step."""
    whole = [one for one in trained if one.failed is None]
    for number, tokens in enumerate(
        zip(*([step.tokens for step in one.steps] for one in whole), strict=True), 1
    ):
        if len(set(tokens)) > 1:
            counts = ", ".join(f"{one.contender.name} {n:,}" for one, n in zip(whole, tokens, strict=True))
            raise ValueError(f"in step {number} the trainers did not see the same batch: tokens {counts}.")


def _spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), digits),
        "low": round(min(values), digits),
        "high": round(max(values), digits),
    }


def _models(named: str | None, device: str) -> tuple[str, ...]:
    can, other = (ON_GPU, ON_CPU) if device == "cuda" else (ON_CPU, ON_GPU)
    models = tuple(name.strip() for name in named.split(",")) if named else can
    for name in models:
        if name in other:
            raise ValueError(
                f"{name} is measured on {'a GPU, and there is none here' if device == 'cpu' else 'a CPU'}: "
                + (f"pass some of {', '.join(can)}." if device == "cpu" else "hide the GPU for it.")
            )
        if name not in can:
            raise ValueError(f"{name!r} is not measured: pass some of {', '.join((*ON_CPU, *ON_GPU))}.")
    return models


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The program's options."""
    parser.add_argument(
        "--data", type=Path, required=True, help="a folder of pairs, folders inside it included"
    )
    parser.add_argument(
        "--models", help=f"some of {','.join((*ON_CPU, *ON_GPU))} (default: those for this device)"
    )
    parser.add_argument("--steps", type=int, default=Plan.steps, help="steps of each trainer that count")
    parser.add_argument("--warm-up", type=int, default=Plan.warm_up, help="steps before them")
    parser.add_argument("--threads", type=int, default=Plan.threads, help="of the CPU (default: %(default)s)")
    parser.add_argument("--tokenizer", type=Path, help="folder of one, for random weights (default: trained)")
    offer_settings(parser)
    parser.add_argument("--work", type=Path, help="where weights and runs lie meanwhile (default: temporary)")
    parser.add_argument("--fresh", action="store_true", help="measure again what the results hold")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the results file (default: %(default)s)")


def run(arguments: argparse.Namespace) -> None:
    """Measure part by part, writing the results after each; print tables and warnings."""
    threads = str(arguments.threads)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = threads  # of this process and those it starts; libraries read it once
    from transformers.utils.logging import disable_progress_bar

    from codequarry.common.environment import describe_machine, package_versions

    disable_progress_bar()  # of every file that transformers writes
    torch.set_num_threads(arguments.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    plan = Plan(
        arguments.steps, arguments.warm_up, arguments.threads, arguments.tokenizer, tuple(arguments.settings)
    )
    parts = parts_of(_models(arguments.models, device))
    record = read_results(arguments.out)
    about = {
        "plan": plan.record(),
        "data_sha256": fingerprint_folders(arguments.data, subfolders=True),
        "hardware": describe_machine() | {"instructions": torch.backends.cpu.get_cpu_capability()},
        "versions": package_versions(),
    }
    pairs: list[Pair] = []
    for part in parts:
        before = record["parts"].get(part.name)
        if before is not None and not arguments.fresh and {name: before[name] for name in about} == about:
            print(f"{part.name}: measured before")
            continue
        pairs = pairs or read_pair_folders(arguments.data, subfolders=True).pairs
        with tempfile.TemporaryDirectory(dir=arguments.work) as work:
            measured = measure(part, pairs, plan, Path(work), device)
        record["parts"][part.name] = about | {"command": written_command(_PROGRAM)} | measured
        _write(arguments.out, record)
        for sentence in warnings_of(measured, part.name, plan.threads):
            print(f"warning: {sentence}", file=sys.stderr)
    print(f"\n{speed_table(record)}\n\n{run_table(record)}\n\nwrote {arguments.out}")


def read_results(path: Path) -> dict[str, Any]:
    """The results measured so far; empty ones where there are none."""
    if not path.is_file():
        return {"measured": "training steps", "parts": {}, "not_measured": {}}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _write(path: Path, record: dict[str, Any]) -> None:
    everything = parts_of((*ON_CPU, *ON_GPU))
    record["parts"] = {
        part.name: record["parts"][part.name] for part in everything if part.name in record["parts"]
    }
    record["not_measured"] = {
        part.name: "needs a GPU, and there was none" if part.recipe in ON_GPU else "not asked for yet"
        for part in everything
        if part.name not in record["parts"]
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record)


if __name__ == "__main__":
    run_program(__doc__, add_arguments, run)
