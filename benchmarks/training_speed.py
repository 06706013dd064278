"""How fast training is: beside the plain sentence-transformers trainer, and of what the hardware can do.

    python -m codequarry.benchmarks.training_speed --data clean

Both trainers see the same batches and begin with the same weights, and take turns step by step. Batches are
drawn with each recipe's weights, which name sources of the mixture; on pairs of your own pass `--set
source_weights={}`. On a CPU `mini` and `nano` are measured, where a step takes seconds; on a GPU the true
shapes of `0.5b` and `1.5b` with random weights, one trainer after the other. What is measured already is
kept: the same command goes on where it was stopped, and `--models` measures a part.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import resource
import statistics
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MatryoshkaLoss,
)
from tqdm import tqdm
from transformers import set_seed

from codequarry.common.environment import written_command
from codequarry.common.errors import run_program
from codequarry.common.files import write_json
from codequarry.common.tables import markdown_table
from codequarry.data.catalog.registry import known_licences
from codequarry.data.mixture import batch_shares, column_prompts, datasets_of, part_of, select
from codequarry.data.pair import Pair
from codequarry.data.pair_files import fingerprint_folders, read_pair_folders, read_pairs, write_pairs
from codequarry.modules.build import build_model
from codequarry.modules.tasks import SIDES
from codequarry.recipes.read import offer_settings, read_recipe, recipe_path
from codequarry.recipes.schema import Recipe
from codequarry.training.batch_sampler import NoTextTwice, OneTaskPerBatch

RESULTS = Path("benchmarks/results/training-throughput.json")

Format = Literal["fp32", "bf16"]

# How far two losses of a batch may be apart, as a share of their mean: rounding, grown over some steps.
AGREE: Mapping[Format, float] = {"fp32": 1e-3, "bf16": 3e-2}

_PROGRAM = "python -m codequarry.benchmarks.training_speed"

Lengths = Literal["real", "longest"]


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


@dataclass(frozen=True)
class TimedTrainer:
    """A trainer of a recipe.

    trainer: `stock` is `stock_trainer`, `ours` is `train.py`.
    settings: `field=value` each, over the recipe's own.
    """

    name: str
    trainer: Literal["stock", "ours"]
    recipe: Path
    settings: tuple[str, ...] = ()


def _contenders(part: Part, recipe: Path) -> list[TimedTrainer]:
    precision = f"precision={part.format}"
    ours = TimedTrainer(OURS, "ours", recipe, (precision, "grad_cache=auto"))
    if part.lengths == "longest":
        return [ours]
    stock = TimedTrainer(STOCK, "stock", recipe, (precision,))
    return [stock, ours, TimedTrainer(CACHED, "ours", recipe, (precision, "grad_cache=on"))]


@dataclass(frozen=True)
class Setup:
    """What a trainer is about to do, told before its first step.

    parameters: numbers that are not in a table of embeddings. width: of a hidden state. causal: whether a
    token attends to earlier ones only. peak_memory: bytes so far.
    """

    parameters: int
    layers: int
    width: int
    causal: bool
    optimizer: str
    attention: str
    grad_cache: bool
    peak_memory: int


@dataclass(frozen=True)
class Step:
    """One optimiser step.

    cpu, wall: seconds. tokens: real ones, padding not counted. squares: sum over texts of their tokens
    squared. peak_memory: bytes since the process began, of the GPU where there is one.
    """

    cpu: float
    wall: float
    loss: float
    tokens: int
    squares: int
    peak_memory: int


@dataclass
class Trained:
    """What a contender did: `failed` says in a sentence why it could not, else None."""

    contender: TimedTrainer
    setup: Setup | None
    steps: list[Step]
    failed: str | None = None
    last_peak_memory: int = 0  # bytes, after the model was saved; 0 where it was not waited for


@dataclass
class Roof:
    """The best that a large square matrix product has reached so far, in FLOP a second.

    device: `cpu` or `cuda`. format: of the factors. threads: of the products.
    """

    device: str
    format: Format
    threads: int
    best: float = 0.0
    _factors: list[tuple[Any, Any]] = field(default_factory=list, repr=False)

    def look(self) -> None:
        """Multiply a few times; a CPU's time is that of the process where one thread works."""
        import torch

        torch.set_num_threads(self.threads)
        if not self._factors:
            kind = torch.bfloat16 if self.format == "bf16" else torch.float32
            for size in _SIZES[self.device]:
                left, right = (torch.randn(size, size, device=self.device).to(kind) for _ in range(2))
                self._factors.append((left, right))
        now = _CLOCKS[clock_of(self.device, self.threads)]
        for product in self._products():
            for left, right in self._factors * _TIMES:
                self._wait()
                began = now()
                product(left, right)
                self._wait()
                self.best = max(self.best, 2.0 * len(left) ** 3 / (now() - began))

    def _products(self) -> list[Callable[[Any, Any], Any]]:
        import torch

        has_one_dnn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        if (self.device, self.format) != ("cpu", "fp32") or not has_one_dnn:
            return [torch.mm]
        # MKL, which torch.mm calls for float32, does not use all that AMD's vector units can: on a Zen 5 it
        # made 93 GFLOP/s where oneDNN, which is in torch too, made 208.
        one_dnn = torch.ops.mkldnn._linear_pointwise
        return [torch.mm, lambda left, right: one_dnn(left, right, None, "none", [], "")]

    def _wait(self) -> None:
        import torch

        if self.device == "cuda":
            torch.cuda.synchronize()


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
    import torch
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


