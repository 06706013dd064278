"""Two plots of what was measured: quality by dimension, quality against speed; each as SVG and as PNG.

Colours are those of Okabe and Ito, which people with any colour vision tell apart; each line has a marker of
its own too, and its name stands beside it. The SVG turns dark where the reader's page is dark. The same
figures give the same bytes.
"""

import html
import io
import os
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _FAINT, _GRID, _PAPER = "#1f2937", "#6b7280", "#e5e7eb", "#ffffff"
_DARK = {_INK: "#e6edf3", _FAINT: "#9198a1", _GRID: "#30363d", _PAPER: "#0d1117"}
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_DARK_COLOURS = {"#0072b2": "#3d9bdc"}  # the one that is too dim on black
_MARKERS = ("o", "s", "D", "^", "v", "P")
_SIZE = (7.2, 4.3)  # inches
_SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that every machine draws the same
    "font.size": 9,
    "svg.fonttype": "path",
    "svg.hashsalt": "codequarry",
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "axes.facecolor": _PAPER,
    "figure.facecolor": _PAPER,
    "savefig.facecolor": _PAPER,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "grid.color": _GRID,
}


@dataclass(frozen=True)
class Curve:
    """One model's scores by dimension: (numbers in a vector, nDCG@10 between 0 and 1)."""

    label: str
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Point:
    """One model: texts encoded in a second, and nDCG@10 between 0 and 1 with its 95% interval."""

    label: str
    speed: float
    score: float
    low: float
    high: float


def write_plot(folder: Path, name: str, figure: "Figure") -> tuple[Path, Path]:
    """Write `name.svg` and `name.png`, each whole or not at all, and give their paths."""
    written = []
    for ending in ("svg", "png"):
        held = io.BytesIO()
        metadata = {"Date": None, "Creator": None} if ending == "svg" else {"Software": None}
        with _styled():
            figure.savefig(held, format=ending, dpi=200, metadata=metadata)
        content = _for_a_page(held.getvalue(), figure) if ending == "svg" else held.getvalue()
        path = folder / f"{name}.{ending}"
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            beside.write_bytes(content)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        written.append(path)
    return written[0], written[1]


def quality_by_dimension(curves: Sequence[Curve], subtitle: str, level: tuple[str, float] | None) -> "Figure":
    """A line a model over the numbers that are kept of each vector.

    level: name and score of something without dimensions, such as BM25, drawn as a dashed line.
    """
    with _styled():
        figure, axes = _empty("Quality by dimension", subtitle)
        dims = sorted({dim for curve in curves for dim, _ in curve.points})
        right = 1.1 * dims[-1]
        names: list[tuple[float, str]] = []
        for curve, colour, marker in zip(curves, _cycled(_COLOURS), _cycled(_MARKERS), strict=False):
            points = sorted(curve.points)
            scores = [100 * score for _, score in points]
            axes.plot(
                [dim for dim, _ in points], scores, color=colour, marker=marker, markersize=5, linewidth=2,
                markeredgecolor=_PAPER, markeredgewidth=0.8, clip_on=False, zorder=3,
            )  # fmt: skip
            if points[-1][0] < dims[-1]:  # shorter vectors end their line early: dots lead on to the name
                axes.plot(
                    [points[-1][0], right], [scores[-1]] * 2, color=colour, linestyle=(0, (1, 3)),
                    linewidth=1.2, zorder=2,
                )  # fmt: skip
            names.append((scores[-1], curve.label))
        if level is not None:
            axes.axhline(100 * level[1], color=_FAINT, linestyle=(0, (4, 3)), linewidth=1.2, zorder=2)
            names.append((100 * level[1], level[0]))
        axes.set_xscale("log", base=2)
        axes.set_xlim(dims[0] / 1.1, right)
        axes.set_xticks(dims, [str(dim) for dim in dims])
        axes.minorticks_off()
        axes.set_xlabel("numbers kept of each vector (Matryoshka dimension)")
        _fit_scores(axes, [score for score, _ in names] + [100 * s for c in curves for _, s in c.points])
        _name_at_the_right(axes, names)
    return figure


