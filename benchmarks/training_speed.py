"""How much faster `train` trains a recipe on a CPU than the stock sentence-transformers trainer.

    python -m codequarry.benchmarks.training_speed --data clean --models nano

The trainers start with the same weights, see the same batches, and take turns step by step, each in its own
process. Batches are drawn with each recipe's weights, which name sources of the mixture; for your own pairs
pass `--set source_weights={}`. What the results file holds of other recipes is kept.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from accelerate import PartialState
from sentence_transformers import SentenceTransformerTrainer
from sentence_transformers.sentence_transformer import losses
from tqdm import tqdm
from transformers import TrainerCallback, set_seed
from transformers.utils.logging import disable_progress_bar

from codequarry.common.environment import origin, peak_memory, written_command
from codequarry.common.errors import UserError, run_program
from codequarry.common.files import write_json
from codequarry.common.tables import markdown_table
from codequarry.data.mixture import batch_shares, column_prompts, part_of
from codequarry.data.pair import Pair
from codequarry.data.pair_files import write_pairs
from codequarry.modules.attention import Attention
from codequarry.modules.backbone import resolve_backbone
from codequarry.modules.random_backbone import train_tokenizer, write_random_backbone
from codequarry.modules.tasks import SIDES
from codequarry.recipes.read import offer_settings, read_recipe, recipe_path
from codequarry.recipes.schema import Recipe
from codequarry.train import train
from codequarry.training import trainer
from codequarry.training.batch_sampler import NoTextTwice, OneTaskPerBatch
from codequarry.training.build import initial_model, prepare_model, training_arguments
from codequarry.training.mixture import load_mixture, read_selected

RESULTS = Path("benchmarks/results/training-throughput.json")
Record = dict[str, Any]
Format = Literal["fp32", "bf16"]
STOCK, OURS, CACHED = "sentence-transformers", "ours", "ours, GradCache"
TRAINERS = {STOCK: (), OURS: ("grad_cache=auto",), CACHED: ("grad_cache=on",)}  # settings by name
# How far two losses of a batch may be apart, as a share of their mean: rounding, grown over some steps.
AGREE: Mapping[Format, float] = {"fp32": 1e-3, "bf16": 3e-2}

_SPARE = 4  # batches of pairs per batch drawn: pairs that share a text cannot be in one batch
_SIZES = (1024, 2048)  # rows of the square matrices of `matmul_speed`

# What a recipe adds to a step of one InfoNCE on all weights, switched off.
_CUT = (
    "objective={}", "lora=none", "dropout=0.0", "average_with_base=0.0", "validation=none",
    "hard_negatives=none", "max_pairs_per_source=none", "subfolders=false", "mixture_exponent=0.0",
)  # fmt: skip


class Step(NamedTuple):
    """One optimiser step."""

    cpu: float  # seconds of the processor
    wall: float  # seconds
    loss: float
    tokens: int  # without padding
    flops: float  # see `step_flops`
    peak_memory: int  # bytes, since the process began


@dataclass
class TimedTrainer:
    """A trainer of a recipe, and what it did."""

    name: str  # `STOCK` is `stock_trainer`, any other is `train`
    recipe: Path
    settings: Sequence[str] = ()  # `field=value`, over the recipe's own
    setup: Mapping[str, Any] = field(default_factory=dict)  # as results have it; empty before it runs
    steps: list[Step] = field(default_factory=list)
    failed: str | None = None  # why it could not train; None where it could


def take_turns(trainers: Sequence[TimedTrainer], work: Path, turns: int, threads: int) -> Iterator[None]:
    """Let each trainer make `turns` steps, one trainer at a time; what it did is in it afterwards.

    Yields before each turn. A trainer that fails does not stop the others. `work` gets a folder of each.
    """
    running = [_steps(one, work / f"trainer-{number}", threads) for number, one in enumerate(trainers)]
    try:
        for steps in running:
            next(steps, None)
        for turn in range(turns):
            yield
            first = turn % len(running)  # so that none always comes after the same one
            for steps in (*running[first:], *running[:first]):
                next(steps, None)
    finally:
        for steps in running:
            steps.close()


def _steps(timed: TimedTrainer, folder: Path, threads: int) -> Generator[None]:
    """Set a trainer up in a process, then make one step at a time, until it fails or this is closed."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=_train, args=(theirs, timed, folder, threads), daemon=True)
    process.start()
    theirs.close()  # else `recv` would wait for a process that has ended
    try:
        while not isinstance(message := pipe.recv(), str):
            if isinstance(message, Step):
                timed.steps.append(message)
            else:
                timed.setup = message
            yield
            pipe.send(None)
        timed.failed = message
    except (EOFError, BrokenPipeError):
        process.join()
        timed.failed = f"its process ended with exit code {process.exitcode}"
    finally:
        pipe.close()  # which ends a process that waits for its next step
        process.join(30)
        process.kill()
        process.join()


