"""TensorBoard's files of a run, one curve also where the run was stopped and continued."""

import os
from pathlib import Path
from typing import Any

from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import TensorBoardCallback


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
