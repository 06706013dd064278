"""Source files cut into code chunks: along definitions where they are known, along lines where not.

A function or method is one chunk, with the comment above it; a class is the chunk of its head (all lines
before its first method) and those of its methods; what stands between definitions is cut at statements. A
file without definitions becomes overlapping windows of lines. Every line with content is in at least one
chunk. A piece of imports and comments only is not a chunk: it is similar to every query about what it
imports, and answers none of them.

A very long line is data, such as an image in base64: a chunk holds its beginning. What a file of code holds
for people, the Markdown cells of a notebook, is cut as prose.
"""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from codequarry.data.parsing.definitions import Definition
from codequarry.data.parsing.parse import SourceFile
from codequarry.search.chunk import Chunk

LONGEST = 60  # lines; longer pieces are cut where a statement begins. 512 tokens are about 60 lines
WINDOW = 40  # lines, where no definition is known
SHORTEST = 10  # lines; a shorter rest stays with the piece before it
OVERLAP = 8  # lines at most that neighbouring windows share, so that a short function is whole in one
LONGEST_LINE = 1_000  # characters of a line that a chunk holds

# Imports of the languages read here, in one statement or in brackets over several lines; and comments.
_IMPORT_OR_COMMENT = re.compile(
    r"^[ \t]*(?:(?:from\s+[\w.]+\s+)?import\b(?:[^\n(]*\([^)]{0,3000}\)|[^\n]*)|(?:package|using)\s+[\w.]+;?$"
    r"|(?:pub\s+)?use\s+[^;]{0,3000};|#(?:\s|!|include\b)[^\n]*|//[^\n]*)",
    re.MULTILINE,
)
_TRAILING_COMMENT = re.compile(r"(^|\s)(#|//|--).*")


@dataclass(slots=True)
class _Piece:
    """Lines `start` to `end` of the unit that begins at `unit_line`."""

    start: int
    end: int
    unit_line: int
    title: str


def code_chunks(source: SourceFile) -> list[Chunk]:
    """The code chunks of one file, in the order of their lines."""
    lines = [line[:LONGEST_LINE] for line in source.text.split("\n")]
    for first, last in source.prose:
        lines[first - 1 : last] = [""] * (last - first + 1)
    cutter = _Cutter(lines, source.definitions)
    if source.definitions:
        cutter.cover(1, len(lines), source.definitions, "")
    else:
        cutter.add(1, len(lines), "", WINDOW, OVERLAP)
    return [
        Chunk("code", source.path, piece.start, piece.end, piece.unit_line, piece.title, text)
        for piece in cutter.pieces
        if has_content(text := textwrap.dedent("\n".join(lines[piece.start - 1 : piece.end])).strip("\n"))
    ]


def has_content(text: str) -> bool:
    """Whether a piece of code holds anything besides imports, comments and brackets."""
    return any(map(str.isalnum, _IMPORT_OR_COMMENT.sub("", text)))


