"""How every picture of ours looks and is written.

Colours are those of Okabe and Ito, which people with any colour vision tell apart. The SVG turns dark where
the reader's page is dark. The same figures give the same bytes.
"""

import html
import io
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codequarry.common.errors import UserError
from codequarry.common.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, GRID, PAPER = "#1f2937", "#6b7280", "#e5e7eb", "#ffffff"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_DARK = {INK: "#e6edf3", FAINT: "#9198a1", GRID: "#30363d", PAPER: "#0d1117"}
_DARK_COLOURS = {"#0072b2": "#3d9bdc"}  # the one that is too dim on black
_SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that every machine draws the same
    "font.size": 9,
    "svg.fonttype": "path",
    "svg.hashsalt": "codequarry",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.facecolor": PAPER,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "grid.color": GRID,
}


def styled() -> AbstractContextManager[None]:
    """Our settings of matplotlib, and none of the user's, for the time of a `with` block.

    Raises UserError where matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context, rcParamsDefault
    except ImportError as error:
        raise UserError("Pictures need one more package: pip install 'codequarry[benchmark]'.") from error
    return rc_context({**rcParamsDefault, **_SETTINGS})


def empty_figure(title: str, subtitle: str, size: tuple[float, float]) -> "Figure":
    """A figure of `size` inches with its two lines of heading, and no axes yet; inside `styled()`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size)
    FigureCanvasAgg(figure)
    below = 0.43 / size[1]  # inches from one line to the next, whatever the height
    figure.text(0.03, 1 - 0.75 * below, title, fontsize=13, fontweight="bold", color=INK)
    figure.text(0.03, 1 - 1.3 * below, subtitle, fontsize=8.5, color=FAINT)
    return figure


def plain_axes(axes: "Axes") -> None:
    """Horizontal lines to read values from, a line below, and no box."""
    axes.grid(axis="y", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, pad=5)


def name_at_the_right(axes: "Axes", names: Sequence[tuple[float, str, str]], apart: float = 0.055) -> None:
    """Label each line at its right end, moved vertically as little as keeps the labels from overlapping.

    Arguments: `names`, the value where a line ends, what it is called, and the colour to write it in;
    `apart`, from one name to the next at least, as a share of the axis.
    """
    low, high = axes.get_ylim()
    ordered = sorted(names)
    heights = spread([value for value, _, _ in ordered], apart * (high - low))
    for height, (_, label, colour) in zip(heights, ordered, strict=True):
        axes.annotate(
            label, (1, height), xycoords=("axes fraction", "data"), xytext=(6, 0), textcoords="offset points",
            color=colour, va="center", annotation_clip=False,
        )  # fmt: skip


def spread(values: Sequence[float], apart: float) -> list[float]:
    """Rising values moved as little as possible (in squares) so that each is `apart` above the one before.

    Values that crowd form a group, spaced evenly about the group's middle; groups that meet become one.
    """
    groups: list[tuple[float, int]] = []  # middle and size
    for value in values:
        middle, size = value, 1
        while groups and middle - (size - 1) * apart / 2 < groups[-1][0] + (groups[-1][1] + 1) * apart / 2:
            below, count = groups.pop()
            middle, size = (middle * size + below * count) / (size + count), size + count
        groups.append((middle, size))
    return [middle + (place - (size - 1) / 2) * apart for middle, size in groups for place in range(size)]


def write_picture(path: Path, figure: "Figure") -> None:
    """Write `figure` to `path`, an SVG or PNG by its ending, whole or not at all."""
    held = io.BytesIO()
    kind = path.suffix[1:]
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    with styled():
        figure.savefig(held, format=kind, dpi=200, metadata=metadata)
    content = _for_a_page(held.getvalue(), figure) if kind == "svg" else held.getvalue()
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


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