@dataclass(frozen=True)
class Failure:
    """Why a contender could not train, in a sentence."""

    sentence: str


def train_in_turns(pipe: Connection, contender: TimedTrainer, folder: Path, threads: int) -> None:
    """Train, telling through `pipe` of the setup, of each step and in the end of the peak memory.

    Before each step and at the end something must come from the other side; where that has gone, training is
    cut off. What it prints goes into `folder`'s log. For a process of its own, which is changed by this.
    """
    with (folder / "log").open("a") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    os.environ["CODEQUARRY_CACHE"] = str(folder / "cache")  # nobody finds what another has tokenised
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        import torch

        torch.set_num_threads(threads)
        if contender.trainer == "ours":
            _train_ours(pipe, contender, folder / "run")
        else:
            _train_stock(pipe, contender, folder / "run")
        pipe.send(_peak_memory())
    except _CutOff:
        return
    except Exception as error:
        traceback.print_exc()
        first = str(error).strip().splitlines()[:1]
        pipe.send(Failure(f"{type(error).__name__}: {first[0] if first else ''}"))


def _train_ours(pipe: Connection, contender: TimedTrainer, out: Path) -> None:
    from codequarry import train
    from codequarry.training import trainer

    # What is measured is `train` as it stands: it trains with a class that stops after each step.
    trainer.PairTrainer = _stopping(trainer.PairTrainer, pipe)  # type: ignore[misc]
    train.train(contender.recipe, out, settings=contender.settings, logs=["none"])


def _train_stock(pipe: Connection, contender: TimedTrainer, out: Path) -> None:
    from sentence_transformers import SentenceTransformerTrainer

    from codequarry.recipes.read import read_recipe

    recipe = read_recipe(contender.recipe, contender.settings)
    stock_trainer(recipe, out, _stopping(SentenceTransformerTrainer, pipe)).train()


def _stopping(trainer_class: Any, pipe: Connection) -> Any:
    """The same class of trainers, that tells of each step and waits behind it."""
    import torch
    from transformers import TrainerCallback

    class Stopping(trainer_class):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.add_callback(Stops(self))

        def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            self.lengths = _lengths(inputs)
            loss = super().compute_loss(model, inputs, *args, **kwargs)
            self.seen_loss = loss.detach()
            return loss

    class Stops(TrainerCallback):
        def __init__(self, trainer: Any) -> None:
            self.trainer = trainer

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            pipe.send(_setup(self.trainer))
            self.wait()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            cpu, wall = time.process_time() - self.cpu, time.perf_counter() - self.wall
            lengths = torch.cat(self.trainer.lengths).long()
            tokens, squares = int(lengths.sum()), int((lengths**2).sum())
            pipe.send(Step(cpu, wall, float(self.trainer.seen_loss), tokens, squares, _peak_memory()))
            self.wait()

        def wait(self) -> None:
            try:
                pipe.recv()
            except EOFError:
                raise _CutOff from None
            self.cpu, self.wall = time.process_time(), time.perf_counter()

    return Stopping


