"""Tables for Markdown pages and for the terminal."""

import re
from collections.abc import Collection, Sequence

from codequarry.common.errors import UserError


def markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]], words: Collection[str] = ()) -> str:
    """A table with its first column, and those whose heads are `words`, on the left; numbers on the right.

    Raises UserError for a line with more or fewer cells than there are heads.

    >>> print(markdown_table(["model", "seconds"], [["nano", "1.5"]]))
    | model | seconds |
    | --- | --: |
    | nano | 1.5 |
    """
    for cells in lines:
        if len(cells) != len(head):
            raise UserError(f"{len(cells)} cells under {len(head)} heads: {list(cells)} under {list(head)}.")
    rule = ["---" if number == 0 or name in words else "--:" for number, name in enumerate(head)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *lines))


def text_table(
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[int] = (),
    rule: bool = False,
    widths: Sequence[int] = (),
) -> str:
    """The rows below each other for a terminal, with two blanks between columns.

    Arguments: `right`, the columns aligned on the right; `rule`, a line of dashes below the first row;
    `widths`, of the columns at least.

    >>> print(text_table([["files", ""], ["read", "12"]], right=[1]))
    files
    read   12
    """
    widths = [
        max(least, *map(len, column))
        for least, column in zip(widths or [0] * len(rows[0]), zip(*rows, strict=True), strict=True)
    ]
    lines = []
    for row in rows:
        cells = (
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    if rule:
        lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def count_table(rows: Sequence[Sequence[str]]) -> str:
    """`text_table` of names in the first column and counts in the others, with a rule below the heads."""
    return text_table(rows, right=range(1, len(rows[0])), rule=True)


# Controls, marks that turn the direction of writing, separators of lines, halves of characters: what a
# terminal obeys or cannot print.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


def shown(text: str, *, json: bool = False) -> str:
    r"""The text for a terminal, with what would steer it written as an escape sequence.

    json: the text is JSON: its line ends stay, and the escape sequences are JSON's own.

    >>> print(shown("\x1b[31mred.py"))
    \x1b[31mred.py
    """

    def escaped(found: "re.Match[str]") -> str:
        number = ord(found[0])
        if json:
            return found[0] if found[0] in "\n\t\r" else f"\\u{number:04x}"
        return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"

    return _UNPRINTABLE.sub(escaped, text)
