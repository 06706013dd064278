"""Questions to documentation: the heading of a section → the section, from five projects' Markdown."""

import html
import re
from collections.abc import Iterator

from codequarry.data.eval_set import EvalSet
from codequarry.data.sources.eval_readers.from_pairs import set_of_pairs
from codequarry.data.sources.schema import Files

_SHORTEST, _LONGEST = 200, 7000  # characters of a section; a longer one is a page
_CUT = 2500  # characters that are kept
_DEEPEST = 4  # level of a heading
# Headings that say nothing of what they stand over.
_EMPTY_HEADINGS = frozenset({"additional resources", "next steps", "return values", "see also"})

_TAGS = re.compile(
    r"</?(?:div|span|p|a|img|br|hr|sup|sub|details|summary|table|tr|td|th|b|i|em|strong|h[1-6]|code|li|ul|ol"
    r"|kbd|small|video|section|center|iframe)(?:\s[^>]*)?/?>",
    re.I,
)
_FRONT_MATTER = re.compile(r"---\n(.*?)\n---\n", re.S)
_TITLE_FIELD = re.compile(r"^title:\s*(.*)$", re.M)
_FENCE = re.compile(r"\s*(```+|~~~+)")
_HEADING = re.compile(r"(#{1,6})\s+(.*)")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_Part = tuple[int, str, list[str]]  # level and words of a heading, and the lines below it


def read_docs_qa(files: Files) -> EvalSet:
    """Every section of two words or more in its heading, and of at least 200 characters."""
    pairs = (
        (question, section, "")
        for _, content in files
        for question, section in sections(content.decode("utf-8", "replace").replace("\r\n", "\n"))
    )
    return set_of_pairs("docs_qa", "qa", pairs)


def sections(page: str) -> Iterator[tuple[str, str]]:
    """(question, section) of a page of Markdown.

    The question is the heading, with the page's title in parentheses unless the heading asks or says it.
    """
    front = _FRONT_MATTER.match(page)
    parts = list(_split(page[front.end() :] if front else page))
    title = _title(front[1] if front else "", parts)
    for level, heading, lines in parts:
        question = _plain_heading(heading)
        if len(question.split()) < 2 or level > _DEEPEST or question.lower() in _EMPTY_HEADINGS:
            continue
        section = _plain_section("\n".join(lines))
        if _SHORTEST <= len(section) <= _LONGEST:
            named = not title or question.endswith("?") or title.lower() in question.lower()
            yield question if named else f"{question} ({title})", section[:_CUT].rstrip("\n")


def _title(front_matter: str, parts: list[_Part]) -> str:
    if field := _TITLE_FIELD.search(front_matter):
        return _plain_heading(field[1].strip().strip("\"'"))
    return next((_plain_heading(heading) for level, heading, _ in parts if level == 1), "")


def _split(text: str) -> Iterator[_Part]:
    """Level, heading and lines of every section; a line of code that begins with # is no heading."""
    current: _Part | None = None
    fence = ""
    for line in text.split("\n"):
        if mark := _FENCE.match(line):
            if not fence:
                fence = mark[1][:3]
            elif line.strip().startswith(fence):
                fence = ""
        heading = None if fence else _HEADING.match(line)
        if heading:
            if current:
                yield current
            current = (len(heading[1]), heading[2], [])
        elif current:
            current[2].append(line)
    if current:
        yield current


def _plain_heading(heading: str) -> str:
    text = _LINK.sub(r"\1", re.sub(r"\s*\{.*?\}", "", heading))
    return html.unescape(_TAGS.sub("", text.replace("`", ""))).strip(" #")


def _plain_section(text: str) -> str:
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r":::.*", "", text)  # VitePress's and Microsoft's containers
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", " ", text)
    text = re.sub(r"\[![^\]]*\]", "", text)  # [!NOTE], [!VIDEO …]
    text = html.unescape(_TAGS.sub("", _LINK.sub(r"\1", text)))
    return re.sub(r"\n\s*\n\s*\n", "\n\n", text).strip()