def _lengths(inputs: dict[str, Any]) -> list[Any]:
    """Tokens of each text, a tensor a column, of packed or padded features."""
    return [
        value.diff() if name.endswith("_cu_seq_lens_q") else value.sum(1)
        for name, value in inputs.items()
        if name.endswith(("_cu_seq_lens_q", "_attention_mask"))
    ]


def _setup(trainer: Any) -> Setup:
    import torch

    from codequarry.modules.attention import Attention

    model = trainer.accelerator.unwrap_model(trainer.model)
    tables = {
        id(weight)
        for module in model.modules()
        if isinstance(module, torch.nn.Embedding)
        for weight in module.parameters()
    }
    backbone = model[0].model
    return Setup(
        parameters=sum(weight.numel() for weight in model.parameters() if id(weight) not in tables),
        layers=backbone.config.num_hidden_layers,
        width=backbone.config.hidden_size,
        causal=Attention.of(backbone.config.to_dict()).causal,
        optimizer=str(trainer.args.optim.value),
        attention=str(backbone.config._attn_implementation),
        grad_cache=bool(getattr(trainer.loss, "uses_gradient_cache", True)),
        peak_memory=_peak_memory(),
    )


def _peak_memory() -> int:
    """The most bytes this process has held, of the GPU where there is one.

    Read from /proc where there is one: getrusage counts in what the parent held when it began this process.
    """
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name == "VmHWM":
                return int(value.split()[0]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class _CutOff(BaseException):
    """Nobody waits for another step."""


_PATIENCE = 30  # seconds for a process to end by itself


def take_turns(
    contenders: Sequence[TimedTrainer],
    work: Path,
    steps: int,
    *,
    threads: int,
    together: bool = True,
    to_the_end: bool = False,
    between: Callable[[int], None] = lambda turn: None,
) -> list[Trained]:
    """Train each contender for some steps, one at a time.

    Arguments:
        contenders: their recipes hold at least `steps` steps, and exactly so many where they go on.
        work: each gets a folder and a log in it.
        steps: of each.
        threads: of each.
        together: one step of each in turn; False: one after the other, for a GPU whose memory holds one.
        to_the_end: let training end and save its model after the last step; else it is cut off there.
        between: called before each turn of all, counted from 0.

    A contender that fails leaves the others going.
    """
    done = [Trained(contender, None, []) for contender in contenders]
    for group in [done] if together else [[one] for one in done]:
        running = [_Running(one, work, threads) for one in group]
        try:
            for one in running:
                one.until_ready()
            for turn in range(steps):
                between(turn)
                first = turn % len(running)  # so that nobody always comes after the same one
                for one in (*running[first:], *running[:first]):
                    one.step()
            for one in running:
                one.end(to_the_end)
        finally:
            for one in running:
                one.stop()
    return done


class _Running:
    """A contender's process, seen from outside."""

    def __init__(self, trained: Trained, work: Path, threads: int) -> None:
        self.trained = trained
        self.folder = work / trained.contender.name.replace(" ", "-").replace(",", "")
        self.folder.mkdir(parents=True)
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=train_in_turns, args=(theirs, trained.contender, self.folder, threads), daemon=True
        )
        self.process.start()
        theirs.close()  # else its end would never be noticed

    def until_ready(self) -> None:
        self.trained.setup = self._told()

    def step(self) -> None:
        if self.trained.failed is None and (step := self._asked()) is not None:
            self.trained.steps.append(step)

    def end(self, to_the_end: bool) -> None:
        if self.trained.failed is None and to_the_end:
            self.trained.last_peak_memory = self._asked() or 0

    def stop(self) -> None:
        self.pipe.close()  # which cuts training off
        self.process.join(_PATIENCE)
        self.process.kill()
        self.process.join()

    def _asked(self) -> Any:
        """What it tells after its next step, or at its end behind the last one."""
        with contextlib.suppress(BrokenPipeError):  # it is gone, and `_told` finds out
            self.pipe.send(None)
        return self._told()

    def _told(self) -> Any:
        try:
            told = self.pipe.recv()
        except EOFError:
            self.process.join()
            told = Failure(f"the process ended with {self.process.exitcode}; {_last_words(self.folder)}")
        if isinstance(told, Failure):
            self.trained.failed = told.sentence
            return None
        return told


