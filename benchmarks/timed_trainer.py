"""A trainer that makes one step at a time in a process of its own: ours, or sentence-transformers' own."""

import contextlib
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import torch
from sentence_transformers import SentenceTransformerTrainer
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MatryoshkaLoss,
)
from transformers import TrainerCallback, set_seed

from codequarry.common.environment import peak_memory
from codequarry.data.mixture import batch_shares, column_prompts, datasets_of
from codequarry.data.pair_files import read_pairs
from codequarry.modules.attention import Attention
from codequarry.modules.build import build_model
from codequarry.modules.tasks import SIDES
from codequarry.recipes.read import read_recipe
from codequarry.recipes.schema import Recipe
from codequarry.training.batch_sampler import NoTextTwice, OneTaskPerBatch
from codequarry.training.build import training_arguments

Format = Literal["fp32", "bf16"]

MINI_BATCH = 32  # texts; the default of CachedMultipleNegativesRankingLoss, and of its documentation

_SIZES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}  # rows of the square matrices of `MatmulPeak`
_PRODUCTS = 3  # of each size and measurement
_PATIENCE = 30  # seconds for a process to end by itself


@dataclass(frozen=True)
class Setup:
    """What a trainer is about to do. parameters: those outside embedding tables."""

    grad_cache: bool
    attention: str
    optimizer: str
    parameters: int


@dataclass(frozen=True)
class Step:
    """One optimiser step.

    cpu, wall: seconds. tokens: without padding. flops: see `step_flops`.
    peak_memory: bytes since the process began, of the GPU where there is one.
    """

    cpu: float
    wall: float
    loss: float
    tokens: int
    flops: float
    peak_memory: int


@dataclass
class TimedTrainer:
    """A trainer of a recipe, and what it did.

    trainer: `ours` is `train.py`, `stock` is `stock_trainer`.
    settings: `field=value` each, over the recipe's own.
    setup: None before it runs. failed: in a sentence, why it could not train; None where it could.
    """

    name: str
    trainer: Literal["stock", "ours"]
    recipe: Path
    settings: tuple[str, ...] = ()
    setup: Setup | None = None
    steps: list[Step] = field(default_factory=list)
    failed: str | None = None


def take_turns(
    trainers: Sequence[TimedTrainer],
    work: Path,
    turns: int,
    *,
    threads: int,
    together: bool = True,
) -> Iterator[None]:
    """Let each trainer make `turns` steps, one trainer at a time; what it did is in it afterwards.

    Arguments:
        trainers: their recipes hold at least `turns` steps; training is cut off after those.
        work: each trainer gets a folder and a log in it.
        threads: of each.
        together: one step of each in turn; False: one trainer after the other, for a GPU that holds one.

    Yields before each turn. A trainer that fails does not stop the others.
    """
    for group in [trainers] if together else [[one] for one in trainers]:
        with contextlib.ExitStack() as stack:
            make_step = [stack.enter_context(_running(one, work, threads)) for one in group]
            for turn in range(turns):
                yield
                first = turn % len(group)  # so that none always comes after the same one
                for step in (*make_step[first:], *make_step[:first]):
                    step()


@contextlib.contextmanager
def _running(trainer: TimedTrainer, work: Path, threads: int) -> Iterator[Callable[[], None]]:
    """The process of a trainer, ready for its first step; yields what lets it make one."""
    folder = work / trainer.name.replace(" ", "-").replace(",", "")
    folder.mkdir(parents=True)
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=_train, args=(theirs, trainer, folder, threads), daemon=True)
    process.start()
    theirs.close()  # else `recv` would wait for a process that has ended

    def receive() -> Any:
        try:
            message = pipe.recv()
        except EOFError:
            process.join()
            log = folder / "log"
            said = log.read_text(encoding="utf-8", errors="replace").strip() if log.exists() else ""
            last = f"its last words: {said.splitlines()[-1]}" if said else "it said nothing"
            message = f"the process ended with {process.exitcode}; {last}"
        if isinstance(message, str):
            trainer.failed = message
        return message

    def step() -> None:
        if trainer.failed is None:
            with contextlib.suppress(BrokenPipeError):  # the process has ended: `receive` says how
                pipe.send(None)
            message = receive()
            if isinstance(message, Step):
                trainer.steps.append(message)

    try:
        message = receive()
        trainer.setup = message if isinstance(message, Setup) else None
        yield step
    finally:
        pipe.close()  # which cuts training off
        process.join(_PATIENCE)
        process.kill()
        process.join()


