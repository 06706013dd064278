"""Which checkpoint becomes the model, and when further steps are not worth it."""

import logging
import sys
from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback, TrainerControl, TrainerState, TrainingArguments

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