def _train(pipe: Any, timed: TimedTrainer, folder: Path, threads: int) -> None:
    """Train in this process, which is changed by it: send the setup, each `Step`, or why it failed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    os.environ["CODEQUARRY_CACHE"] = str(folder / "cache")  # so that each trainer tokenises its texts itself
    torch.set_num_threads(threads)
    try:
        if timed.name == STOCK:
            recipe = read_recipe(timed.recipe, timed.settings)
            stock_trainer(recipe, folder / "run", _reporting(SentenceTransformerTrainer, pipe)).train()
        else:
            # What is measured is `train` as it is, with a trainer class that stops after each step.
            trainer.PairTrainer = _reporting(trainer.PairTrainer, pipe)  # type: ignore[misc]
            train(timed.recipe, folder / "run", settings=timed.settings, logs=["none"])
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}".strip().splitlines()[0])


def _reporting(trainer_class: Any, pipe: Any) -> Any:
    """A subclass of a trainer that sends what each step took and waits for a message before the next."""

    class Reporting(trainer_class, TrainerCallback):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.add_callback(self)

        def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            self.lengths = torch.cat(_lengths(inputs)).long()
            loss = super().compute_loss(model, inputs, *args, **kwargs)
            self.seen_loss = loss.detach()
            return loss

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            model = self.accelerator.unwrap_model(self.model)
            tables = {part.weight for part in model.modules() if isinstance(part, torch.nn.Embedding)}
            self.parameters = sum(weight.numel() for weight in model.parameters() if weight not in tables)
            self.config = model[0].model.config
            setup = {
                "grad_cache": bool(getattr(self.loss, "uses_gradient_cache", True)),
                "attention": str(self.config._attn_implementation),
                "optimizer": str(self.args.optim.value),
                "parameters": self.parameters,  # outside embedding tables
            }
            self.report(setup)

        def on_step_end(self, *_: Any, **__: Any) -> None:
            cpu, wall = time.process_time() - self.cpu, time.perf_counter() - self.wall
            flops = step_flops(self.parameters, self.config, self.lengths)
            tokens, memory = int(self.lengths.sum()), peak_memory() or 0
            self.report(Step(cpu, wall, float(self.seen_loss), tokens, flops, memory))

        def report(self, message: Any) -> None:
            pipe.send(message)
            pipe.recv()
            self.cpu, self.wall = time.process_time(), time.perf_counter()

    return Reporting


def _lengths(inputs: Mapping[str, Any]) -> list[torch.Tensor]:
    """Tokens of each text, one tensor per column, of packed or padded features."""
    return [
        value.diff() if name.endswith("_cu_seq_lens_q") else value.sum(1)
        for name, value in inputs.items()
        if name.endswith(("_cu_seq_lens_q", "_attention_mask"))
    ]


def step_flops(parameters: int, config: Any, lengths: torch.Tensor) -> float:
    """Floating-point operations that the forward and backward pass of a step need.

        6 · (parameters outside embedding tables) · tokens  +  12 · layers · width · Σ_texts tokens²

    The second term is halved where attention is causal. Work that is done twice (GradCache, recomputation) or
    for nothing (padding) is not counted. Arguments: `lengths`, tokens of each text, `(texts,)`.
    """
    causal = Attention.of(config.to_dict()).causal
    attention: float = (6.0 if causal else 12.0) * config.num_hidden_layers * config.hidden_size
    return 6.0 * parameters * int(lengths.sum()) + attention * int((lengths**2).sum())


def stock_trainer(recipe: Recipe, out: Path, trainer_class: Any) -> Any:
    """`SentenceTransformerTrainer`, or a subclass, with its own collator and the losses of its documentation.

    Model, dropout, seed, rates and samplers are those of `train`, so that batches and losses are the same.
    """
    mixture = load_mixture(recipe, read_selected(recipe), out, ranks=PartialState(cpu=True), device="cpu")
    set_seed(recipe.seed)
    model = initial_model(recipe, out / "backbones.lock.json", out, (), "cpu")
    prepare_model(recipe, model)
    form: Format = "bf16" if recipe.precision == "bf16" else "fp32"
    arguments: Any = training_arguments(recipe, out, ranks=1, device="cpu", precision=form, resumes=False)
    arguments.prompts = {name: column_prompts(model.prompts, name, SIDES) for name in mixture.datasets}
    arguments.batch_sampler = lambda dataset, *, batch_size, seed, **_: NoTextTwice(dataset, batch_size, seed)
    shares, steps = [mixture.shares[name] for name in mixture.datasets], recipe.max_steps
    arguments.multi_dataset_batch_sampler = partial(OneTaskPerBatch, ranks=1, shares=shares, steps=steps)
    cached = losses.CachedMultipleNegativesRankingLoss(model, scale=1 / recipe.temperature)
    loss = losses.MatryoshkaLoss(model, cached, list(recipe.matryoshka_dims))
    return trainer_class(model=model, args=arguments, train_dataset=dict(mixture.datasets), loss=loss)


def matmul_speed(form: Format, now: Callable[[], float]) -> float:
    """The best FLOP per second of some products of large square matrices. Arguments: `now`, a clock."""
    products: list[Any] = [torch.mm]
    if form == "fp32" and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        # MKL, which torch.mm calls for float32, does not use all that AMD's vector units can: on a Zen 5
        # it made 93 GFLOP/s where oneDNN, which is in torch too, made 208.
        one_dnn = torch.ops.mkldnn._linear_pointwise
        products.append(lambda left, right: one_dnn(left, right, None, "none", [], ""))
    best = 0.0
    for size in _SIZES:
        left, right = torch.randn(2, size, size).to(torch.bfloat16 if form == "bf16" else torch.float32)
        for product in products * 3:
            began = now()
            product(left, right)
            best = max(best, 2.0 * size**3 / (now() - began))
    return best


def draw(pairs: Sequence[Pair], recipe: Recipe, steps: int) -> tuple[list[Pair], dict[str, int]]:
    """Pairs for some steps, and how many of the steps are of each `source:task`, as the mixture draws them.

    Mined negatives are left out. Raises UserError where no source and task fills a batch.
    """
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[part_of(pair)].append(replace(pair, negatives=()))
    sizes = {part: len(group) for part, group in sorted(groups.items()) if len(group) >= recipe.batch_size}
    if not sizes:
        none = f"no source and task among {len(pairs):,} pairs fills one batch of {recipe.batch_size}"
        raise UserError(f"{none}: pass more of them with --data.")
    shares = batch_shares(sizes, recipe.mixture_exponent, recipe.source_weights)
    chance = random.Random(recipe.seed)
    parts = Counter(chance.choices(list(shares), weights=list(shares.values()), k=steps))
    found: list[Pair] = []
    for part, count in sorted(parts.items()):
        found += chance.sample(groups[part], min(sizes[part], _SPARE * count * recipe.batch_size))
    return found, dict(parts)


def cut(recipe: Recipe, pairs: Sequence[Pair], steps: int, work: Path) -> tuple[list[str], dict[str, int]]:
    """Settings by which a recipe trains some steps on what `draw` gives, by plain InfoNCE; steps by part."""
    sample, parts = draw(pairs, recipe, steps)
    data, base, shape = work / "pairs.jsonl", work / "backbone", recipe.backbone.shape
    write_pairs(data, sample)
    if shape is None:
        base = resolve_backbone(recipe.backbone.name, revision=recipe.backbone.revision)
    else:
        some = random.Random(recipe.seed).sample(pairs, min(len(pairs), 20_000))
        texts = [text for pair in some for text in (pair.query, pair.document)]
        tokenizer = train_tokenizer(texts, shape.vocabulary)
        write_random_backbone(base, shape, tokenizer, seed=recipe.seed, as_bag_of_words=True)
    weights = ", ".join(f"{json.dumps(part)} = {count}.0" for part, count in parts.items())
    given = {"data": json.dumps(str(data)), "backbone": f"{{name = {json.dumps(str(base))}}}"}
    given |= {"source_weights": f"{{{weights}}}", "max_steps": f"{steps}", "save_steps": f"{steps}"}
    return [*_CUT, *(f"{field}={value}" for field, value in given.items())], parts


def measure(name: str, form: Format, data: Path, plan: Record, work: Path) -> Record:
    """The record of a recipe in a number format; UserError where the trainers saw different batches."""
    file, given, threads = recipe_path(name), plan["settings"], plan["threads"]
    recipe = read_recipe(file, [*given, f"data={json.dumps(str(data))}", "subfolders=true"])
    selected, turns = read_selected(recipe), plan["warm_up"] + plan["steps"]
    # One step more than are made: in the last one too the next batch is collated.
    settings, sources = cut(recipe, selected.pairs, turns + 1, work)
    settings = [*given, *settings, f"precision={form}"]
    trainers = [TimedTrainer(one, file, [*settings, *own]) for one, own in TRAINERS.items()]
    clock, now = ("cpu", time.process_time) if threads == 1 else ("wall", time.perf_counter)
    progress = tqdm(take_turns(trainers, work, turns, threads), f"{name}, {form}", turns, unit="turn")
    peak = max(matmul_speed(form, now) for _ in progress)
    part: Record = {
        "data_sha256": selected.data_sha256,
        "recipe": name,
        "format": form,
        "max_length": recipe.max_length,
        "batch_size": recipe.batch_size,
        "clock": clock,
        "sources": sources,
        "matmul_peak_gflops": round(peak / 1e9, 1),
    }
    return part | {"rows": [_row(one, trainers[0], plan["warm_up"], peak, part) for one in trainers]}


def _row(one: TimedTrainer, stock: TimedTrainer, warm_up: int, peak: float, part: Record) -> Record:
    if one.failed is not None:
        return {"trainer": one.name, "failed": one.failed}
    clock, steps = part["clock"], one.steps[warm_up:]
    seconds = [getattr(step, clock) for step in steps]
    shares = [step.flops / time / peak for step, time in zip(steps, seconds, strict=True)]
    row = {
        "trainer": one.name,
        **one.setup,
        "cpu_seconds": _spread([step.cpu for step in steps]),
        "wall_seconds": _spread([step.wall for step in steps]),
        "pairs_per_second": round(part["batch_size"] / statistics.median(seconds), 2),
        "tokens": _spread([step.tokens for step in steps]),
        "of_matmul_peak": _spread(shares, digits=4),
        "peak_memory": max(step.peak_memory for step in one.steps),
        "losses": [round(step.loss, 5) for step in one.steps],
    }
    if one is not stock and stock.failed is None:
        both = list(zip(one.steps, stock.steps, strict=True))
        for number, (mine, theirs) in enumerate(both, 1):
            if mine.tokens != theirs.tokens:
                tokens = f"tokens {stock.name} {theirs.tokens:,}, {one.name} {mine.tokens:,}"
                raise UserError(f"in step {number} the trainers did not see the same batch: {tokens}.")
        apart = max(abs(mine.loss - theirs.loss) for mine, theirs in both)
        apart /= statistics.mean(step.loss for step in stock.steps)
        times = [getattr(theirs, clock) / getattr(mine, clock) for mine, theirs in both[warm_up:]]
        row["times_stock"] = _spread(times)
        row["losses_apart"] = float(f"{apart:.1e}")
        row["losses_agree"] = apart <= AGREE[part["format"]]
    return row


def _spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    found = {"median": statistics.median(values), "low": min(values), "high": max(values)}
    return {name: round(value, digits) for name, value in found.items()}


def speed_table(record: Record) -> str:
    """The results as a Markdown table, for the terminal and docs/training.md."""
    lines = []
    for part in record["parts"].values():
        for row in part["rows"]:
            cells = [f"`{part['recipe']}` {part['format']}, {part['max_length']} tokens", row["trainer"]]
            if "failed" in row:
                cells += [f"failed: {row['failed']}", *[""] * 4]
            else:
                ratio = "**{median:.1f}** ({low:.1f} to {high:.1f})" if "times_stock" in row else "1"
                cells += [
                    f"{row[part['clock'] + '_seconds']['median']:.2f}",
                    f"{row['pairs_per_second']:.1f}",
                    f"{row['tokens']['median']:,.0f}",
                    f"{row['of_matmul_peak']['median']:.0%}",
                    ratio.format(**row.get("times_stock", {})),
                ]
            lines.append(cells)
    head = "model|trainer|seconds a step|pairs/s|tokens a step|of the matmul peak|times stock"
    return markdown_table(head.split("|"), lines, words=("trainer",))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The program's options."""
    add = parser.add_argument
    add("--data", type=Path, required=True, help="a folder of pairs, folders inside it included")
    add("--models", default="nano,mini", help="recipes, separated by commas (default: %(default)s)")
    add("--steps", type=int, default=10, help="steps of each trainer that count (default: %(default)s)")
    add("--warm-up", type=int, default=6, help="steps before them, while memory grows (default: %(default)s)")
    add("--threads", type=int, default=1, help="of each trainer (default: %(default)s)")
    offer_settings(parser)
    add("--out", type=Path, default=RESULTS, help="the results file (default: %(default)s)")


