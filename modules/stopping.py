"""Stop a run when asked to: finish the step, save, and say how to go on."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import torch
import torch.distributed
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

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
