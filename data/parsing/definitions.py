"""A definition in a source file, and how its comment and its code become plain text."""

import bisect
import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["function", "method", "class"]


@dataclass(frozen=True, slots=True)
class Definition:
    """A function, method or class, with the comment that describes it.

    name: qualified inside the file, with dots in every language: `Class.method`.
    start_line, end_line: 1-based and inclusive; decorators belong to it, a comment above does not.
    code: these lines as written, without the indentation of the first.
    bare_code: the same without its docstring or the doc comment that opens its body.
    comment: docstring or comment block right above, markers stripped; "" where there is none.
    comment_start_line, comment_end_line: the lines of that comment; 0 where there is none.
    body_line: the first line of the body after signature and docstring; 0 where it shares its first line.
    """

    name: str
    kind: Kind
    start_line: int
    end_line: int
    code: str
    bare_code: str
    comment: str
    comment_start_line: int
    comment_end_line: int
    body_line: int = 0


def unix_lines(text: str) -> str:
    """The text with every line ending as a single newline, as line numbers everywhere here count them."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def dedent(lines: Sequence[str]) -> str:
    """The lines joined, without the indentation of the first one.

    `textwrap.dedent` would keep the indentation of a method whose string has a line at column 0; here a
    line with less indentation than the first simply stays as it is.
    """
    first = lines[0] if lines else ""
    indent = first[: len(first) - len(first.lstrip())]
    return "\n".join(line.removeprefix(indent).rstrip() for line in lines).rstrip("\n")


def size(text: str) -> int:
    """The length in bytes, as the parsers count it."""
    return len(text.encode("utf-8", "replace"))


def blank(text: "str | re.Match[str]") -> str:
    """As many spaces as the text, or what was matched, has bytes: what is behind it stays in its column."""
    return " " * size(text if isinstance(text, str) else text[0])


_CONFLICT_MARK = re.compile(r"<{7} |\|{7} |={7}$|>{7} ")


def without_conflict_marks(lines: Sequence[str]) -> tuple[list[str], list[int]]:
    """The lines with blanks for the marks of merge conflicts, and the rows, from 0, of these."""
    kept, rows = list(lines), []
    is_open = False
    for row, line in enumerate(lines):
        is_open = is_open or line.startswith("<<<<<<< ")
        if is_open and _CONFLICT_MARK.match(line):
            is_open = line[0] != ">"
            rows.append(row)
            kept[row] = blank(line)
    return kept, rows


def is_between(rows: Sequence[int], start: int, end: int) -> bool:
    """Whether one of these sorted rows is from `start` on and before `end`."""
    return bisect.bisect_left(rows, start) != bisect.bisect_left(rows, end)


# A directive is for a tool, not for a reader.
_DIRECTIVE = re.compile(
    r"(go:|\+build|noqa|type:\s*ignore|pylint:|pragma\b|mypy:|ruff:|fmt:|isort:|-\*-|!|eslint-|prettier-"
    r"|@ts-|@flow|istanbul |c8 |jshint|NOLINT|clang-format|nolint|\$FlowFixMe|#?(end)?region\b|cspell:"
    r"|rubocop:|:nodoc:|:stopdoc:|:startdoc:|frozen_string_literal:|encoding:|coding:|phpcs:|@phpstan-|@psalm-"
    r"|@codeCoverageIgnore|ReSharper )"
)
_LINE_MARKER = re.compile(r"\s*(///?!?|//!|//+|#+)")
_BLOCK_OPENING = re.compile(r"/\*+!?")
# Only from the first of a run of blanks or stars: from each of them, a long run takes quadratic time.
_BLOCK_LINE = re.compile(r"(?:(?<!\s)\s++|(?<![\s*]))\*++(?=\s|$)")


def plain_comment(raw: str) -> str:
    """The text of a comment block as written, without its markers, directives and rules of dashes.

    >>> plain_comment("/**\\n * Adds two numbers.\\n */")
    'Adds two numbers.'
    """
    raw = raw.strip()
    if raw.startswith("=begin"):  # Ruby
        lines = raw.removesuffix("=end").split("\n")[1:]
    elif raw.startswith("/*"):
        lines = _BLOCK_OPENING.sub("", raw, count=1).removesuffix("*/").rstrip("*").split("\n")
        lines = [lines[0], *(_BLOCK_LINE.sub("", line) for line in lines[1:])]
    else:
        lines = [
            line[match.end() if (match := _LINE_MARKER.match(line)) else 0 :] for line in raw.split("\n")
        ]
    kept = [line for line in lines if not _DIRECTIVE.match(line.strip()) and not _is_rule(line)]
    return inspect.cleandoc("\n".join(["", *kept])).strip()


def _is_rule(line: str) -> bool:
    return bool(line.strip()) and not any(letter.isalnum() for letter in line)
