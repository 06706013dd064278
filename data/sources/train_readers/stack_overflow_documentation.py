"""The archived Stack Overflow Documentation: what an example is about → its code, or its whole text."""

import re
import textwrap
import zlib
from collections.abc import Iterator

from codequarry.data.pair import Pair
from codequarry.data.sources.schema import Files
from codequarry.data.sources.train_readers.markdown_sections import page_title

_HEADING = re.compile(r"^## (.*)$", re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_DEFINITION = re.compile(r"^\s*\[[^\]]+\]:\s+\S.*$\n?", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[([^\[\]]+)\]\([^()\s]*(?:\([^()]*\))?[^()\s]*\)")
_FENCED = re.compile(r"^```[^\n]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?:^(?: {4}|\t).*(?:\n|\Z)(?:[ \t]*\n(?=(?: {4}|\t)))*)+", re.MULTILINE)
_NOT_EXAMPLES = ("Remarks", "Parameters", "Syntax", "Versions")
_SHORTEST = 80  # characters of code or text
_SHORTEST_WORDS = 20  # characters of explanation
_LONGEST = 3_000


def read_code(files: Files) -> Iterator[Pair]:
    """The longest code block, from 80 characters, of half of the examples that explain theirs in words."""
    for query, text, language, chosen in _examples(files):
        code, explained = _longest_block(text)
        if chosen and explained and len(code) >= _SHORTEST:
            yield Pair("nl2code", query, code[:_LONGEST].rstrip(), "sodocs_nl2code", language)


def read_text(files: Files) -> Iterator[Pair]:
    """The whole text of every other example; no example is in both sets."""
    for query, text, language, chosen in _examples(files):
        code, explained = _longest_block(text)
        if chosen and explained and len(code) >= _SHORTEST:
            continue
        text = re.sub(r"\n{3,}", "\n\n", text).strip("\n").rstrip()
        if len(text.strip()) >= _SHORTEST:
            yield Pair("qa", query, text[:_LONGEST].rstrip(), "sodocs_techqa", language)


def _examples(files: Files) -> Iterator[tuple[str, str, str, bool]]:
    """Query, text and language of each example, and whether a checksum chose it for its code."""
    for path, content in files:
        folder, _, file = path.rpartition("/")
        topic = folder.rpartition("/")[2]
        page = content.decode("utf-8", "replace").replace("\r\n", "\n")
        if file == "_index.md":
            continue
        title, parts = page_title(page), _HEADING.split(page)
        subject = topic.replace("-", " ")
        for heading, text in zip(parts[1::2], parts[2::2], strict=True):
            heading = heading.strip()
            if heading in _NOT_EXAMPLES:
                continue
            said = f"{title} {heading}".lower()
            if subject.lower() in said or title.lower().startswith("getting started"):
                query = f"{heading} ({subject})"
            else:
                query = f"{subject}: {title} - {heading}"
            text = _LINK.sub(r"\1", _DEFINITION.sub("", _COMMENT.sub("", text)))
            chosen = zlib.crc32((path.split("/", 2)[2] + heading).encode()) % 100 < 50
            yield query, text, topic.partition("-")[0], chosen


def _longest_block(text: str) -> tuple[str, bool]:
    """The longest code block, without its indentation, and whether there are words beside the blocks."""
    unfenced = _FENCED.sub("", text)
    indented = [textwrap.dedent(block) for block in _INDENTED.findall(unfenced)]
    blocks = [block.strip("\n").rstrip() for block in _FENCED.findall(text) + indented]
    words = _INDENTED.sub("", unfenced).strip()
    return max(blocks, key=len, default=""), len(words) >= _SHORTEST_WORDS
