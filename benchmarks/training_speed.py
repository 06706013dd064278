"""How fast training is, compared with the plain sentence-transformers trainer and with the hardware's peak.

    python -m codequarry.benchmarks.training_speed --data clean

Both trainers see the same batches and begin with the same weights, and take turns step by step. Batches are
drawn with each recipe's weights, which name sources of the mixture; on pairs of your own pass `--set
source_weights={}`. On a CPU `mini` and `nano` are measured, where a step takes seconds; on a GPU the true
shapes of `0.5b` and `1.5b` with random weights, one trainer after the other. What is measured already is
kept: the same command resumes, and `--models` measures a part.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from tqdm import tqdm

from codequarry.benchmarks.timed_trainer import Format, MatmulPeak, TimedTrainer, take_turns
from codequarry.common.environment import describe_machine, package_versions, written_command
from codequarry.common.errors import run_program
from codequarry.common.files import write_json, write_text
from codequarry.common.tables import markdown_table
from codequarry.data.catalog.registry import known_licences
from codequarry.data.mixture import batch_shares, part_of, select
from codequarry.data.pair import Pair
from codequarry.data.pair_files import fingerprint_folders, read_pair_folders, write_pairs
from codequarry.modules.backbone import resolve_backbone
from codequarry.modules.random_backbone import read_tokenizer, train_tokenizer, write_random_backbone
from codequarry.recipes.read import offer_settings, read_recipe, recipe_path
from codequarry.recipes.schema import Recipe

RESULTS = Path("benchmarks/results/training-throughput.json")
_PROGRAM = "python -m codequarry.benchmarks.training_speed"

Lengths = Literal["real", "longest"]
FORMATS: tuple[Format, ...] = get_args(Format)
LENGTHS: tuple[Lengths, ...] = get_args(Lengths)

STOCK, OURS, CACHED = "sentence-transformers", "ours", "ours, GradCache"
ON_CPU, ON_GPU = ("nano", "mini"), ("0.5b", "1.5b")

# How far two losses of a batch may be apart, as a share of their mean: rounding, grown over some steps.
AGREE: Mapping[Format, float] = {"fp32": 1e-3, "bf16": 3e-2}

# Training runs of papers, by our recipe of the same size; hours of all GPUs together, by the clock.
_JINA = {"gpus": 4, "gpu": "A100 80 GB", "source": "https://arxiv.org/abs/2508.21290"}
PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    "0.5b": {"recipe": "0.5b", "model": "jina-code-embeddings-0.5b", "hours": 8.3, **_JINA},
    "1.5b": {"recipe": "1.5b", "model": "jina-code-embeddings-1.5b", "hours": 12.0, **_JINA},
}

_BUSY = 0.5  # load average beyond the threads measured with, above which figures are not to be trusted
_SPARE = 4  # batches of pairs per batch drawn: pairs that share a text cannot be in one batch
_TOKENIZER_PAIRS = 20_000  # that a tokenizer is trained on
_CHARACTERS = 16  # per token of the longest texts, so that none is shorter than the limit

# What decides the work of a step. The rest of a recipe is left at its plain values: one InfoNCE, all weights
# trained, nothing validated.
_FIELDS = (
    "name", "pooling", "max_length", "matryoshka_dims", "batch_size", "learning_rate", "temperature",
    "mini_batch_tokens", "warmup_ratio", "scheduler", "weight_decay", "max_grad_norm", "seed",
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """What is measured at a time: a recipe in a number format, its texts as they are or as long as can be."""

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

    warm_up: steps before the measured ones, in which memory still grows: a page that is new costs as much as
    many that are there. threads: of a CPU. tokenizer: a folder, for random weights; None trains one on the
    pairs. settings: `field=value`, over each recipe's own.
    """

    steps: int = 10
    warm_up: int = 6
    threads: int = 1
    tokenizer: Path | None = None
    settings: Sequence[str] = ()


def parts_of(models: Sequence[str]) -> list[Part]:
    """The parts that models are measured in: both formats on a CPU, both lengths on a GPU."""
    on_gpu = [Part(model, "bf16", lengths) for model in models if model in ON_GPU for lengths in LENGTHS]
    return [Part(model, form) for model in models if model not in ON_GPU for form in FORMATS] + on_gpu