def quality_against_speed(
    points: Sequence[Point], subtitle: str, level: tuple[str, float] | None
) -> "Figure":
    """A mark a model: to the right is faster, higher is better; the bar is the 95% interval.

    level: as for `quality_by_dimension`.
    """
    with _styled():
        figure, axes = _empty("Quality against speed", subtitle)
        for point, colour, marker in zip(points, _cycled(_COLOURS), _cycled(_MARKERS), strict=False):
            score = 100 * point.score
            axes.errorbar(
                [point.speed], [score], yerr=[[score - 100 * point.low], [100 * point.high - score]],
                color=colour, marker=marker, markersize=8, elinewidth=1.4, capsize=3,
                markeredgecolor=_PAPER, markeredgewidth=0.8, zorder=3,
            )  # fmt: skip
            axes.annotate(
                point.label, (point.speed, score), xytext=(9, 0), textcoords="offset points", color=_INK,
                va="center", zorder=4,
            )  # fmt: skip
        names: list[tuple[float, str]] = []
        if level is not None:
            axes.axhline(100 * level[1], color=_FAINT, linestyle=(0, (4, 3)), linewidth=1.2, zorder=2)
            names = [(100 * level[1], level[0])]
        axes.set_xscale("log")
        speeds = [point.speed for point in points]
        axes.set_xlim(min(speeds) / 3, max(speeds) * 4)  # names stand to the right of their marks
        _plain_numbers(axes)
        axes.set_xlabel("texts encoded in a second (logarithmic)")
        ends = [100 * value for point in points for value in (point.low, point.high)]
        _fit_scores(axes, ends + [score for score, _ in names])
        _name_at_the_right(axes, names)
    return figure


def _styled() -> AbstractContextManager[None]:
    """Our settings of matplotlib, and none of the user's, for the time of a `with` block."""
    try:
        from matplotlib import rc_context, rcParamsDefault
    except ImportError as error:
        raise ValueError("Plots need one more package: pip install 'codequarry[benchmark]'.") from error
    return rc_context({**rcParamsDefault, **_SETTINGS})


def _empty(title: str, subtitle: str) -> tuple["Figure", "Axes"]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.085, 0.13, 0.70, 0.68))
    figure.text(0.03, 0.925, title, fontsize=13, fontweight="bold", color=_INK)
    figure.text(0.03, 0.87, subtitle, fontsize=8.5, color=_FAINT)
    axes.grid(axis="y", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, pad=5)
    axes.set_ylabel("nDCG@10 (percent)")
    return figure, axes


def _fit_scores(axes: "Axes", scores: Sequence[float]) -> None:
    """The scores' range with room around it, never narrower than ten points: small is to look small."""
    low, high = min(scores), max(scores)
    room = max(1.5, 0.08 * (high - low), (10 - (high - low)) / 2)
    axes.set_ylim(max(0, low - room), min(100, high + room))


def _name_at_the_right(axes: "Axes", names: Sequence[tuple[float, str]]) -> None:
    """Each name beside the end of its line, moved apart where two lines end close together."""
    low, high = axes.get_ylim()
    apart = 0.055 * (high - low)
    at = float("-inf")
    for score, label in sorted(names):
        at = max(score, at + apart)
        axes.annotate(
            label, (1, at), xycoords=("axes fraction", "data"), xytext=(6, 0), textcoords="offset points",
            color=_INK, va="center", annotation_clip=False,
        )  # fmt: skip


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


def _for_a_page(svg: bytes, figure: "Figure") -> bytes:
    """The SVG with its title for those who hear it, and other colours for those whose pages are dark."""
    rules = "".join(
        f'[style*="{kind}: {light}"]{{{kind}:{dark}!important}}'
        for light, dark in (_DARK | _DARK_COLOURS).items()
        for kind in ("fill", "stroke")
    )
    style = f"<style>@media (prefers-color-scheme:dark){{{rules}}}</style>"
    head = f"<title>{html.escape(', '.join(text.get_text() for text in figure.texts))}</title>{style}"
    return re.sub(
        rb"(<svg )([^>]*>)", lambda found: found[1] + b'role="img" ' + found[2] + head.encode(), svg, count=1
    )
