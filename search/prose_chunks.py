"""Documentation cut into prose chunks: at headings, and a long section at its paragraphs."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from codequarry.data.parsing.parse import SourceFile
from codequarry.search.chunk import Chunk

PROSE_LANGUAGES = frozenset({"markdown", "rst", "text"})
LONGEST = 1500  # characters, some 350 tokens; a longer section is cut at paragraphs, a longer line at spaces
LONGEST_TITLE = 200  # characters

_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")  # ```one line``` is a span, not a fence
_MARKDOWN_HEADING = re.compile(r" {0,3}(#{1,6})(?=\s)")
_RULE = re.compile(r"([=\-~^\"'`#*+.:_])\1{2,}$")


@dataclass(frozen=True, slots=True)
class _Heading:
    """A heading on lines `line` to `last`."""

    line: int
    last: int
    level: int
    title: str


def prose_chunks(source: SourceFile) -> list[Chunk]:
    """The prose chunks of a Markdown, reStructuredText or text file, in the order of their lines.

    Of a file of code, those of its passages of Markdown.
    """
    lines = source.text.split("\n")
    if source.language in PROSE_LANGUAGES:
        return _chunks(source.path, lines, source.language, 0)
    found: list[Chunk] = []
    for first, last in source.prose:
        found += _chunks(source.path, lines[first - 1 : last], "markdown", first - 1)
    return found


def _chunks(path: str, lines: Sequence[str], language: str, above: int) -> list[Chunk]:
    """The chunks of these lines, with so many lines of the file above them."""
    fences = language == "markdown"
    ends = [0, *itertools.accumulate(len(line) + 1 for line in lines)]  # characters up to a line, to its end
    chunks = []
    for start, end, title in _sections(lines, language):
        for first, last in _paragraph_groups(lines, start, end, fences, ends):
            whole = "\n".join(lines[first - 1 : last]).strip()
            place = (first + above, last + above, start + above, title)
            chunks += [
                Chunk("prose", path, *place, text)
                for text in ([whole] if first < last else _cut_line(whole))
                if any(map(str.isalnum, text))
            ]
    return chunks


def _cut_line(line: str) -> list[str]:
    """A line in pieces of at most LONGEST characters, cut at spaces where it has any."""
    pieces, start = [], 0
    while len(line) - start > LONGEST:
        space = line.rfind(" ", start + LONGEST // 2, start + LONGEST)
        end = space if space > 0 else start + LONGEST
        pieces.append(line[start:end].strip())
        start = end
    return [*pieces, line[start:].strip()]


def _sections(lines: Sequence[str], language: str) -> Iterator[tuple[int, int, str]]:
    """First line, last line and heading path of each section. A heading with no text of its own opens the
    section below it, so that no chunk is a bare heading."""
    if language == "text":
        yield 1, len(lines), ""
        return
    headings = list(_markdown_headings(lines) if language == "markdown" else _rst_headings(lines))
    start = 1
    path: list[_Heading] = []
    # Without a heading only the None is left over.
    for heading, following in zip(headings, [*headings[1:], None], strict=False):
        if not path and heading.line > 1:
            yield 1, heading.line - 1, ""
            start = heading.line
        path = [above for above in path if above.level < heading.level] + [heading]
        end = following.line - 1 if following else len(lines)
        if following and not any(map(str.strip, lines[heading.last : end])):
            continue
        yield start, end, " > ".join(part.title for part in path)
        start = end + 1
    if not headings:
        yield 1, len(lines), ""


def _markdown_headings(lines: Sequence[str]) -> Iterator[_Heading]:
    fence = ""
    for number, line in enumerate(lines, start=1):
        fence = _fence_after(line, fence)
        if not fence and (match := _MARKDOWN_HEADING.match(line)):
            title = line[match.end() :].strip().rstrip("#").rstrip()
            yield _Heading(number, number, len(match[1]), title[:LONGEST_TITLE])


def _fence_after(line: str, fence: str) -> str:
    """The fence that is open after this line, "" for none."""
    match = _FENCE.match(line)
    if not match:
        return fence
    if not fence:
        return match[1]
    closes = match[1].startswith(fence) and not line.strip().strip(fence[0])
    return "" if closes else fence


def _rst_headings(lines: Sequence[str]) -> Iterator[_Heading]:
    styles: list[str] = []  # in the order they appear: that is how reStructuredText ranks headings
    for number in range(1, len(lines)):
        title, under = lines[number - 1].rstrip(), lines[number].rstrip()
        above = lines[number - 2].rstrip() if number > 1 else ""
        if title.strip() and not _RULE.match(title) and _RULE.match(under) and len(under) >= len(title):
            overlined = above == under
            if title.startswith(" ") and not overlined:
                continue
            style = under[0] * (1 + overlined)
            if style not in styles:
                styles.append(style)
            yield _Heading(number - overlined, number + 1, styles.index(style), title.strip()[:LONGEST_TITLE])


def _paragraph_groups(
    lines: Sequence[str], start: int, end: int, fences: bool, ends: Sequence[int]
) -> Iterator[tuple[int, int]]:
    """Neighbouring paragraphs together while they fit in LONGEST characters; a code block counts as one."""
    group: tuple[int, int] | None = None
    for first, last in _paragraphs(lines, start, end, fences, ends):
        if group is None:
            group = (first, last)
        elif ends[last] - ends[group[0] - 1] <= LONGEST:
            group = (group[0], last)
        else:
            yield group
            group = (first, last)
    if group:
        yield group


def _paragraphs(
    lines: Sequence[str], start: int, end: int, fences: bool, ends: Sequence[int]
) -> Iterator[tuple[int, int]]:
    fence, first = "", 0
    for number in range(start, end + 1):
        filled = bool(lines[number - 1].strip())
        fence = _fence_after(lines[number - 1], fence) if fences else ""
        # A list or table may have no blank line for pages.
        too_long = first and ends[number] - ends[first - 1] > LONGEST
        if first and (too_long or not (filled or fence)):
            yield first, number - 1
            first = 0
        if filled and not first:
            first = number
    if first:
        yield first, end