def draw(
    pairs: Sequence[Pair], recipe: Recipe, steps: int, lengths: Lengths = "real"
) -> tuple[list[Pair], dict[str, int]]:
    """Pairs for some steps, and how many of the steps are of each source and task, as the mixture draws them.

    Arguments:
        pairs: all there are; mined negatives are left out, so that a pair is two texts.
        recipe: batch size, `mixture_exponent`, `source_weights`, licences and seed are its.
        lengths: `real`, or `longest`: every text repeated until it is longer than `max_length` tokens.

    Raises ValueError where no source and task fills a batch, or weights leave none.
    """
    allowed, _ = select(pairs, licences=known_licences(), allowed=recipe.licences)
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in allowed:
        groups[part_of(pair)].append(pair)
    sizes = {part: len(group) for part, group in sorted(groups.items()) if len(group) >= recipe.batch_size}
    if not sizes:
        raise ValueError(
            f"no source and task among {len(allowed):,} pairs fills one batch of {recipe.batch_size}: pass "
            "more of them with --data."
        )
    shares = batch_shares(sizes, recipe.mixture_exponent, recipe.source_weights)
    chance = random.Random(recipe.seed)
    parts = Counter(chance.choices(list(shares), weights=list(shares.values()), k=steps))

    def repeated(text: str) -> str:
        characters = _CHARACTERS * recipe.max_length
        return text if lengths == "real" else f"{text}\n" * (characters // (len(text) + 1) + 1)

    found = []
    for part, count in sorted(parts.items()):
        wanted = min(sizes[part], _SPARE * count * recipe.batch_size)
        found += [
            replace(pair, query=repeated(pair.query), document=repeated(pair.document), negatives=())
            for pair in chance.sample(groups[part], wanted)
        ]
    return found, dict(parts)


def write_backbone(folder: Path, recipe: Recipe, pairs: Sequence[Pair], tokenizer: Path | None) -> Path:
    """A folder with the weights that the recipe begins with: its own, or random ones written to `folder`.

    Arguments: `tokenizer`, the folder of one that fits random weights; None trains one on some of `pairs`.
    """
    shape = recipe.backbone.shape
    if shape is None:
        return resolve_backbone(recipe.backbone.name, revision=recipe.backbone.revision)
    some = random.Random(recipe.seed).sample(pairs, min(len(pairs), _TOKENIZER_PAIRS))
    texts = (text for pair in some for text in (pair.query, pair.document))
    known = read_tokenizer(str(tokenizer)) if tokenizer else train_tokenizer(texts, shape.vocabulary)
    return write_random_backbone(folder, shape, known, seed=recipe.seed, as_bag_of_words=True)


def write_cut_recipe(
    folder: Path, recipe: Recipe, pairs: Sequence[Pair], parts: Mapping[str, int], backbone: Path
) -> Path:
    """Write what `draw` gave and a recipe that trains on it, from `backbone`; returns the recipe's file."""
    data = folder / "pairs.jsonl"
    write_pairs(data, pairs)
    chosen = {name: value for name, value in asdict(recipe).items() if name in _FIELDS}
    chosen |= {"data": str(data), "max_steps": sum(parts.values()), "mixture_exponent": 0.0}
    lines = [f"{name} = {json.dumps(value)}" for name, value in chosen.items()]
    lines += ["[backbone]", f"name = {json.dumps(str(backbone))}", "[source_weights]"]
    lines += [f"{json.dumps(part)} = {float(count)}" for part, count in sorted(parts.items())]
    file = folder / f"{recipe.name}.toml"
    write_text(file, "\n".join(lines) + "\n")
    return file


def measure(part: Part, pairs: Sequence[Pair], plan: Plan, work: Path, device: str) -> dict[str, Any]:
    """Measure one part in the folder `work`, which is made if need be; returns its record.

    On a GPU the trainers run one after the other, ours alone on the longest texts, and one that does not fit
    has a row that says so. Raises ValueError where ours fails, or the trainers saw different batches.
    """
    work.mkdir(parents=True, exist_ok=True)
    recipe = read_recipe(recipe_path(part.recipe), plan.settings)
    turns = plan.warm_up + plan.steps
    # One step more than are made: in the last one too the next batch is collated.
    sample, sources = draw(pairs, recipe, turns + 1, part.lengths)
    backbone = write_backbone(work / "backbone", recipe, pairs, plan.tokenizer)
    file = write_cut_recipe(work, recipe, sample, sources, backbone)
    precision = f"precision={part.format}"
    ours = TimedTrainer(OURS, "ours", file, (precision, "grad_cache=auto"))
    trainers = [ours]
    if part.lengths == "real":
        cached = TimedTrainer(CACHED, "ours", file, (precision, "grad_cache=on"))
        trainers = [TimedTrainer(STOCK, "stock", file, (precision,)), ours, cached]
    peak = MatmulPeak(device, part.format, plan.threads)
    before = os.getloadavg()[0]
    together = device == "cpu"
    total = turns if together else turns * len(trainers)
    steps = take_turns(trainers, work, turns, threads=plan.threads, together=together)
    for _ in tqdm(steps, total=total, desc=part.name, unit="turn"):
        peak.measure()
    _check_batches(trainers)
    record: dict[str, Any] = {
        **asdict(part),
        "max_length": recipe.max_length,
        "batch_size": recipe.batch_size,
        "device": device,
        "clock": peak.clock,
        "sources": sources,
        "matmul_peak_gflops": round(peak.best / 1e9, 1),
        "load_before": round(before, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "rows": [_row(one, trainers[0], part, plan.warm_up, recipe.batch_size, peak) for one in trainers],
    }
    if part.recipe in PUBLISHED:
        seconds = statistics.mean(step.wall for step in ours.steps[plan.warm_up :])
        record["run"] = {
            "steps": recipe.max_steps,
            "projected_hours": round(recipe.max_steps * seconds / 3600, 2),
            "published": dict(PUBLISHED[part.recipe]),
        }
    return record


def _row(
    one: TimedTrainer, stock: TimedTrainer, part: Part, warm_up: int, batch_size: int, peak: MatmulPeak
) -> dict[str, Any]:
    if one.failed is not None:
        if one.trainer == "ours":
            raise ValueError(f"{one.name} did not train {part.name}: {one.failed}")
        return {"trainer": one.name, "failed": one.failed}
    assert one.setup is not None
    steps = one.steps[warm_up:]
    seconds = [getattr(step, peak.clock) for step in steps]
    row = {
        "trainer": one.name,
        **asdict(one.setup),
        "cpu_seconds": _spread([step.cpu for step in steps]),
        "wall_seconds": _spread([step.wall for step in steps]),
        "pairs_per_second": round(batch_size / statistics.median(seconds), 2),
        "tokens": _spread([step.tokens for step in steps]),
        "of_matmul_peak": _spread(
            [step.flops / time / peak.best for step, time in zip(steps, seconds, strict=True)], digits=4
        ),
        "peak_memory": max(step.peak_memory for step in one.steps),
        "losses": [round(step.loss, 5) for step in one.steps],
    }
    if one.trainer == "ours" and stock.trainer == "stock" and stock.failed is None:
        both = list(zip(one.steps, stock.steps, strict=True))
        apart = max(abs(mine.loss - theirs.loss) for mine, theirs in both)
        apart /= statistics.mean(step.loss for step in stock.steps)
        times = [getattr(theirs, peak.clock) / getattr(mine, peak.clock) for mine, theirs in both[warm_up:]]
        row["times_stock"] = _spread(times)
        row["losses_apart"] = float(f"{apart:.1e}")
        row["losses_agree"] = apart <= AGREE[part.format]
    return row


def _check_batches(trainers: Sequence[TimedTrainer]) -> None:
    """Raise ValueError where two trainers counted different tokens in one step."""
    whole = [one for one in trainers if one.failed is None]
    for number, steps in enumerate(zip(*(one.steps for one in whole), strict=True), 1):
        if len({step.tokens for step in steps}) > 1:
            counts = ", ".join(f"{one.name} {step.tokens:,}" for one, step in zip(whole, steps, strict=True))
            raise ValueError(f"in step {number} the trainers did not see the same batch: tokens {counts}.")


def _spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), digits),
        "low": round(min(values), digits),
        "high": round(max(values), digits),
    }


