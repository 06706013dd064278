"""Kill a training run at random moments, resume it, and compare it with one that was not killed.

Every kill is a real `SIGKILL`. The killed processes are forked from one that has imported the libraries, so
that a kill costs a second and not ten; the run without kills is `codequarry train` in a process of its own.
Both must end with the same losses, the same batches drawn and, in fp32, the same weights bit for bit.
"""

import json
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal, get_args

Phase = Literal["start-up", "steps", "checkpoint", "final save"]
PHASES: tuple[Phase, ...] = get_args(Phase)

_LOOK = 0.001  # seconds between two looks at the run's folder
_PATIENCE = 900  # seconds for one sitting
_CHECKPOINTS = 3  # of a sitting, in or after which a kill falls
_WRITING = 0.03  # seconds: within the writing of a checkpoint or a model, even of the smallest
_LIBRARIES = ["datasets", "sentence_transformers", "codequarry.train", "codequarry.training.trainer"]


@dataclass(frozen=True)
class Kill:
    """One kill.

    phase: what the process was doing: nothing saved in this sitting yet, steps between checkpoints, writing
        a checkpoint, or writing the model.
    after_step: of the newest checkpoint at that moment; 0 for none.
    seconds: after the process was forked.
    """

    phase: Phase
    after_step: int
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What the kills did.

    runs: folders that the kills needed: a run that ended before the next kill was followed by another.
    same_losses, same_weights, same_batches: whether every run equals the one without kills.
    """

    kills: tuple[Kill, ...]
    runs: int
    steps: int
    same_losses: bool
    same_weights: bool
    same_batches: bool


def kill_at_random(
    recipe: str,
    settings: Sequence[str],
    work: Path,
    *,
    kills: int,
    seed: int = 0,
    told: Callable[[str], None] = print,
) -> Outcome:
    """Train `recipe` once without and then under `kills` kills, in folders of `work`.

    Arguments:
        recipe, settings: as `codequarry train` takes them.
        kills: dealt out to the four phases, at least one each from four kills on.
        seed: of the moments.
        told: gets a line for each kill.

    Raises ValueError where training itself fails.
    """
    moments = random.Random(seed)
    calm = work / "calm"
    _train_without_kills(recipe, settings, calm)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LIBRARIES)
    final = kills // 6 if kills > 4 else kills // 4
    wanted: list[Phase] = [PHASES[number % 3] for number in range(kills - final)]
    moments.shuffle(wanted)
    wanted += ["final save"] * final

    done: list[Kill] = []
    folders = [work / "killed-1"]
    start_up = 0.0  # seconds until the first checkpoint of a run
    while True:
        out = folders[-1]
        process: BaseProcess = context.Process(target=_sitting, args=(recipe, out, list(settings)))
        process.start()
        watch = _Watch(process, out)
        if len(done) < kills:
            watch.until_moment(wanted[len(done)], moments, start_up)
            start_up = start_up or watch.first_write
        else:
            watch.until(lambda: False)
        if process.is_alive() and not (out / "config.json").exists():
            process.kill()
            process.join()
            done.append(watch.kill())
            told(f"kill {len(done)}: {done[-1].phase}, after step {done[-1].after_step}")
            continue
        process.join()
        if process.exitcode:
            raise ValueError(f"the run ended with {process.exitcode}:\n{_log(out).read_text()[-2000:]}")
        if len(done) == kills:
            break
        told(f"{out.name} is finished; the next kills fall on another run")
        folders.append(work / f"killed-{len(folders) + 1}")
    return Outcome(
        tuple(done),
        runs=len(folders),
        steps=json.loads((calm / "training.json").read_text("utf-8"))["steps"],
        same_losses=all(losses(out) == losses(calm) for out in folders),
        same_weights=all(same_weights(out, calm) for out in folders),
        same_batches=all(batches(out) == batches(calm) for out in folders),
    )


class _Watch:
    """Looks at the folder of a sitting, until something happens or the process ends."""

    def __init__(self, process: BaseProcess, out: Path) -> None:
        self.process = process
        self.out = out
        self.began = time.monotonic()
        self.first = self.newest()
        self.first_write = 0.0  # seconds until this sitting began to write its first checkpoint

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def newest(self) -> int:
        found = (self.out / "checkpoints").glob("checkpoint-*")
        return max((int(folder.name.rpartition("-")[2]) for folder in found), default=0)

    def writes(self) -> bool:
        return any((self.out / "checkpoints/.writing").glob("*"))

    def until(self, happens: Callable[[], bool], most: float = _PATIENCE) -> None:
        """Wait, at most so many seconds, and not longer than the process lives."""
        end = time.monotonic() + most
        while self.process.is_alive() and not happens() and time.monotonic() < end:
            time.sleep(_LOOK)

    def until_moment(self, phase: Phase, moments: random.Random, start_up: float) -> None:
        """Wait for a random moment of a phase; `start_up` is how long one takes, 0 where unknown."""
        if phase == "start-up" and start_up:
            self.until(lambda: False, most=moments.uniform(0, start_up))
        elif phase == "final save":
            self.until((self.out / ".saving").exists)
            self.until(lambda: False, most=moments.uniform(0, _WRITING))
        else:
            self.until(self.writes)
            self.first_write = self.seconds
            for _ in range(moments.randrange(_CHECKPOINTS)):  # not always the first one
                self.until(lambda: not self.writes())
                self.until(self.writes)
            if phase == "checkpoint":
                self.until(lambda: False, most=moments.uniform(0, _WRITING))
            else:
                self.until(lambda: not self.writes())
                self.until(self.writes, most=moments.uniform(0, start_up))

    def kill(self) -> Kill:
        """What a process that has just been killed was doing."""
        phase: Phase = "start-up" if self.newest() == self.first else "steps"
        if self.writes():
            phase = "checkpoint"
        elif (self.out / ".saving").exists():
            phase = "final save"
        return Kill(phase, self.newest(), round(self.seconds, 2))


def _sitting(recipe: str, out: Path, settings: Sequence[str]) -> None:
    from codequarry.recipes.read import recipe_path
    from codequarry.train import train

    with _log(out).open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    train(recipe_path(recipe), out, settings=settings)


def _train_without_kills(recipe: str, settings: Sequence[str], out: Path) -> None:
    flags = [word for setting in settings for word in ("--set", setting)]
    words = [sys.executable, "-m", "codequarry", "train", recipe, "--out", str(out), *flags]
    finished = subprocess.run(words, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise ValueError(f"the run without kills failed:\n{finished.stderr[-2000:]}")


def _log(out: Path) -> Path:
    return out.with_name(f"{out.name}.log")


def losses(out: Path) -> list[dict[str, Any]]:
    """All that was logged, without what depends on the clock."""
    from codequarry.training.checkpoints import newest_complete

    checkpoint = newest_complete(out / "checkpoints")
    assert checkpoint is not None, "a finished run has saved its last step"
    history = json.loads((checkpoint / "trainer_state.json").read_text("utf-8"))["log_history"]
    return [
        {name: value for name, value in entry.items() if not name.endswith(("_runtime", "_per_second"))}
        for entry in history
    ]


def batches(out: Path) -> Any:
    return json.loads((out / "training.json").read_text("utf-8"))["data"]


def same_weights(out: Path, calm: Path) -> bool:
    import torch
    from safetensors.torch import load_file

    mine, theirs = (load_file(folder / "model.safetensors") for folder in (out, calm))
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
