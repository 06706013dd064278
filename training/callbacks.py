"""Which checkpoint becomes the model, and when further steps are not worth it."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed
from transformers import (
    EarlyStoppingCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.integrations.integration_utils import TensorBoardCallback

if TYPE_CHECKING:
    from transformers import TrainerCallback

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
        super().__init__(early_stopping_patience or sys.maxsize, early_stopping_threshold)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
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

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        """Save a new best; count what is none."""
        score = metrics[f"eval_{args.metric_for_best_model}"]
        if state.best_metric is None or score > state.best_metric:
            control.should_save = True
        super().on_evaluate(args, state, control, metrics, **kwargs)  # type: ignore[no-untyped-call]


_NOTE = b"\nfinishing this step, then saving; Ctrl-C again stops at once.\n"


class Stopped(KeyboardInterrupt):
    """A run that was asked to stop has saved a checkpoint and stopped; its text says how to go on.

    A KeyboardInterrupt, because it ends the program as one does: exit code 130, no traceback. The text is
    empty on every rank but the first.
    """


class SafeStop(TrainerCallback):
    """While it is entered, Ctrl-C or SIGTERM ends the training after the step that is being made.

    A second Ctrl-C stops at once, as it does outside. A second SIGTERM changes nothing, since schedulers and
    torchrun send several. On several ranks a signal reaches each at its own moment; so they agree after every
    step, by the maximum of one number over a gloo group: processors talk, no GPU is waited for.

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
        if threading.current_thread() is threading.main_thread():  # nobody else may set handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Find out who else takes part."""
        self.rank, self.ranks = args.process_index, args.world_size
        if self.ranks > 1 and self._group is None:
            self._group = torch.distributed.new_group(backend="gloo")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Save and stop if any rank was asked to."""
        if self._any_asked() and state.global_step < state.max_steps:
            self.stopped = True
            control.should_save = control.should_training_stop = True

    def _any_asked(self) -> bool:
        if self.ranks == 1:
            return self.asked
        asked = torch.tensor([int(self.asked)])
        torch.distributed.all_reduce(asked, op=torch.distributed.ReduceOp.MAX, group=self._group)
        return bool(asked.item())

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


def log_callbacks(names: Sequence[str], out: Path) -> "list[TrainerCallback]":
    """transformers' callbacks for those logs; pass them to the trainer, with `report_to="none"`.

    Arguments: `names` from `chosen_logs`; `out`, the run's folder, where TensorBoard's files go into
    `tensorboard/`. The other two call the run by the training arguments' `run_name` and put it under the
    project `codequarry`, unless their environment variables say otherwise.
    """
    from transformers.integrations.integration_utils import TrackioCallback, WandbCallback

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
    goes on in its folder, and what was logged after its checkpoint is taken back first.

    folder: where the files go; the environment variable `TENSORBOARD_LOGGING_DIR` has the last word.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.logging_dir = os.environ.get("TENSORBOARD_LOGGING_DIR", str(folder))

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the files on the main rank, and forget the steps that will come again."""
        if state.is_world_process_zero and self.tb_writer is None:
            self.tb_writer = self._SummaryWriter(
                log_dir=self.logging_dir, purge_step=state.global_step + 1 if state.global_step else None
            )
        super().on_train_begin(args, state, control, **kwargs)  # type: ignore[no-untyped-call]
