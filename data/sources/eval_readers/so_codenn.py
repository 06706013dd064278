"""Titles of Stack Overflow questions → the code of an accepted answer, from CODE-NN (Iyer et al., 2016)."""

import zlib
from collections.abc import Iterator

from codequarry.data.eval_set import EvalSet
from codequarry.data.sources.eval_readers.from_pairs import set_of_pairs
from codequarry.data.sources.schema import Files

_LANGUAGES = ("csharp", "sql", "python")
_SHORTEST, _LONGEST = 15, 1000  # characters of code
_WORDS = 3  # of a title
_HELD_OUT = 15  # percent of the test files


def read_so_codenn(files: Files) -> EvalSet:
    """The held-out slice of the test files, C# first, then SQL, then Python."""
    by_language = {_language(path): content for path, content in files}
    pairs = (
        (title, code, language)
        for language in _LANGUAGES
        for question, title, code in rows(by_language.get(language, b""))
        if is_held_out(question)
    )
    return set_of_pairs("so_codenn", "nl2code", pairs)


def is_held_out(question: str) -> bool:
    """Whether a test row belongs to the evaluation set, told by the number of its question.

    The other rows of the test files may be trained on.
    """
    return zlib.crc32(question.encode()) % 100 < _HELD_OUT


def rows(content: bytes) -> Iterator[tuple[str, str, str]]:
    """(number of the question, title, code) of every usable line of one of CODE-NN's files.

    A line is: question, answer, title, code, label, with tabs between them and escapes in the code. Left out
    is what is no whole line, a title of one or two words, and code under 15 or over 1,000 characters.
    """
    for line in content.decode("utf-8", "replace").split("\n"):
        cells = line.rstrip("\r").split("\t")
        if len(cells) != 5:
            continue
        title = cells[2].strip()
        code = cells[3].replace("\\n", "\n").replace("\\t", "\t").replace('\\"', '"').strip()
        if len(title.split()) >= _WORDS and _SHORTEST <= len(code) <= _LONGEST:
            yield cells[0], title, code


def _language(path: str) -> str:
    return path.split("/")[-2]