def speed_table(record: Mapping[str, Any]) -> str:
    """The results as a Markdown table, for the terminal and the README."""
    lines = []
    for part in record["parts"].values():
        longest = ", all texts that long" if part["lengths"] == "longest" else ""
        for row in part["rows"]:
            cells = [
                f"`{part['recipe']}` {part['format']}, {part['max_length']} tokens{longest}",
                row["trainer"],
            ]
            if "failed" in row:
                lines.append([*cells, f"failed: {row['failed']}", *[""] * 4])
                continue
            cells += [
                f"{row[part['clock'] + '_seconds']['median']:.2f}",
                f"{row['pairs_per_second']:.1f}",
                f"{row['tokens']['median']:,.0f}",
                f"{row['of_matmul_peak']['median']:.0%}",
            ]
            times = row.get("times_stock")
            cells.append(
                f"**{times['median']:.1f}** ({times['low']:.1f} to {times['high']:.1f})" if times else "1"
            )
            lines.append(cells)
    head = "model|trainer|seconds a step|pairs/s|tokens a step|of the matmul peak|times stock"
    return markdown_table(head.split("|"), lines, words=("trainer",))


def run_table(record: Mapping[str, Any]) -> str:
    """Projected whole runs and the published ones as a Markdown table; what was not measured says so."""
    lines = []
    for name in ON_GPU:
        published = PUBLISHED[name]
        theirs = [f"{published['hours']:g}", f"{published['gpus']} {published['gpu']}"]
        parts = [part for part in record["parts"].values() if part["recipe"] == name]
        for part in parts:
            ours = next(row for row in part["rows"] if row["trainer"] == OURS)
            texts = "all at the limit" if part["lengths"] == "longest" else "as they are"
            hours = f"{part['run']['projected_hours']:.2f} for {part['run']['steps']:,} steps"
            lines.append([f"`{name}`", texts, hours, f"{ours['peak_memory'] / 1e9:.0f} GB", *theirs])
        if not parts:
            lines.append([f"`{name}`", "", "not measured", "", *theirs])
    head = ["model", "texts", "projected hours", "peak memory", "the paper's hours", "on"]
    return markdown_table(head, lines, words=("texts", "on"))


