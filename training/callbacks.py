"""What happens between the steps of a training: saving the best, stopping, showing progress, logging."""

import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed
from tqdm import tqdm
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
)
from transformers.integrations.integration_utils import TensorBoardCallback, TrackioCallback, WandbCallback
from transformers.trainer import DEFAULT_PROGRESS_CALLBACK

from codequarry.training.record import losses, scores_in, smoothed, validations

logger = logging.getLogger(__name__)


class BestCheckpoint(EarlyStoppingCallback):
    """transformers' early stopping, which here also saves each new best and knows when it had stopped.

    transformers saves every `save_steps` and loads the best of the saved checkpoints in the end. A best score
    between two saves would be lost, and the one before it too: it remembers the step, finds no folder, and
    keeps the last weights. So a new best is saved when it comes.

    The count of validations without a gain lies in the checkpoints, and comes back with
    `restore_callback_states_from_checkpoint=True`. A run that was killed between its last checkpoint and its
    model makes no further step: it ends with the same best one.

    Arguments:
        early_stopping_patience: validations in a row without a new best that end the run; None: none do.
        early_stopping_threshold: gains up to this count as none.
    """

    def __init__(
        self, early_stopping_patience: int | None = None, early_stopping_threshold: float = 0.0
    ) -> None:
        # Both by transformers' names: it makes the callback again from the checkpoint's `state()["args"]`.
        super().__init__(early_stopping_patience or sys.maxsize, early_stopping_threshold)

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Find the best checkpoint again, also in a folder that was moved; stop where the run had stopped."""
        super().on_train_begin(args, state, control, **kwargs)  # type: ignore[no-untyped-call]
        if state.best_global_step is not None:
            best = Path(str(args.output_dir)) / f"checkpoint-{state.best_global_step}"
            if best.is_dir():
                state.best_model_checkpoint = str(best)
            else:
                logger.warning(
                    "%s, the best so far (%s %.4f), is gone: the best of what follows will be the model.",
                    best, args.metric_for_best_model, state.best_metric,
                )  # fmt: skip
                state.best_global_step = state.best_metric = state.best_model_checkpoint = None
        if self.early_stopping_patience_counter >= self.early_stopping_patience:
            control.should_training_stop = True
            # These came back with the checkpoint, and what they ask for was done before it was written.
            control.should_log = control.should_evaluate = control.should_save = False

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Save a new best; count what is none."""
        score = metrics[f"eval_{args.metric_for_best_model}"]
        if state.best_metric is None or score > state.best_metric:
            control.should_save = True
        super().on_evaluate(args, state, control, metrics, **kwargs)  # type: ignore[no-untyped-call]


_NOTE = b"\nfinishing this step, then saving; Ctrl-C again stops at once.\n"


class Stopped(KeyboardInterrupt):
    """A run that was asked to stop has saved a checkpoint and stopped; its text says how to resume.

    A KeyboardInterrupt, because it ends the program as one does: exit code 130, no traceback. The text is
    empty on every rank but the first.
    """