def _train(pipe: Connection, timed: TimedTrainer, folder: Path, threads: int) -> None:
    """Train in this process, which is changed by it: send a `Setup`, each `Step`, or a sentence on failure.

    Before each step a message must arrive; where the other end is closed, training is cut off.
    """
    with (folder / "log").open("a") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    os.environ["CODEQUARRY_CACHE"] = str(folder / "cache")  # so that each trainer tokenises its texts itself
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.set_num_threads(threads)
    try:
        if timed.trainer == "ours":
            from codequarry import train
            from codequarry.training import trainer

            # What is measured is `train` as it stands: it trains with a class that stops after each step.
            trainer.PairTrainer = _stopping(trainer.PairTrainer, pipe)  # type: ignore[misc]
            train.train(timed.recipe, folder / "run", settings=timed.settings, logs=["none"])
        else:
            recipe = read_recipe(timed.recipe, timed.settings)
            stock_trainer(recipe, folder / "run", _stopping(SentenceTransformerTrainer, pipe)).train()
    except _CutOff:
        return
    except Exception as error:
        traceback.print_exc()
        first = str(error).strip().splitlines()[:1]
        pipe.send(f"{type(error).__name__}: {first[0] if first else ''}")


class _CutOff(BaseException):
    """The other end of the pipe is closed."""


def _stopping(trainer_class: Any, pipe: Connection) -> Any:
    """A subclass of a trainer that sends what each step took and waits for a message before the next."""

    class Stopping(trainer_class, TrainerCallback):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.add_callback(self)

        def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            self.lengths = _lengths(inputs)
            loss = super().compute_loss(model, inputs, *args, **kwargs)
            self.seen_loss = loss.detach()
            return loss

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            model = self.accelerator.unwrap_model(self.model)
            tables = {part.weight for part in model.modules() if isinstance(part, torch.nn.Embedding)}
            self.parameters = sum(weight.numel() for weight in model.parameters() if weight not in tables)
            self.config = model[0].model.config
            cached = bool(getattr(self.loss, "uses_gradient_cache", True))
            attention = str(self.config._attn_implementation)
            pipe.send(Setup(cached, attention, str(self.args.optim.value), self.parameters))
            self.wait()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            on_gpu = torch.cuda.is_available()
            if on_gpu:
                torch.cuda.synchronize()
            cpu, wall = time.process_time() - self.cpu, time.perf_counter() - self.wall
            lengths = torch.cat(self.lengths).long()
            flops = step_flops(self.parameters, self.config, lengths)
            memory = torch.cuda.max_memory_allocated() if on_gpu else peak_memory() or 0
            pipe.send(Step(cpu, wall, float(self.seen_loss), int(lengths.sum()), flops, memory))
            self.wait()

        def wait(self) -> None:
            try:
                pipe.recv()
            except EOFError:
                raise _CutOff from None
            self.cpu, self.wall = time.process_time(), time.perf_counter()

    return Stopping


def _lengths(inputs: dict[str, Any]) -> list[torch.Tensor]:
    """Tokens of each text, one tensor per column, of packed or padded features."""
    return [
        value.diff() if name.endswith("_cu_seq_lens_q") else value.sum(1)
        for name, value in inputs.items()
        if name.endswith(("_cu_seq_lens_q", "_attention_mask"))
    ]