def warnings_of(part: Mapping[str, Any], name: str, threads: int) -> list[str]:
    """Sentences on what makes a part's figures doubtful."""
    found = []
    if max(part["load_before"], part["load_after"]) > threads + _BUSY and part["device"] == "cpu":
        found.append(
            f"{name}: the machine was busy, its load average {part['load_before']} before and "
            f"{part['load_after']} after: measure again when it is quiet, with --fresh."
        )
    return found + [
        f"{name}: losses of {row['trainer']} and {STOCK} are up to {row['losses_apart']:.1e} apart, more "
        f"than rounding: they do not train the same."
        for row in part["rows"]
        if not row.get("losses_agree", True)
    ]


def _models(named: str | None, device: str) -> list[str]:
    can, other = (ON_GPU, ON_CPU) if device == "cuda" else (ON_CPU, ON_GPU)
    models = [name.strip() for name in named.split(",")] if named else list(can)
    for name in models:
        if name in other and device == "cuda":
            raise ValueError(f"{name} is measured on a CPU: hide the GPU for it.")
        if name in other:
            raise ValueError(
                f"{name} is measured on a GPU, and there is none here: pass some of {', '.join(can)}."
            )
        if name not in can:
            raise ValueError(f"{name!r} is not measured: pass some of {', '.join((*ON_CPU, *ON_GPU))}.")
    return models


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The program's options."""
    add = parser.add_argument
    add("--data", type=Path, required=True, help="a folder of pairs, folders inside it included")
    add("--models", help=f"some of {','.join((*ON_CPU, *ON_GPU))} (default: those for this device)")
    add("--steps", type=int, default=Plan.steps, help="steps of each trainer that count")
    add("--warm-up", type=int, default=Plan.warm_up, help="steps before them")
    add("--threads", type=int, default=Plan.threads, help="of the CPU (default: %(default)s)")
    add("--tokenizer", type=Path, help="folder of one, for random weights (default: trained)")
    offer_settings(parser)
    add("--work", type=Path, help="where weights and runs lie meanwhile (default: temporary)")
    add("--fresh", action="store_true", help="measure again what the results hold")
    add("--out", type=Path, default=RESULTS, help="the results file (default: %(default)s)")


def run(arguments: argparse.Namespace) -> None:
    """Measure part by part, writing the results after each; print tables and warnings."""
    from transformers.utils.logging import disable_progress_bar

    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = str(arguments.threads)  # of the processes that are started; libraries read it once
    disable_progress_bar()  # of every file that transformers writes
    torch.set_num_threads(arguments.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    plan = Plan(
        arguments.steps, arguments.warm_up, arguments.threads, arguments.tokenizer, arguments.settings
    )
    parts, everything = parts_of(_models(arguments.models, device)), parts_of((*ON_CPU, *ON_GPU))
    out = arguments.out
    done = json.loads(out.read_text(encoding="utf-8"))["parts"] if out.is_file() else {}
    about = {
        "plan": asdict(plan) | {"tokenizer": plan.tokenizer.name if plan.tokenizer else None},
        "data_sha256": fingerprint_folders(arguments.data, subfolders=True),
        "hardware": describe_machine() | {"instructions": torch.backends.cpu.get_cpu_capability()},
        "versions": package_versions(),
    }
    pairs: list[Pair] = []
    record = {"measured": "training steps", "parts": done, "not_measured": {}}
    for part in parts:
        before = done.get(part.name)
        if before is not None and not arguments.fresh and {name: before[name] for name in about} == about:
            print(f"{part.name}: measured before")
            continue
        pairs = pairs or read_pair_folders(arguments.data, subfolders=True).pairs
        with tempfile.TemporaryDirectory(dir=arguments.work) as work:
            measured = measure(part, pairs, plan, Path(work), device)
        done[part.name] = about | {"command": written_command(_PROGRAM)} | measured
        record["parts"] = {one.name: done[one.name] for one in everything if one.name in done}
        record["not_measured"] = {
            one.name: "needs a GPU, and there was none" if one.recipe in ON_GPU else "not asked for yet"
            for one in everything
            if one.name not in done
        }
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, record)
        for sentence in warnings_of(measured, part.name, plan.threads):
            print(f"warning: {sentence}", file=sys.stderr)
    print(f"\n{speed_table(record)}\n\n{run_table(record)}\n\nwrote {out}")


if __name__ == "__main__":
    run_program(__doc__, add_arguments, run)
