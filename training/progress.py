"""The one line that a person watches while a model trains."""

import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from tqdm import tqdm
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import DEFAULT_PROGRESS_CALLBACK

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
    """Steps done, loss, pairs a second, time left, last validation; on the main rank only.

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

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
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

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the clock; finding its place in the data again may take a resumed run a while."""
        if self._started is None:
            self._started = self._mark = time.perf_counter()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """One step on."""
        now = time.perf_counter()
        self._seconds.append(now - self._mark)
        self._mark = now
        if self._bar is not None:
            self._bar.set_postfix_str(self._numbers(state), refresh=False)
            self._bar.update()

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """A plain line where nobody sees a bar."""
        if state.is_world_process_zero and self._bar is None and "loss" in kwargs["logs"]:
            print(f"step {state.global_step}/{state.max_steps}, {self._numbers(state)}", flush=True)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The scores of a validation, in percent."""
        scores = scores_in(kwargs["metrics"])
        if state.is_world_process_zero and scores:
            line = (
                f"validation at step {state.global_step}, nDCG@10: {self._scores(scores, state.best_metric)}"
            )
            tqdm.write(line) if self._bar is not None else print(line, flush=True)
        if self._bar is not None:
            self._bar.set_postfix_str(self._numbers(state))
        self._mark = time.perf_counter()

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """The time that saving took belongs to no step."""
        self._mark = time.perf_counter()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _numbers(self, state: TrainerState) -> str:
        told = []
        _, values = losses(state.log_history)
        if values:
            told.append(f"loss {smoothed(values)[-1]:.3f}")
        if self._seconds:
            told.append(f"{self.pairs_per_step * len(self._seconds) / sum(self._seconds):,.1f} pairs/s")
            assert self._started is not None
            a_step = (time.perf_counter() - self._started) / (state.global_step - self._first_step)
            left = tqdm.format_interval(a_step * (state.max_steps - state.global_step))
            told.append(f"{left} left")
        scored = validations(state.log_history)
        if self.metric is not None and scored:
            told.append(f"{self.metric} {100 * scored[-1][self.metric]:.1f}")
        return ", ".join(told)

    def _scores(self, scores: dict[str, float], best: float | None) -> str:
        """`mean 71.3 (best so far), nl2code 70.2, mean at 128 69.9`, the deciding one first."""
        if self.metric is not None:
            scores = {self.metric: scores[self.metric]} | scores
        told = []
        for name, score in scores.items():
            of, _, size = name.removesuffix("_ndcg@10").partition("_")
            new = name == self.metric and best is not None and score > best
            told.append(
                f"{of}{f' at {size}' if size else ''} {100 * score:.1f}{' (new best)' if new else ''}"
            )
        return ", ".join(told)


_KEPT = 0.9  # share of the mean so far that one more value leaves; a value counts for about ten lines

_PREFIX = "eval_"  # the trainer's, before each score

History = Sequence[Mapping[str, Any]]


def losses(history: History) -> tuple[list[int], list[float]]:
    """The steps at which a loss was logged, and each loss: the mean since the one before."""
    found = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    return [step for step, _ in found], [loss for _, loss in found]


def validations(history: History) -> list[dict[str, Any]]:
    """Each validation: its `step`, and its scores by the names of `score_names`.

    >>> validations([{"step": 100, "epoch": 0.1, "eval_mean_ndcg@10": 0.71, "eval_runtime": 3.2}])
    [{'step': 100, 'mean_ndcg@10': 0.71}]
    """
    found = []
    for entry in history:
        scores = scores_in(entry)
        if scores:
            found.append({"step": entry["step"], **scores})
    return found


def scores_in(entry: Mapping[str, Any]) -> dict[str, float]:
    """The scores of one validation among all that the trainer reports with them."""
    return {
        name.removeprefix(_PREFIX): value
        for name, value in entry.items()
        if name.startswith(_PREFIX) and name.endswith("@10")
    }


def smoothed(values: Sequence[float]) -> list[float]:
    """The mean of each value and those before it, the later ones weighing more (an exponential average).

    It starts at the first value, not at zero. Steps of different tasks have losses of different size, so a
    single one says little.
    """
    mean = weight = 0.0
    means = []
    for value in values:
        mean = _KEPT * mean + (1 - _KEPT) * value
        weight = _KEPT * weight + (1 - _KEPT)
        means.append(mean / weight)
    return means
