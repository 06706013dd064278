"""Tables as Markdown writes them."""

from collections.abc import Collection, Sequence


def markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]], words: Collection[str] = ()) -> str:
    """A table with its first column, and those whose heads are `words`, on the left; numbers on the right.

    Raises ValueError for a line with more or fewer cells than there are heads.

    >>> print(markdown_table(["model", "seconds"], [["nano", "1.5"]]))
    | model | seconds |
    | --- | --: |
    | nano | 1.5 |
    """
    for cells in lines:
        if len(cells) != len(head):
            raise ValueError(f"{len(cells)} cells under {len(head)} heads: {list(cells)} under {list(head)}.")
    rule = ["---" if number == 0 or name in words else "--:" for number, name in enumerate(head)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *lines))


def build_table(rows: Sequence[Sequence[str]]) -> str:
    """The rows below each other, the third and fourth cell, which are counts, set to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        padded = [
            cell.rjust(width) if column in (2, 3) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)
