"""Jupyter notebooks as text: the sources of their cells, each line where it is in the file.

Jupyter writes a notebook with one line of source on a line of the file. The text here has as many lines as
the file: those of the cells in their places, and blank ones for everything else, so that a line number found
in it is one of the file. A notebook in another layout is read as its cells one after the other, with a blank
line between, and lines are counted in that text. Outputs are never read.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from codequarry.data.parsing.definitions import unix_lines


@dataclass(frozen=True, slots=True)
class Cell:
    """The lines of one cell, the first of them line `start` of the text."""

    start: int
    lines: tuple[str, ...]
    is_code: bool

    @property
    def end(self) -> int:
        """Its last line."""
        return self.start + len(self.lines) - 1


@dataclass(frozen=True, slots=True)
class Notebook:
    """A notebook as text; `language` is what its kernel calls its own, in lower case, or ""."""

    text: str
    language: str
    cells: tuple[Cell, ...]


_SOURCE = re.compile(r'\s*"(?:source|input)": *(\[)?')


def read_notebook(text: str) -> Notebook | None:
    """The notebook in a text of JSON; None where it is none."""
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(notebook, dict) or not isinstance(
        notebook.get("cells", notebook.get("worksheets")), list
    ):
        return None
    sources = list(_sources(notebook))
    rows = _rows(text.split("\n"), [parts for parts, _ in sources])
    lines = [""] * len(text.split("\n")) if rows is not None else []
    cells = []
    for number, (parts, is_code) in enumerate(sources):
        source = tuple(unix_lines("".join(parts)).rstrip("\n").split("\n"))
        row = rows[number] if rows is not None else len(lines)
        lines[row : row + len(source)] = source
        lines += [""] if rows is None else []
        cells.append(Cell(row + 1, source, is_code))
    return Notebook("\n".join(lines), _language(notebook), tuple(cells))


def _language(notebook: dict[str, Any]) -> str:
    metadata = notebook.get("metadata")
    for name, key in (("kernelspec", "language"), ("language_info", "name"), ("kernelspec", "name")):
        about = metadata.get(name) if isinstance(metadata, dict) else None
        if isinstance(about, dict) and isinstance(about.get(key), str):
            return str(about[key]).lower()
    return ""


def _sources(notebook: dict[str, Any]) -> Iterator[tuple[list[str], bool]]:
    """The source of each cell that has one, in the parts the file gives it in, and whether it is code."""
    sheets = notebook.get("worksheets")  # format 3
    holders = [notebook, *sheets] if isinstance(sheets, list) else [notebook]
    for holder in holders:
        cells = holder.get("cells") if isinstance(holder, dict) else None
        for cell in cells if isinstance(cells, list) else []:
            source = cell.get("source", cell.get("input")) if isinstance(cell, dict) else None
            parts = [source] if isinstance(source, str) else source if isinstance(source, list) else []
            texts = [part for part in parts if isinstance(part, str)]
            if len(texts) == len(parts) and "".join(texts).strip():
                yield texts, cell.get("cell_type") == "code"


def _rows(lines: Sequence[str], sources: Sequence[list[str]]) -> list[int] | None:
    """The row, from 0, on which each source begins; None where a line of one has no row of its own."""
    rows: list[int] = []
    row = 0
    for parts in sources:
        if any("\n" in part[:-1] for part in parts) or not all(part.endswith("\n") for part in parts[:-1]):
            return None
        at = next((at for at in range(row, len(lines)) if _begins(lines, at, parts)), None)
        if at is None:
            return None
        rows.append(at + lines[at].rstrip().endswith("["))
        row = at + len(parts)
    return rows


def _begins(lines: Sequence[str], at: int, parts: Sequence[str]) -> bool:
    """Whether this source is at row `at`: on the rows below `"source": [`, or behind `"source": `."""
    match = _SOURCE.match(lines[at])
    if match is None:
        return False
    written = lines[at + 1 : at + 1 + len(parts)] if match[1] else [lines[at][match.end() :]]
    return len(written) == len(parts) and all(map(_is_written, written, parts))


def _is_written(line: str, part: str) -> bool:
    try:
        return bool(json.loads(line.strip().removesuffix(",")) == part)
    except (ValueError, RecursionError):
        return False
