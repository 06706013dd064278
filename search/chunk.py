"""The unit of search: a chunk, its kind, and which kind each task searches."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Kind = Literal["code", "comment", "prose"]

KIND_OF_TASK: Mapping[str, Kind] = MappingProxyType(
    {"nl2code": "code", "qa": "prose", "code2code": "code", "code2nl": "comment", "code2completion": "code"}
)

IN_WORDS: Mapping[Kind, str] = MappingProxyType(
    {
        "code": "code",
        "comment": "docstrings or comments above a definition",
        "prose": "Markdown, reStructuredText or text files, or docstrings",
    }
)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of a file that can be an answer.

    kind: what it is; a task searches one kind.
    path: relative to the root that was indexed, with forward slashes.
    start_line, end_line: 1-based, inclusive, exact.
    unit_line: first line of the definition or section this was cut from; windows of one unit share it, so
        that an answer shows each unit once. Equal to start_line when nothing was cut.
    title: `Class.method` or the heading path, for display; "" for code outside a definition.
    text: what is embedded: the lines, dedented; for a comment or docstring its plain text.
    """

    kind: Kind
    path: str
    start_line: int
    end_line: int
    unit_line: int
    title: str
    text: str
