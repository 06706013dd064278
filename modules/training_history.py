"""What a trainer's `state.log_history` tells: losses and validation scores by optimiser step."""

from collections.abc import Mapping, Sequence
from typing import Any

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
