"""Cheat sheets for the terminal: the comment above some lines → the lines."""

import re
from collections.abc import Iterator

from codequarry.data.pair import Pair
from codequarry.data.sources.schema import Files

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_INSIDE = re.compile(r"#(\s|$)")
_SHORTEST = 10  # characters of a comment
_FEWEST_WORDS = 2
_LONGEST = 1_200  # characters of lines: what is longer is a table of keys


def read_cheat_sheets(files: Files) -> Iterator[Pair]:
    """One pair a block between blank lines: its comment, joined to one line, → what follows.

    A block with another comment further down is left out: the first would not describe all of it. Sheets
    of a programming language lie in a folder `_language`; the others are for the shell.
    """
    for path, content in files:
        try:
            sheet = _FRONT_MATTER.sub("", content.decode(), count=1)
        except UnicodeDecodeError:
            continue
        if path.rpartition("/")[2].startswith(("_", ".", "LICENSE", "README")):
            continue
        folder = path.split("/")[-2]
        language = folder[1:] if folder.startswith("_") else "bash"
        for block in re.split(r"\n\s*\n", sheet):
            lines = [line.rstrip() for line in block.split("\n") if line.strip()]
            body = next((n for n, line in enumerate(lines) if not line.lstrip().startswith("#")), len(lines))
            comment = " ".join(word for line in lines[:body] for word in line.strip().lstrip("#").split())
            comment = comment.rstrip(":").strip()
            code = "\n".join(lines[body:]).strip()
            if len(comment) < _SHORTEST or len(comment.split()) < _FEWEST_WORDS:
                continue
            if 0 < len(code) <= _LONGEST and not any(_INSIDE.match(line) for line in lines[body:]):
                yield Pair("nl2code", comment, code, "cheatsheets", language)
