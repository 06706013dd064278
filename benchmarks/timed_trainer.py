"""One trainer under a stopwatch: ours, or sentence-transformers as its documentation sets it up."""

import os
import resource
import sys
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import torch
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MatryoshkaLoss,
)
from transformers import set_seed

from codequarry.data.mixture import batch_shares, column_prompts, datasets_of
from codequarry.data.pair_files import read_pairs
from codequarry.modules.build import build_model
from codequarry.modules.tasks import SIDES
from codequarry.recipes.read import read_recipe
from codequarry.recipes.schema import Recipe
from codequarry.training.batch_sampler import NoTextTwice, OneTaskPerBatch

Format = Literal["fp32", "bf16"]

Lengths = Literal["real", "longest"]


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
