"""Let several trainers take turns, a step each, so that whatever disturbs the machine disturbs them alike.

Each trains in a process of its own, through its own whole `train`, and stops after every step until it is
its turn again. What lies between two stops is one step with all that belongs to it: the next batch is
collated, the loss computed and differentiated, the weights changed, the log written.
"""

import contextlib
import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codequarry.benchmarks.training.contender import Contender, Failure, Setup, Step, train_in_turns

_PATIENCE = 30  # seconds for a process to end by itself


@dataclass
class Trained:
    """What a contender did: `failed` says in a sentence why it could not, else None."""

    contender: Contender
    setup: Setup | None
    steps: list[Step]
    failed: str | None = None
    last_peak_memory: int = 0  # bytes, after the model was saved; 0 where it was not waited for


def take_turns(
    contenders: Sequence[Contender],
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
