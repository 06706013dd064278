"""Timed trainers take turns, step by step, each in a process of its own; the matmul peak beside them."""

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from codequarry.benchmarks.timed_trainer import (
    Failure,
    Format,
    Setup,
    Step,
    TimedTrainer,
    train_in_turns,
)


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

        has_one_dnn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        if (self.device, self.format) != ("cpu", "fp32") or not has_one_dnn:
            return [torch.mm]
        # MKL, which torch.mm calls for float32, does not use all that AMD's vector units can: on a Zen 5 it
        # made 93 GFLOP/s where oneDNN, which is in torch too, made 208.
        one_dnn = torch.ops.mkldnn._linear_pointwise
        return [torch.mm, lambda left, right: one_dnn(left, right, None, "none", [], "")]

    def _wait(self) -> None:

        if self.device == "cuda":
            torch.cuda.synchronize()


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
