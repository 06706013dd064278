"""What a build made, as a table in plain text."""

from collections.abc import Sequence


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