def _last_words(folder: Path) -> str:
    log = folder / "log"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.exists() else []
    return f"its last words: {lines[-1]}" if lines else "it said nothing"


_SPARE = 4  # batches a part brings for each one drawn: rows that share a text cannot be in one batch

_TOKENIZER_PAIRS = 20_000  # that a tokenizer is trained on

_CHARACTERS = 16  # a token of the longest texts, so that none is shorter than the limit

# What decides the work of a step. The rest of a recipe is left at its plain values: one InfoNCE, all weights
# trained, nothing validated.
_FIELDS = (
    "name", "pooling", "max_length", "matryoshka_dims", "batch_size", "learning_rate", "temperature",
    "mini_batch_tokens", "warmup_ratio", "scheduler", "weight_decay", "max_grad_norm", "seed",
)  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """Pairs for some steps. parts: steps by `source:task`."""

    pairs: list[Pair]
    parts: dict[str, int]


def drawn(pairs: Sequence[Pair], recipe: Recipe, steps: int, lengths: Lengths = "real") -> Sample:
    """Pairs for so many steps, each from one source and task, drawn as the recipe's mixture draws them.

    Arguments:
        pairs: all there are; mined negatives are left out, so that a pair is two texts.
        recipe: batch size, `mixture_exponent`, `source_weights`, licences and seed are its.
        steps: optimiser steps.
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
    found = []
    for part, count in sorted(parts.items()):
        wanted = min(sizes[part], _SPARE * count * recipe.batch_size)
        found += [replace(pair, negatives=()) for pair in chance.sample(groups[part], wanted)]
    if lengths == "longest":
        found = [_lengthened(pair, recipe.max_length) for pair in found]
    return Sample(found, dict(parts))


def write_backbone(folder: Path, recipe: Recipe, pairs: Sequence[Pair], tokenizer: str | None) -> Path:
    """A folder with the weights that the recipe begins with: its own, or random ones written to `folder`.

    Arguments: `tokenizer`, the folder of one that fits random weights; None trains one on some of `pairs`.
    """
    from codequarry.modules.backbone import resolve_backbone
    from codequarry.modules.random_backbone import read_tokenizer, train_tokenizer, write_random_backbone

    shape = recipe.backbone.shape
    if shape is None:
        return resolve_backbone(recipe.backbone.name, revision=recipe.backbone.revision)
    some = random.Random(recipe.seed).sample(pairs, min(len(pairs), _TOKENIZER_PAIRS))
    known = (
        read_tokenizer(tokenizer)
        if tokenizer is not None
        else train_tokenizer(
            (text for pair in some for text in (pair.query, pair.document)), shape.vocabulary
        )
    )
    return write_random_backbone(folder, shape, known, seed=recipe.seed, as_bag_of_words=True)


def write_cut_recipe(folder: Path, recipe: Recipe, sample: Sample, backbone: Path) -> Path:
    """Write `sample` and a recipe that trains on it, from `backbone`, for its steps; returns that file."""
    data = folder / "pairs.jsonl"
    write_pairs(data, sample.pairs)
    chosen = {name: value for name, value in asdict(recipe).items() if name in _FIELDS}
    chosen |= {"data": str(data), "max_steps": sum(sample.parts.values()), "mixture_exponent": 0.0}
    lines = [f"{name} = {json.dumps(value)}" for name, value in chosen.items()]
    lines += ["[backbone]", f"name = {json.dumps(str(backbone))}", "[source_weights]"]
    lines += [f"{json.dumps(part)} = {float(count)}" for part, count in sorted(sample.parts.items())]
    file = folder / f"{recipe.name}.toml"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def _lengthened(pair: Pair, max_length: int) -> Pair:
    def repeated(text: str) -> str:
        return f"{text}\n" * (_CHARACTERS * max_length // (len(text) + 1) + 1)

    return replace(pair, query=repeated(pair.query), document=repeated(pair.document))


MINI_BATCH = 32  # texts; its default, and what its documentation calls with


def stock_trainer(
    recipe: Recipe, out: Path, trainer_class: type[SentenceTransformerTrainer]
) -> SentenceTransformerTrainer:
    """A plain trainer for a recipe: `MatryoshkaLoss(CachedMultipleNegativesRankingLoss)`, its own collator.

    The same model, seed, rates and samplers as `train.py`, so that it sees the same batches; dropout is off
    too, although a base may bring some, because ours leaves it out and the losses are compared.

    Arguments: `trainer_class`, the trainer, or one derived from it that looks on.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    sources, _ = datasets_of(read_pairs(recipe.data).pairs, recipe.batch_size, seed=recipe.seed)
    sizes = {name: len(dataset) for name, dataset in sources.items()}
    shares = batch_shares(sizes, recipe.mixture_exponent, recipe.source_weights)
    set_seed(recipe.seed)
    model = build_model(
        recipe.backbone.name,
        pooling=recipe.pooling,
        max_length=recipe.max_length,
        dims=recipe.matryoshka_dims,
        prompts=recipe.prompts,
        device=device,
    )
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = recipe.dropout
    cached = CachedMultipleNegativesRankingLoss(
        model, scale=1 / recipe.temperature, mini_batch_size=MINI_BATCH
    )

    def batches(dataset: Any, *, batch_size: int, seed: int, **_: Any) -> NoTextTwice:
        return NoTextTwice(dataset, batch_size, seed)

    def turns(
        dataset: Any, *, batch_samplers: list[Any], generator: torch.Generator, seed: int
    ) -> OneTaskPerBatch:
        return OneTaskPerBatch(
            dataset, batch_samplers, generator, seed, 1, [shares[name] for name in sources], recipe.max_steps
        )

    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(out / "checkpoints"),
        max_steps=recipe.max_steps,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.scheduler,
        warmup_steps=round(recipe.warmup_ratio * recipe.max_steps),
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        bf16=recipe.precision == "bf16",
        prompts={name: column_prompts(model.prompts, name, SIDES) for name in sources},
        batch_sampler=batches,  # type: ignore[arg-type]  # its protocol is that of its own class
        multi_dataset_batch_sampler=turns,
        dataloader_drop_last=True,
        save_strategy="no",
        logging_steps=recipe.logging_steps,
        seed=recipe.seed,
        use_cpu=device == "cpu",
        report_to="none",
    )
    return trainer_class(
        model=model,
        args=arguments,
        train_dataset={name: sources[name] for name in sources},
        loss=MatryoshkaLoss(model, cached, list(recipe.matryoshka_dims)),
    )


