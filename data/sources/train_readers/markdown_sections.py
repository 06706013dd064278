"""Documentation in Markdown as sections: what each heading says, without links, comments and page markup."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(r"\s*(```+|~~~+)")
_HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*#*\s*$")
_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"^title:\s*(.+?)\s*$", re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_ANCHOR = re.compile(r"\s*(?:\{/\*.*?\*/\}|\{#[\w-]+\})")
_INCLUDE = re.compile(r"\[!(?:INCLUDE|code)[^\]]*(?:\[[^\]]*\])?\([^)]*\)\]", re.IGNORECASE)
_ALERT = re.compile(r"^> \[!\w+\]\s*$\n?", re.MULTILINE)
_TRIPLE_COLON = re.compile(r"^[ \t]*:::.*?(?::::)?[ \t]*$\n?", re.MULTILINE)
_IMAGE = re.compile(r"!\[[^\]]*\](?:\([^)]*\)|\[[^\]]*\])")
_LINK = re.compile(r"(?<!\!)\[((?:[^\[\]]|\[[^\[\]]*\])+)\]\((?:[^()\s]|\([^()]*\))*(?:\s+\"[^\"]*\")?\)")
_REFERENCE = re.compile(r"\[([^\[\]]+)\]\[[^\[\]]*\]")
_DEFINITION = re.compile(r"^\[[^\]]+\]:\s+\S.*$\n?", re.MULTILINE)
_TAG = re.compile(
    r"</?(?:a|b|br|code|details|div|em|hr|i|img|kbd|li|ol|p|span|strong|sub|summary|sup|table|td|th|tr|u|ul)"
    r"(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+\n")


@dataclass(frozen=True)
class Section:
    """One heading with the text up to the next heading of any level.

    level: 1 for the page's title, 0 for text before any heading.
    """

    level: int
    heading: str
    text: str


def page_title(page: str) -> str:
    """The title in a page's front matter, else its first heading of level 1, else ""."""
    front = _FRONT_MATTER.match(page)
    if front and (found := _TITLE.search(front[1])):
        return found[1].strip("\"'").strip()
    return next((part.heading for part in sections(page) if part.level == 1), "")


def sections(page: str) -> Iterator[Section]:
    """The sections of a page in order, as written; a `#` inside a code fence is no heading."""
    level, heading, lines, fence = 0, "", list[str](), ""
    for line in _FRONT_MATTER.sub("", page.replace("\r\n", "\n"), count=1).split("\n"):
        if found := _FENCE.match(line):
            if not fence:
                fence = found[1]
            elif found[1].startswith(fence) and line.strip() == found[1]:
                fence = ""
        title = None if fence else _HEADING.match(line)
        if title:
            yield Section(level, heading, "\n".join(lines))
            level, heading, lines = len(title[1]), _ANCHOR.sub("", title[2]), []
        else:
            lines.append(line)
    yield Section(level, heading, "\n".join(lines))


def plain(text: str) -> str:
    """Markdown without links, images, comments, alerts and page markup; code fences stay as they are."""
    parts = re.split(r"(^[ \t]*```.*?^[ \t]*```[ \t]*$)", text, flags=re.DOTALL | re.MULTILINE)
    parts[::2] = [_prose(part) for part in parts[::2]]
    return _BLANK_LINES.sub("\n\n", "".join(parts)).strip()


def _prose(text: str) -> str:
    for pattern in (_COMMENT, _INCLUDE, _ALERT, _TRIPLE_COLON, _IMAGE, _DEFINITION):
        text = pattern.sub("", text)
    text = _LINK.sub(r"\1", text)
    return _TAG.sub("", _REFERENCE.sub(r"\1", text))
