"""tldr-pages: what a command line does → the line, and what a command is for → its page."""

import re
import zlib
from collections.abc import Iterator

from codequarry.data.pair import Pair
from codequarry.data.sources.schema import Files

_EXAMPLE = re.compile(r"^- (.*?):?\n\n`(.*)`$", re.MULTILINE)
_OPTION = re.compile(r"\{\{\[([^|\]{}]*)\|[^\]{}]*\]\}\}")
_PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}")
_NOT_ABOUT = ("More information", "See also")
_FEWEST_WORDS = 3  # of a query that stands without its command: "Display help" would fit every one


def read_commands(files: Files) -> Iterator[Pair]:
    """One pair an example: its description → its command line, placeholders without their braces.

    Of `{{[-s|--long]}}` the first is taken. A description that does not name the command bears its name in
    front in two of three cases, decided by a checksum, and always where it is shorter than three words.
    """
    for path, content in files:
        name = _name(path)
        for description, line in _EXAMPLE.findall(content.decode()):
            says_it = name.partition("-")[0] in description
            chosen = zlib.crc32(f"{name} {description}".encode()) % 3 > 0
            if (chosen and not says_it) or len(description.split()) < _FEWEST_WORDS:
                description = f"{name}: {description}"
            line = _PLACEHOLDER.sub(r"\1", _OPTION.sub(r"\1", line)).strip()
            if line:
                language = "powershell/cmd" if "/windows/" in path else "bash"
                yield Pair("nl2code", description, line, "tldr", language)


def read_pages(files: Files) -> Iterator[Pair]:
    """One pair a page: "What does … do?" → the page, or its description → the page without it.

    Which of the two is decided by a checksum of the page's path.
    """
    for path, content in files:
        name, page = _name(path), content.decode().strip()
        about = [line[2:] for line in page.splitlines() if line.startswith("> ")]
        description = " ".join(line for line in about if not line.startswith(_NOT_ABOUT))
        examples = page[page.find("\n- ") :].strip()
        if not description or not examples.startswith("- "):
            continue
        if zlib.crc32(path.split("/", 2)[2].encode()) % 2:
            yield Pair("qa", f"What does the {name} command do?", page, "tldr_techqa", "bash")
        else:
            yield Pair("qa", description, f"# {name}\n{examples}", "tldr_techqa", "bash")


def _name(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".md")