class _Cutter:
    """Cuts the lines of one file into `pieces`. Line numbers are 1-based and inclusive, as everywhere."""

    def __init__(self, lines: Sequence[str], definitions: Sequence[Definition]) -> None:
        self.lines = lines
        self.pieces: list[_Piece] = []
        # A docstring cut in two would leave a piece that begins in the middle of a sentence.
        self.inside = _in_a_list(lines)
        for definition in definitions:
            self.inside.update(range(definition.comment_start_line + 1, definition.comment_end_line + 1))

    def cover(self, first: int, last: int, definitions: Sequence[Definition], title: str) -> None:
        """Cut lines `first` to `last`, which hold these definitions and belong to the class `title`."""
        position = first
        for definition, inner in _outermost(definitions):
            start = max(position, self.start_with_comment(definition))
            self.add_rest(position, start - 1, title)
            if definition.kind == "class" and inner:
                self.cover(start, definition.end_line, inner, definition.name)
            else:
                before = len(self.pieces)
                self.add(min(start, definition.start_line), definition.end_line, definition.name)
                for piece in self.pieces[before:]:
                    piece.unit_line = start
            position = max(position, definition.end_line + 1)
        self.add_rest(position, last, title)

    def start_with_comment(self, definition: Definition) -> int:
        is_above = 0 < definition.comment_end_line < definition.start_line
        between = self.lines[definition.comment_end_line : definition.start_line - 1]
        is_next = is_above and not any(map(str.strip, between))
        return definition.comment_start_line if is_next else definition.start_line

    def add_rest(self, start: int, end: int, title: str) -> None:
        """Lines outside every definition. A lone closing brace belongs to the piece before it."""
        text = "".join(self.lines[start - 1 : end])
        if self.pieces and text.strip() and not any(map(str.isalnum, text)):
            self.pieces[-1].end = _last_filled(self.lines, start, end)
        else:
            self.add(start, end, title)

    def add(self, start: int, end: int, title: str, longest: int = LONGEST, overlap: int = 0) -> None:
        """Lines `start` to `end` without the blank ones around them, in pieces of about `longest` lines."""
        while start <= end and not self.lines[start - 1].strip():
            start += 1
        if start > end:
            return
        end = _last_filled(self.lines, start, end)
        while end - start >= longest:
            cut = self.best_cut(start, end, longest, overlap)
            if end - cut < SHORTEST:
                break
            self.pieces.append(_Piece(start, _last_filled(self.lines, start, cut - 1), start, title))
            start = next(line for line in range(cut - overlap, cut + 1) if not self.is_inside(line))
        self.pieces.append(_Piece(start, end, start, title))

    def best_cut(self, start: int, end: int, longest: int, overlap: int) -> int:
        """The line that begins the next piece: a statement, least indented, after a blank line.

        `end + 1` when one statement continues to the end: a table of constants is found by its name, and
        its pieces would be useless answers.
        """
        size = end - start + 1
        parts = -(-(size - overlap) // (longest - overlap))
        even = (size + (parts - 1) * overlap) / parts
        earliest, latest = start + int(even * 0.6), start + min(longest, int(even * 1.3))

        def cost(line: int) -> tuple[int, bool, float]:
            text = self.lines[line - 1]
            indent = len(text) - len(text.lstrip())
            return (indent, bool(self.lines[line - 2].strip()), abs(line - start - even))

        near = [line for line in range(earliest, latest + 1) if not self.is_inside(line)]
        later = (line for line in range(latest + 1, end + 1) if not self.is_inside(line))
        return min(near, key=cost) if near else next(later, end + 1)

    def is_inside(self, line: int) -> bool:
        """Whether no piece may begin here: in a docstring or a list of values, or at a closing bracket."""
        text = self.lines[line - 1].strip()
        return not text or text[0] in ")]}" or line in self.inside


def _in_a_list(lines: Sequence[str]) -> set[int]:
    """The lines that continue a list of arguments or values: the code above ends in a comma or bracket."""
    inside: set[int] = set()
    is_open = False
    for number, line in enumerate(lines, start=1):
        if is_open:
            inside.add(number)
        if code := _TRAILING_COMMENT.sub("", line).rstrip():
            is_open = code.endswith((",", "(", "["))
    return inside


def _outermost(definitions: Sequence[Definition]) -> list[tuple[Definition, list[Definition]]]:
    """Definitions that lie in no other one, each with those inside it."""
    nested: list[tuple[Definition, list[Definition]]] = []
    for definition in sorted(definitions, key=lambda each: (each.start_line, -each.end_line)):
        if nested and definition.end_line <= nested[-1][0].end_line:
            nested[-1][1].append(definition)
        else:
            nested.append((definition, []))
    return nested


def _last_filled(lines: Sequence[str], start: int, end: int) -> int:
    while end > start and not lines[end - 1].strip():
        end -= 1
    return end
