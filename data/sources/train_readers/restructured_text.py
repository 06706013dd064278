"""Documentation in reStructuredText as sections, its links and roles as plain text."""

import re
from collections.abc import Iterator

from codequarry.data.sources.train_readers.markdown_sections import Section

_UNDERLINE = re.compile(r"([=\-~.*^\"'#])\1{2,}\s*$")
_ROLE = re.compile(r":[\w:+-]+:`(?:([^`<]+?)\s*<[^`]*>|([^`]*))`")
_RST_LINK = re.compile(r"`([^`<]+?)\s*<[^`]*>`_{1,2}|`([^`]+)`_{1,2}")
_TARGET = re.compile(
    r"^\.\. (?:_[^:]*:|index::|versionadded::|versionchanged::).*(?:\n[ \t]+.*)*\n?", re.MULTILINE
)
_CODE_BLOCK = re.compile(r"^([ \t]*)\.\. code-block::.*\n", re.MULTILINE)


def restructured(page: str) -> Iterator[Section]:
    """The sections of a reStructuredText page; levels in the order in which underlines first occur.

    Links and roles become their text, and what a `code-block` directive holds stays indented.
    """
    lines, marks = page.replace("\r\n", "\n").split("\n"), list[str]()
    level, heading, body = 0, "", list[str]()
    for number, line in enumerate(lines):
        under = _UNDERLINE.match(lines[number + 1]) if number + 1 < len(lines) else None
        if (
            under
            and line.strip()
            and not line[0].isspace()
            and len(under[0].strip()) >= len(line.strip()) - 2
        ):
            yield Section(level, heading, _rst_plain(body))
            if under[1] not in marks:
                marks.append(under[1])
            level, heading, body = marks.index(under[1]) + 1, line.strip().replace("``", "`"), []
        elif not (_UNDERLINE.match(line) and body == [] and heading):
            body.append(line)
    yield Section(level, heading, _rst_plain(body))


def _rst_plain(lines: list[str]) -> str:
    text = _CODE_BLOCK.sub("", _TARGET.sub("", "\n".join(lines)))
    text = _ROLE.sub(lambda role: f"`{role[1] or role[2]}`", text)
    text = _RST_LINK.sub(lambda link: link[1] or link[2], text)
    return re.sub(r"\n[ \t]*(?:\n[ \t]*)+\n", "\n\n", text).strip()
