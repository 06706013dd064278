"""Plots of what was measured: quality by dimension, against speed and against cost; each as SVG and as PNG.

Colours are those of Okabe and Ito, which people with any colour vision tell apart; each line has a marker of
its own too, and its name stands next to it. The SVG turns dark where the reader's page is dark. The same
figures give the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codequarry.common.plots import (
    COLOURS,
    FAINT,
    INK,
    PAPER,
    empty_figure,
    name_at_the_right,
    plain_axes,
    styled,
    write_picture,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = ("o", "s", "D", "^", "v", "P")
_SIZE = (7.2, 4.3)  # inches


@dataclass(frozen=True)
class Curve:
    """One model's scores by dimension: (numbers in a vector, nDCG@10 between 0 and 1)."""

    label: str
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Point:
    """One model: what it is drawn against, and nDCG@10 between 0 and 1 with its 95% interval.

    speed: the place on the horizontal axis, such as texts encoded per second.
    """

    label: str
    speed: float
    score: float
    low: float
    high: float


def write_plot(folder: Path, name: str, figure: "Figure") -> tuple[Path, Path]:
    """Write `name.svg` and `name.png`, each whole or not at all, and give their paths."""
    written = folder / f"{name}.svg", folder / f"{name}.png"
    for path in written:
        write_picture(path, figure)
    return written


def quality_by_dimension(curves: Sequence[Curve], subtitle: str, level: tuple[str, float] | None) -> "Figure":
    """One line per model over the dimensions that are kept of each vector.

    level: name and score of something without dimensions, such as BM25, drawn as a dashed line.
    """
    with styled():
        figure, axes = _empty("Quality by dimension", subtitle)
        dims = sorted({dim for curve in curves for dim, _ in curve.points})
        right = 1.1 * dims[-1]
        names: list[tuple[float, str, str]] = []
        for curve, colour, marker in zip(curves, _cycled(COLOURS), _cycled(_MARKERS), strict=False):
            points = sorted(curve.points)
            scores = [100 * score for _, score in points]
            axes.plot(
                [dim for dim, _ in points], scores, color=colour, marker=marker, markersize=5, linewidth=2,
                markeredgecolor=PAPER, markeredgewidth=0.8, clip_on=False, zorder=3,
            )  # fmt: skip
            if points[-1][0] < dims[-1]:  # shorter vectors end their line early: dots lead on to the name
                axes.plot(
                    [points[-1][0], right], [scores[-1]] * 2, color=colour, linestyle=(0, (1, 3)),
                    linewidth=1.2, zorder=2,
                )  # fmt: skip
            names.append((scores[-1], curve.label, INK))
        if level is not None:
            axes.axhline(100 * level[1], color=FAINT, linestyle=(0, (4, 3)), linewidth=1.2, zorder=2)
            names.append((100 * level[1], level[0], INK))
        axes.set_xscale("log", base=2)
        axes.set_xlim(dims[0] / 1.1, right)
        axes.set_xticks(dims, [str(dim) for dim in dims])
        axes.minorticks_off()
        axes.set_xlabel("numbers kept of each vector (Matryoshka dimension)")
        _fit_scores(axes, [score for score, _, _ in names] + [100 * s for c in curves for _, s in c.points])
        name_at_the_right(axes, names)
    return figure


def quality_against_speed(
    points: Sequence[Point], subtitle: str, level: tuple[str, float] | None
) -> "Figure":
    """One mark per model: to the right is faster, higher is better; the bar is the 95% interval.

    level: as for `quality_by_dimension`.
    """
    axis = "texts encoded in a second (logarithmic)"
    return _quality_against("Quality against speed", axis, points, subtitle, level)


def quality_against_cost(points: Sequence[Point], subtitle: str) -> "Figure":
    """One mark per contender: to the left is cheaper, higher is better; the bar is the 95% interval.

    Arguments: the `speed` of a point is seconds of the processor for the index of 1,000 documents.
    """
    axis = "seconds of the processor to index 1,000 documents (logarithmic)"
    return _quality_against("Quality against seconds to index", axis, points, subtitle, None)


def _quality_against(
    title: str, axis: str, points: Sequence[Point], subtitle: str, level: tuple[str, float] | None
) -> "Figure":
    with styled():
        figure, axes = _empty(title, subtitle)
        for point, colour, marker in zip(points, _cycled(COLOURS), _cycled(_MARKERS), strict=False):
            score = 100 * point.score
            axes.errorbar(
                [point.speed], [score], yerr=[[score - 100 * point.low], [100 * point.high - score]],
                color=colour, marker=marker, markersize=8, elinewidth=1.4, capsize=3,
                markeredgecolor=PAPER, markeredgewidth=0.8, zorder=3,
            )  # fmt: skip
            left = any(_hides_name(other, point) for other in points)
            axes.annotate(
                point.label, (point.speed, score), xytext=(-9 if left else 9, 0), textcoords="offset points",
                color=INK, ha="right" if left else "left", va="center", zorder=4,
            )  # fmt: skip
        names: list[tuple[float, str, str]] = []
        if level is not None:
            axes.axhline(100 * level[1], color=FAINT, linestyle=(0, (4, 3)), linewidth=1.2, zorder=2)
            names = [(100 * level[1], level[0], INK)]
        axes.set_xscale("log")
        speeds = [point.speed for point in points]
        axes.set_xlim(min(speeds) / 3, max(speeds) * 4)  # names stand to the right of their marks
        _plain_numbers(axes)
        axes.set_xlabel(axis)
        ends = [100 * value for point in points for value in (point.low, point.high)]
        _fit_scores(axes, ends + [score for score, _, _ in names])
        name_at_the_right(axes, names)
    return figure


def _hides_name(other: Point, point: Point) -> bool:
    """Whether the mark of `other` stands where the name of `point` would, to the right of its mark."""
    return 1 < other.speed / point.speed < 3 and abs(other.score - point.score) < 0.015


def _empty(title: str, subtitle: str) -> tuple["Figure", "Axes"]:
    figure = empty_figure(title, subtitle, _SIZE)
    axes = figure.add_axes((0.085, 0.13, 0.70, 0.68))
    plain_axes(axes)
    axes.set_ylabel("nDCG@10 (percent)")
    return figure, axes


def _fit_scores(axes: "Axes", scores: Sequence[float]) -> None:
    """The scores' range with room around it, never narrower than ten points: small is to look small."""
    low, high = min(scores), max(scores)
    room = max(1.5, 0.08 * (high - low), (10 - (high - low)) / 2)
    axes.set_ylim(max(0, low - room), min(100, high + room))


def _plain_numbers(axes: "Axes") -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = axes.get_xlim()
    steps = (1, 2, 5) if high < 100 * low else (1, 3)
    ticks = [tick for power in range(-2, 7) for step in steps if low <= (tick := step * 10.0**power) <= high]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:,.10g}"))


def _cycled(values: Sequence[str]) -> list[str]:
    return list(values) * 20  # more than any plot that can be read