def run(arguments: argparse.Namespace) -> None:
    """Measure each recipe in each format, writing the results after each; print the table and warnings."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = str(arguments.threads)  # of the processes that are started; libraries read it once
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a CPU is what is measured
    disable_progress_bar()  # of every file that transformers writes
    torch.set_num_threads(arguments.threads)
    plan = {name: getattr(arguments, name) for name in ("steps", "warm_up", "threads", "settings")}
    parts = json.loads(arguments.out.read_text(encoding="utf-8"))["parts"] if arguments.out.is_file() else {}
    record = {"measured": "training steps", "parts": parts}
    about = origin(written_command("python -m codequarry.benchmarks.training_speed")) | {"plan": plan}
    for name, form in itertools.product(arguments.models.split(","), AGREE):
        with tempfile.TemporaryDirectory() as work:
            measured = measure(name, form, arguments.data, plan, Path(work))
        parts[f"{name}, {form}"] = about | measured
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(arguments.out, record)
        for row in measured["rows"]:
            if not row.get("losses_agree", True):
                apart = f"up to {row['losses_apart']:.1e} apart, more than rounding"
                print(f"warning: {name}, {form}: losses of {row['trainer']} are {apart}.", file=sys.stderr)
    print(f"\n{speed_table(record)}\n\nwrote {arguments.out}")


if __name__ == "__main__":
    run_program(__doc__, add_arguments, run)
