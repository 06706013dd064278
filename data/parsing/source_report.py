"""What was read of a source tree and what was left out, and what the user wants to be read or left out."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from codequarry.common.errors import UserError
from codequarry.common.tables import shown
from codequarry.data.parsing.ignore_rules import Rules

_HALF = re.compile("[\ud800-\udfff]")  # how Python holds a byte that is not UTF-8
NOT_PARSED = "does not parse"  # read all the same, by its lines
# Leaving out one of these is no surprise: they alone are not worth a line on standard error.
_EXPECTED = frozenset(
    {"data", "lock file", "picture, archive or program", "empty", "ignored by .gitignore", "excluded",
     "symbolic link", "not a language that is mined", NOT_PARSED}
)  # fmt: skip


class LeftOut(NamedTuple):
    """A file or folder that was not read.

    path: relative to the root; that of a folder ends with `/`.
    reason: as it is counted. detail: what else is known, such as the words of an error; mostly "".
    """

    path: str
    reason: str
    detail: str = ""


@dataclass
class SourceReport:
    """What was read, and what was left out and why.

    read: how many files.
    skipped: how many files and folders, by reason; a folder counts once, with all that it holds.
    left_out: each of them.
    """

    read: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    left_out: list[LeftOut] = field(default_factory=list)

    def skip(self, path: str, reason: str, detail: str = "") -> None:
        """Count and name a file or folder that is left out."""
        self.skipped[reason] += 1
        self.left_out.append(LeftOut(_writable(path), reason, _writable(detail)))

    def add(self, other: "SourceReport") -> None:
        """Add what another report counted."""
        self.read += other.read
        self.skipped += other.skipped
        self.left_out += other.left_out


def _writable(text: str) -> str:
    """The text with bytes that are not UTF-8, as a file's name may have, written as `\\xff`."""
    return _HALF.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", text)


@dataclass(frozen=True)
class Choice:
    """What the user wants to be read besides, or not at all: patterns as in a `.gitignore`.

    include: files and folders that are read although they would be left out.
    exclude: files and folders that are not read; stronger than `include`.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @cached_property
    def included(self) -> Rules:
        """The rules of `include`."""
        return Rules.from_lines(map(_plain, self.include))

    @cached_property
    def excluded(self) -> Rules:
        """The rules of `exclude`."""
        return Rules.from_lines(map(_plain, self.exclude))

    @cached_property
    def on_the_way(self) -> Rules:
        """The folders above what `include` names: `a/` and `a/b/` for `a/b/*.js`."""
        rules = []
        for pattern in self.include:
            parts = _plain(pattern).strip("/").split("/")
            parts = parts[: parts.index("**") + 1] if "**" in parts else parts
            rules += ["/" + "/".join(parts[:depth]) + "/" for depth in range(1, len(parts))]
        return Rules.from_lines(rules)


def _plain(pattern: str) -> str:
    """`./dist/` as people write it is `/dist/` in the language of rules."""
    return pattern[1:] if pattern.startswith("./") else pattern


EVERYTHING = Choice()


@contextmanager
def passing_over(path: str, report: SourceReport) -> Iterator[None]:
    """Count a file on which anything fails as unreadable, with what was said, instead of ending the run.

    What the user can mend, such as a missing grammar package, comes through.
    """
    read = report.read
    try:
        yield
    except (UserError, ImportError):
        raise
    except Exception as error:
        report.read = read
        report.skip(path, "unreadable", f"{type(error).__name__}: {error}")


def summary_line(left_out: Sequence[LeftOut]) -> str:
    """One line on how much was left out and why; "" where that is no surprise, as for pictures.

    >>> summary_line([LeftOut("a.py", "binary"), LeftOut("dist/", "build output")])
    'left out 1 file and 1 folder: 1 binary, 1 build output; --list-skipped names them, --include reads them'
    """
    left_out = [one for one in left_out if one.reason != NOT_PARSED]
    if all(one.reason in _EXPECTED for one in left_out):
        return ""
    folders = sum(1 for one in left_out if one.path.endswith("/"))
    files = len(left_out) - folders
    counts = [_many(number, noun) for number, noun in ((files, "file"), (folders, "folder")) if number]
    # What may surprise comes first.
    by_reason = Counter(one.reason for one in left_out)
    reasons = sorted(by_reason.items(), key=lambda one: (one[0] in _EXPECTED, -one[1], one[0]))
    why = ", ".join(f"{number:,} {reason}" for reason, number in reasons)
    return f"left out {' and '.join(counts)}: {why}; --list-skipped names them, --include reads them"


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + "s" * (number != 1)


def listing(left_out: Sequence[LeftOut]) -> list[str]:
    """A line for each file and folder that was left out: path, tab, reason; fit for a terminal."""
    return [
        f"{shown(one.path)}\t{one.reason}" + (f" ({shown(one.detail)})" if one.detail else "")
        for one in sorted(left_out)
    ]