STOCK, OURS, CACHED = "sentence-transformers", "ours", "ours, GradCache"

ON_CPU, ON_GPU = ("nano", "mini"), ("0.5b", "1.5b")

BUSY = 0.5  # load average beyond the threads measured with, above which figures are not to be trusted


def speed_table(record: Mapping[str, Any]) -> str:
    """The results as a Markdown table, for the terminal and the README."""
    head = [
        "model",
        "trainer",
        "seconds a step",
        "pairs/s",
        "tokens a step",
        "of the matmul peak",
        "times stock",
    ]
    lines = []
    for part in record["parts"].values():
        model = f"`{part['recipe']}` {part['format']}, {part['max_length']} tokens"
        if part["lengths"] == "longest":
            model += ", all texts that long"
        for row in part["rows"]:
            if "failed" in row:
                lines.append([model, row["trainer"], f"failed: {row['failed']}", *[""] * 4])
                continue
            seconds = row[f"{part['clock']}_seconds"]
            times = row.get("times_stock")
            lines.append(
                [
                    model,
                    row["trainer"],
                    f"{seconds['median']:.2f}",
                    f"{row['pairs_per_second']:.1f}",
                    f"{row['tokens']['median']:,.0f}",
                    f"{row['of_matmul_peak']['median']:.0%}",
                    f"**{times['median']:.1f}** ({times['low']:.1f} to {times['high']:.1f})"
                    if times
                    else "1",
                ]
            )
    return markdown_table(head, lines, words=("trainer",))


