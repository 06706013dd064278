"""Loss and validation scores of a training run, as a picture beside its weights."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from codequarry.modules.tasks import TASKS
from codequarry.recipes.schema import MEAN, score_name
from codequarry.training.progress import History, losses, smoothed, validations

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVES = "curves.svg"


def write_curves(folder: Path, history: History, name: str, metric: str | None = None) -> Path:
    """Write `curves.svg` into `folder`, and give its path.

    Arguments: as for `draw_curves`. Raises ValueError where matplotlib is not installed.
    """
    figure = draw_curves(history, name, metric)
    write_picture(folder / CURVES, figure)
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
        axes = [figure.add_axes((0.095, bottom, 0.72, height)) for bottom, height in _places(bool(scored))]
        for one in axes:
            plain_axes(one)
            one.set_xlim(0, max(last, 1))
        axes[-1].set_xlabel("optimiser steps")
        _draw_losses(axes[0], steps, values)
        if scored:
            axes[0].tick_params(labelbottom=False)
            _draw_scores(axes[1], scored, metric)
        if best:
            axes[1].plot(
                -best[1], best[0], marker="o", markersize=9, markerfacecolor="none",
                markeredgecolor=INK, clip_on=False, zorder=5,
            )  # fmt: skip
    return figure


def _places(two: bool) -> list[tuple[float, float]]:
    """Bottom and height of each panel, as shares of the figure."""
    return [(0.55, 0.335), (0.085, 0.42)] if two else [(0.14, 0.67)]


def _draw_losses(axes: "Axes", steps: list[int], values: list[float]) -> None:
    axes.plot(steps, values, color=COLOURS[0], linewidth=0.8, alpha=0.35, zorder=2)
    axes.plot(steps, smoothed(values), color=COLOURS[0], linewidth=2, zorder=3)
    axes.set_ylabel("loss, and smoothed")


def _draw_scores(axes: "Axes", scored: list[dict[str, Any]], metric: str | None) -> None:
    """A line a task and one for their mean; of shorter vectors only the mean, dashed, and what decides."""
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