class SafeStop(TrainerCallback):
    """While it is entered, Ctrl-C or SIGTERM ends the training after the current step.

    A second Ctrl-C stops at once, as it does outside. A second SIGTERM changes nothing, since schedulers and
    torchrun send several. A signal reaches each rank at another time; so they agree after every step, by the
    maximum of one number over a gloo group, for which no GPU waits.

    stopped: whether training was ended early for a signal.
    """

    def __init__(self) -> None:
        self.asked = False
        self.stopped = False
        self.rank, self.ranks = 0, 1
        self._process = os.getpid()
        self._group: Any = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "SafeStop":
        self.asked = self.stopped = False
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        """Find out who else takes part."""
        self.rank, self.ranks = args.process_index, args.world_size
        if self.ranks > 1 and self._group is None:
            self._group = torch.distributed.new_group(backend="gloo")

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Save and stop if any rank was asked to."""
        asked = self.asked
        if self.ranks > 1:
            of_ranks = torch.tensor([int(asked)])
            torch.distributed.all_reduce(of_ranks, op=torch.distributed.ReduceOp.MAX, group=self._group)
            asked = bool(of_ranks.item())
        if asked and state.global_step < state.max_steps:
            self.stopped = True
            control.should_save = control.should_training_stop = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a data loader's worker has inherited the handler; its parent decides
        if number == signal.SIGINT and self.asked:
            self._restore()
            raise KeyboardInterrupt
        if not self.asked and self.rank == 0:
            os.write(2, _NOTE)  # print is not safe in a handler
        self.asked = True

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


_RECENT = 30  # steps whose speed is shown

_BAR = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}"


def show_progress(trainer: Trainer, *, pairs_per_step: int, metric: str | None = None) -> None:
    """Put `Progress` in the place of transformers' own bar and its lines of raw numbers.

    Arguments: `pairs_per_step`, over all ranks; `metric`, the score that decides, None without validation.
    """
    for theirs in (DEFAULT_PROGRESS_CALLBACK, PrinterCallback):
        trainer.remove_callback(theirs)
    trainer.add_callback(Progress(pairs_per_step, metric))


class Progress(TrainerCallback):
    """Steps done, loss, pairs per second, time left, last validation; on the main rank only.

    In a terminal it is a bar, elsewhere a plain line every `logging_steps`; each validation has a line of
    its own in both. The loss is smoothed over the last lines. The speed is that of the last thirty steps,
    saving and validating left out; the time left counts with everything since this process began.
    """

    def __init__(self, pairs_per_step: int, metric: str | None = None) -> None:
        self.pairs_per_step = pairs_per_step
        self.metric = metric
        self._bar: tqdm[Any] | None = None
        self._first_step = 0
        self._started: float | None = None  # first step of this process; what comes before is not a step
        self._mark = 0.0
        self._seconds: deque[float] = deque(maxlen=_RECENT)

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        """Begin at the step that a resumed run had reached."""
        self._first_step, self._started = state.global_step, None
        self._seconds.clear()
        if state.is_world_process_zero and sys.stderr.isatty():
            self._bar = tqdm(
                total=state.max_steps,
                initial=state.global_step,
                bar_format=_BAR,
                dynamic_ncols=True,
                file=sys.stderr,
                postfix=self._numbers(state),
            )

    def on_step_begin(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        """Start the clock; finding its place in the data again may take a resumed run a while."""
        if self._started is None:
            self._started = self._mark = time.perf_counter()

    def on_step_end(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        """Count a step."""
        now = time.perf_counter()
        self._seconds.append(now - self._mark)
        self._mark = now
        if self._bar is not None:
            self._bar.set_postfix_str(self._numbers(state), refresh=False)
            self._bar.update()

    def on_log(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """A plain line where there is no bar."""
        if state.is_world_process_zero and self._bar is None and "loss" in kwargs["logs"]:
            print(f"step {state.global_step}/{state.max_steps}, {self._numbers(state)}", flush=True)

    def on_evaluate(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """The scores of a validation, in percent."""
        scores = scores_in(kwargs["metrics"])
        if state.is_world_process_zero and scores:
            found = self._scores(scores, state.best_metric)
            line = f"validation at step {state.global_step}, nDCG@10: {found}"
            tqdm.write(line) if self._bar is not None else print(line, flush=True)
        if self._bar is not None:
            self._bar.set_postfix_str(self._numbers(state))
        self._mark = time.perf_counter()

    def on_save(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        """The time that saving took belongs to no step."""
        self._mark = time.perf_counter()

    def on_train_end(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _numbers(self, state: TrainerState) -> str:
        parts = []
        _, values = losses(state.log_history)
        if values:
            parts.append(f"loss {smoothed(values)[-1]:.3f}")
        if self._seconds:
            parts.append(f"{self.pairs_per_step * len(self._seconds) / sum(self._seconds):,.1f} pairs/s")
            assert self._started is not None
            a_step = (time.perf_counter() - self._started) / (state.global_step - self._first_step)
            left = tqdm.format_interval(a_step * (state.max_steps - state.global_step))
            parts.append(f"{left} left")
        scored = validations(state.log_history)
        if self.metric is not None and scored:
            parts.append(f"{self.metric} {100 * scored[-1][self.metric]:.1f}")
        return ", ".join(parts)

    def _scores(self, scores: dict[str, float], best: float | None) -> str:
        """`mean 71.3 (best so far), nl2code 70.2, mean at 128 69.9`, the deciding one first."""
        if self.metric is not None:
            scores = {self.metric: scores[self.metric]} | scores
        parts = []
        for name, score in scores.items():
            of, _, size = name.removesuffix("_ndcg@10").partition("_")
            new = name == self.metric and best is not None and score > best
            parts.append(
                f"{of}{f' at {size}' if size else ''} {100 * score:.1f}{' (new best)' if new else ''}"
            )
        return ", ".join(parts)


def log_callbacks(names: Sequence[str], out: Path) -> list[TrainerCallback]:
    """transformers' callbacks for those logs, for a trainer with `report_to="none"`.

    Arguments: `names` from `chosen_logs`; `out`, the run's folder, where TensorBoard's files go into
    `tensorboard/`. The other two name the run by the training arguments' `run_name`, in the project
    `codequarry` unless their environment variables name another.
    """
    callbacks: list[TrainerCallback] = []
    for name in names:
        if name == "tensorboard":
            callbacks.append(TensorBoardLog(out / "tensorboard"))
            continue
        os.environ.setdefault(f"{name.upper()}_PROJECT", "codequarry")
        callbacks.append(WandbCallback() if name == "wandb" else TrackioCallback())
    return callbacks


class TensorBoardLog(TensorBoardCallback):
    """transformers' callback with a folder that stays the same, and no step drawn twice.

    transformers makes a new folder at each start, named after the time and the machine. Here a resumed run
    keeps its folder, and what was logged after its checkpoint is removed first.

    folder: where the files go; the environment variable `TENSORBOARD_LOGGING_DIR` outranks it.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.logging_dir = os.environ.get("TENSORBOARD_LOGGING_DIR", str(folder))

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Open the files on the main rank, and forget the steps that will come again."""
        if state.is_world_process_zero and self.tb_writer is None:
            self.tb_writer = self._SummaryWriter(
                log_dir=self.logging_dir, purge_step=state.global_step + 1 if state.global_step else None
            )
        super().on_train_begin(args, state, control, **kwargs)  # type: ignore[no-untyped-call]