def step_flops(parameters: int, config: Any, lengths: torch.Tensor) -> float:
    """Floating-point operations that the forward and backward pass of a step need.

        6 · (parameters outside embedding tables) · tokens  +  12 · layers · width · Σ_texts tokens²

    The second term, scores and weighted values, is halved where attention is causal. Work that is done twice
    (GradCache, recomputation) or for nothing (padding) is not counted.

    Arguments: `config`, the backbone's; `lengths`, tokens of each text, `(texts,)`.
    """
    attention: float = 12 * config.num_hidden_layers * config.hidden_size * int((lengths**2).sum())
    if Attention.of(config.to_dict()).causal:
        attention /= 2
    return 6.0 * parameters * int(lengths.sum()) + attention


@dataclass
class MatmulPeak:
    """The best that a large square matrix product has reached so far, in FLOP per second.

    clock: which seconds say how fast something is: the processor's for one thread of a CPU, else wall time.
    """

    device: str
    format: Format
    threads: int
    best: float = 0.0

    @property
    def clock(self) -> Literal["cpu", "wall"]:
        """The name of a `Step`'s field."""
        return "cpu" if self.device == "cpu" and self.threads == 1 else "wall"

    def measure(self) -> None:
        """Multiply a few times."""
        torch.set_num_threads(self.threads)
        products: list[Any] = [torch.mm]
        mkl_dnn: Any = torch.backends.mkldnn
        if (self.device, self.format) == ("cpu", "fp32") and mkl_dnn.is_available():
            # MKL, which torch.mm calls for float32, does not use all that AMD's vector units can: on a Zen 5
            # it made 93 GFLOP/s where oneDNN, which is in torch too, made 208.
            one_dnn = torch.ops.mkldnn._linear_pointwise
            products.append(lambda left, right: one_dnn(left, right, None, "none", [], ""))
        now = {"cpu": time.process_time, "wall": time.perf_counter}[self.clock]
        wait: Callable[[], Any] = torch.cuda.synchronize if self.device == "cuda" else lambda: None
        for left, right in _factors(self.device, self.format):
            for product in products * _PRODUCTS:
                wait()
                began = now()
                product(left, right)
                wait()
                self.best = max(self.best, 2.0 * len(left) ** 3 / (now() - began))


@cache
def _factors(device: str, number_format: Format) -> list[list[torch.Tensor]]:
    kind = torch.bfloat16 if number_format == "bf16" else torch.float32
    return [[torch.randn(size, size, device=device).to(kind) for _ in range(2)] for size in _SIZES[device]]


def stock_trainer(
    recipe: Recipe, out: Path, trainer_class: type[SentenceTransformerTrainer]
) -> SentenceTransformerTrainer:
    """A plain trainer for a recipe: `MatryoshkaLoss(CachedMultipleNegativesRankingLoss)`, its own collator.

    The same model, seed, rates and samplers as `train.py`, so that it sees the same batches; dropout is off
    too, although a base may bring some, because ours leaves it out and the losses are compared.

    Arguments: `trainer_class`, the trainer or a subclass of it.
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
    precision: Format = "bf16" if recipe.precision == "bf16" else "fp32"
    arguments = training_arguments(recipe, out, ranks=1, device=device, precision=precision, resumes=False)
    arguments.dataloader_num_workers = 0  # the worker that ours has on a GPU is for its own collator
    arguments.save_strategy = "no"
    arguments.prompts = {name: column_prompts(model.prompts, name, SIDES) for name in sources}
    arguments.batch_sampler = lambda dataset, *, batch_size, seed, **_: NoTextTwice(  # type: ignore[assignment]
        dataset, batch_size, seed
    )
    arguments.multi_dataset_batch_sampler = lambda dataset, *, batch_samplers, generator, seed: (
        OneTaskPerBatch(
            dataset, batch_samplers, generator, seed, 1, [shares[name] for name in sources], recipe.max_steps
        )
    )
    return trainer_class(
        model=model,
        args=arguments,
        train_dataset=dict(sources),
        loss=MatryoshkaLoss(model, cached, list(recipe.matryoshka_dims)),
    )
