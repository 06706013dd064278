"""Values as a reader of the card meets them: counts, scores, times, and what was never measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from codequarry.model_card.card import NOT_MEASURED

Table = list[list[str]]  # the heads, then a row a line; [] where there is nothing to show


def measured(value: Any) -> str:
    """The value in words, "not measured" where there is none."""
    if value is None or value == "" or value == {} or value == () or value == []:
        return NOT_MEASURED
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def listed(values: Mapping[str, Any] | None) -> str:
    """`key value` pairs in one line. A list with nothing in it was looked for and not found: `none`."""
    words = [
        f"{key.replace('_', ' ')} {'none' if value in ([], ()) else measured(value)}"
        for key, value in (values or {}).items()
        if value is not None
    ]
    return ", ".join(words) or NOT_MEASURED


def counted(value: int | None) -> str:
    """A count with commas between thousands."""
    return NOT_MEASURED if value is None else f"{value:,}"


def scored(value: float | None) -> str:
    """A score between 0 and 1, with three decimals."""
    return NOT_MEASURED if value is None else f"{value:.3f}"


def timed(seconds: float | None) -> str:
    """A time in the unit that fits."""
    if seconds is None:
        return NOT_MEASURED
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} seconds"
    return f"{minutes} minutes" if minutes < 120 else f"{seconds / 3600:.1f} hours"


def table(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table in Markdown, "not measured" where it has no rows.

    left: how many columns hold words and stand on the left; the others hold numbers.

    >>> print(table([["set", "nDCG@10"], ["conala", "0.849"]]))
    | set | nDCG@10 |
    | --- | ---: |
    | conala | 0.849 |
    """
    if len(rows) < 2:
        return NOT_MEASURED
    rule = ["---"] * left + ["---:"] * (len(rows[0]) - left)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (rows[0], rule, *rows[1:]))
