"""The record of a run: training.json, and its losses and scores as a picture."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codequarry.common.environment import describe_machine, package_versions
from codequarry.common.errors import UserError
from codequarry.common.files import read_json
from codequarry.common.plots import (
    COLOURS,
    INK,
    PAPER,
    empty_figure,
    name_at_the_right,
    plain_axes,
    styled,
    write_picture,
)
from codequarry.data.catalog.registry import TRAIN_SOURCES, hub_sources
from codequarry.data.catalog.schema import Hub, Licence
from codequarry.data.mixture import source_of, task_of
from codequarry.data.validation_split import REPOSITORIES
from codequarry.modules.backbone import ADAPTERS
from codequarry.modules.tasks import TASKS
from codequarry.recipes.schema import MEAN, Recipe, score_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from codequarry.training.mixture import Mixture, SelectedPairs
    from codequarry.training.trainer import PairTrainer

RECORD = "training.json"
_LARGEST = 16_000_000  # bytes of a record that is read; those of a thousand sources take 1 MB


def source_record(
    name: str,
    pairs: int,
    share: float,
    batches: int,
    batch_size: int,
    licences: Mapping[str, Licence],
    repositories: Iterable[str] = (),
) -> dict[str, Any]:
    """One row of the record; its licence is None where the catalogue has none, of `*/*` all that it has.

    `datasets`, the Hub names of what the source was read from, is left out of other sources.

    Arguments: `name`, `source:task`; `pairs`, to draw from; `share`, of the batches; `batches`, drawn, of
    `batch_size` pairs; `repositories`, those that are together in `*/*`.
    """
    source = source_of(name)
    pooled = sorted({licences[one].spdx for one in repositories if one in licences})
    of_source = {REPOSITORIES: ", ".join(pooled)} if pooled else {}
    row = TRAIN_SOURCES.get(source) or hub_sources().get(source)
    places = row.where if row is not None else ()
    datasets = list(dict.fromkeys(place.dataset for place in places if isinstance(place, Hub)))
    return {
        "source": source,
        "task": task_of(name),
        "pairs": pairs,
        "licence": licences[source].spdx if source in licences else of_source.get(source),
        "share": round(share, 4),
        "batches_drawn": batches,
        "pairs_drawn": batches * batch_size,
        **({"datasets": datasets} if datasets else {}),
    }


def run_record(
    recipe: Recipe,
    trainer: "PairTrainer",
    mixture: "Mixture",
    selected: "SelectedPairs",
    *,
    loss: float,
    ranks: int,
    precision: str,
    packed: bool,
    grad_cache_threshold: int | None,
    final_scores: Mapping[str, float] | None,
) -> dict[str, Any]:
    """The content of a run's training.json: recipe, what was computed and how, scores, data, machine.

    Arguments:
        trainer: has finished its run.
        loss: mean over the steps of the run.
        ranks: processes that trained together.
        precision: of a step: bf16, fp16 or fp32.
        packed: the texts of a batch were in one row without padding.
        grad_cache_threshold: see `MiniBatchLoss`; None: gradients are never cached.
        final_scores: of the model that is saved; None without validation.

    Where the run began with another one's adapter, `start` is the record of that one.
    """
    evaluator, state, size = mixture.evaluator, trainer.state, recipe.batch_size
    start = recipe.lora.start if recipe.lora is not None else ""
    return {
        "recipe": asdict(recipe),
        "steps": state.global_step,
        "seconds": round(trainer.seconds, 1),
        "loss": round(loss, 4),
        "ranks": ranks,
        "precision": precision,
        "packed": packed,
        "graph_tokens": grad_cache_threshold,
        "validation": {
            "metric": evaluator.primary_metric,
            **mixture.validated_on,
            "scores": validations(state.log_history),
            "best_step": state.best_global_step if trainer.args.load_best_model_at_end else None,
            "model": final_scores,
        }
        if evaluator is not None
        else None,
        "data": [
            source_record(
                name,
                mixture.sizes[name],
                share,
                trainer.drawn[name],
                size,
                selected.licences,
                mixture.repositories,
            )
            for name, share in mixture.shares.items()
        ],
        **({"repositories": mixture.repositories} if mixture.repositories else {}),
        "left_out": mixture.left_out,
        "data_sha256": selected.data_sha256,
        "skipped_pairs": selected.skipped,
        "hardware": describe_machine(),
        "versions": package_versions(),
        **({"start": start_record(start)} if start else {}),
    }


def start_record(name: str) -> dict[str, Any]:
    """The record of the run that made an adapter, its `training.json`.

    It lies in the adapter's folder, or above it where that is the `adapter` folder of a run.

    Arguments: `name` as in a recipe's `lora.start`.

    Raises UserError when there is none, since sources and licences could not be named, or it is damaged.
    """
    folder = ADAPTERS.get(name, Path(name))
    places = [folder, folder.parent] if folder.resolve().name == "adapter" else [folder]
    for file in (place / RECORD for place in places):
        if not file.is_file():
            continue
        try:
            record = read_json(file, _LARGEST)
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"lora.start: {file} cannot be read ({error}).") from error
        if isinstance(record, dict):
            return record
        raise UserError(f"lora.start: {file} holds {type(record).__name__} instead of a record.")
    raise UserError(
        f"lora.start: the adapter in {folder} has no {RECORD}, so the sources and licences that it was "
        "trained on are not known. Pass the adapter folder of a finished run, or of a release."
    )


_KEPT = 0.9  # share of the mean so far that one more value leaves; a value counts for about ten lines

_PREFIX = "eval_"  # the trainer's, before each score

History = Sequence[Mapping[str, Any]]


def losses(history: History) -> tuple[list[int], list[float]]:
    """The steps at which a loss was logged, and each loss: the mean since the last one."""
    found = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    return [step for step, _ in found], [loss for _, loss in found]


def validations(history: History) -> list[dict[str, Any]]:
    """Each validation: its `step`, and its scores by the names of `score_names`.

    >>> validations([{"step": 100, "epoch": 0.1, "eval_mean_ndcg@10": 0.71, "eval_runtime": 3.2}])
    [{'step': 100, 'mean_ndcg@10': 0.71}]
    """
    found = [(entry, scores_in(entry)) for entry in history]
    return [{"step": entry["step"], **scores} for entry, scores in found if scores]


def scores_at(history: History, step: int) -> dict[str, float]:
    """The scores of the validation after `step`, by name; empty where there was none."""
    of_step = (scores_in(entry) for entry in reversed(history) if entry["step"] == step)
    return next((scores for scores in of_step if scores), {})


def scores_in(entry: Mapping[str, Any]) -> dict[str, float]:
    """The scores of one validation among the other values that the trainer logs."""
    return {
        name.removeprefix(_PREFIX): value
        for name, value in entry.items()
        if name.startswith(_PREFIX) and name.endswith("@10")
    }


def smoothed(values: Sequence[float]) -> list[float]:
    """The exponential moving average at each value; it starts at the first value, not at zero.

    Steps of different tasks have losses of different size, so a single one says little.
    """
    mean = weight = 0.0
    means = []
    for value in values:
        mean = _KEPT * mean + (1 - _KEPT) * value
        weight = _KEPT * weight + (1 - _KEPT)
        means.append(mean / weight)
    return means


CURVES = "curves.svg"


def write_curves(folder: Path, history: History, name: str, metric: str | None = None) -> Path:
    """Write `curves.svg` into `folder`, as `draw_curves` draws it; returns its path.

    Raises UserError where matplotlib is not installed.
    """
    write_picture(folder / CURVES, draw_curves(history, name, metric))
    return folder / CURVES


def draw_curves(history: History, name: str, metric: str | None = None) -> "Figure":
    """The loss above and the validation scores below, by optimiser step; the loss alone without scores.

    Arguments:
        history: the trainer's `state.log_history`.
        name: of the run.
        metric: the score that decided; a ring marks its best.
    """
    scored = validations(history)
    steps, values = losses(history)
    last = max([*steps, *(entry["step"] for entry in scored)], default=0)
    # (score in percent, step) of the best validation, the first of equal ones
    best = max(((100 * entry[metric], -entry["step"]) for entry in scored), default=None) if metric else None
    below = f"{last:,} steps" + (f", best {metric} {best[0]:.1f} at step {-best[1]:,}" if best else "")
    with styled():
        figure = empty_figure(f"Training of {name}", below, (7.2, 6.0 if scored else 3.6))
        places = [(0.55, 0.335), (0.085, 0.42)] if scored else [(0.14, 0.67)]  # bottom, height
        axes = [figure.add_axes((0.095, bottom, 0.72, height)) for bottom, height in places]
        for one in axes:
            plain_axes(one)
            one.set_xlim(0, max(last, 1))
        axes[-1].set_xlabel("optimiser steps")
        axes[0].plot(steps, values, color=COLOURS[0], linewidth=0.8, alpha=0.35, zorder=2)
        axes[0].plot(steps, smoothed(values), color=COLOURS[0], linewidth=2, zorder=3)
        axes[0].set_ylabel("loss, and smoothed")
        if scored:
            axes[0].tick_params(labelbottom=False)
            _draw_scores(axes[1], scored, metric)
        if best:
            axes[1].plot(
                -best[1], best[0], marker="o", markersize=9, markerfacecolor="none",
                markeredgecolor=INK, clip_on=False, zorder=5,
            )  # fmt: skip
    return figure


def _draw_scores(axes: "Axes", scored: list[dict[str, Any]], metric: str | None) -> None:
    """A line per task and one for their mean; of shorter vectors only the mean, dashed, and the metric."""
    colours = {MEAN: INK} | dict(zip(TASKS, COLOURS[1:], strict=False))
    names = []
    for name in scored[-1]:
        of, _, size = name.removesuffix(score_name("")).partition("_")
        if name == "step" or (size and of != MEAN and name != metric):
            continue
        scores = [100 * entry[name] for entry in scored]
        axes.plot(
            [entry["step"] for entry in scored], scores, color=colours[of],
            linewidth=2.2 if name == metric else 1.2, linestyle=(0, (3, 2)) if size else "-", marker="o",
            markersize=3, markeredgecolor=PAPER, markeredgewidth=0.5, clip_on=False,
            zorder=4 if name == metric else 3,
        )  # fmt: skip
        names.append((scores[-1], f"{of} {size}".strip(), colours[of]))
    axes.margins(y=0.1)
    axes.set_ylabel("validation nDCG@10 (percent)")
    name_at_the_right(axes, names, apart=0.065)