def run_table(record: Mapping[str, Any]) -> str:
    """Projected whole runs beside the published ones as a Markdown table; what was not measured says so."""
    head = ["model", "texts", "projected hours", "peak memory", "the paper's hours", "on"]
    lines = []
    for name in ON_GPU:
        published = PUBLISHED[name]
        theirs = [f"{published.hours:g}", f"{published.gpus} {published.gpu}"]
        parts = [part for part in record["parts"].values() if part["recipe"] == name]
        for part in parts:
            ours = next(row for row in part["rows"] if row["trainer"] == OURS)
            run = part["run"]
            texts = "all at the limit" if part["lengths"] == "longest" else "as they are"
            hours = f"{run['projected_hours']:.2f} for {run['steps']:,} steps"
            lines.append([f"`{name}`", texts, hours, f"{ours['peak_memory'] / 1e9:.0f} GB", *theirs])
        if not parts:
            lines.append([f"`{name}`", "", "not measured", "", *theirs])
    return markdown_table(head, lines, words=("texts", "on"))


def warnings_of(part: Mapping[str, Any], name: str, threads: int) -> list[str]:
    """Sentences on what makes a part's figures doubtful; none where nothing does."""
    found = []
    if max(part["load_before"], part["load_after"]) > threads + BUSY and part["device"] == "cpu":
        found.append(
            f"{name}: the machine was busy, its load average {part['load_before']} before and "
            f"{part['load_after']} after: measure again when it is quiet, with --fresh."
        )
    found += [
        f"{name}: losses of {row['trainer']} and {STOCK} are up to {row['losses_apart']:.1e} apart, more "
        f"than rounding: they do not train the same."
        for row in part["rows"]
        if not row.get("losses_agree", True)
    ]
    return found


_SIZES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}  # rows of a square matrix

_TIMES = 3  # products of each size a look


def step_flops(setup: Setup, step: Step) -> float:
    """Floating-point operations that the forward and backward pass of a step need.

        6 · (parameters outside embedding tables) · tokens  +  12 · layers · width · Σ_texts tokens²

    The second term, scores and weighted values, is halved where attention is causal. Work that is done twice
    (GradCache, recomputation) or for nothing (padding) is not counted.
    """
    attention = 12 * setup.layers * setup.width * step.squares / (2 if setup.causal else 1)
    return 6.0 * setup.parameters * step.tokens + attention


def clock_of(device: str, threads: int) -> Literal["cpu", "wall"]:
    """Which seconds say how fast something is: those of the processor for one thread, else the clock's."""
    return "cpu" if device == "cpu" and threads == 1 else "wall"


_CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}


@dataclass(frozen=True)
class PublishedTraining:
    """One training run of a paper.

    recipe: ours of the same size. hours: of all GPUs together, by the clock.
    """

    recipe: str
    model: str
    hours: float
    gpus: int
    gpu: str
    source: str


PUBLISHED = {
    row.recipe: row
    for row in (
        PublishedTraining(
            "0.5b", "jina-code-embeddings-0.5b", 8.3, 4, "A100 80 GB", "https://arxiv.org/abs/2508.21290"
        ),
        PublishedTraining(
            "1.5b", "jina-code-embeddings-1.5b", 12.0, 4, "A100 80 GB", "https://arxiv.org/abs/2508.21290"
        ),
    )
}
