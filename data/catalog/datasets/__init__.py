"""The data sets: each with its rows, its readers, and which part of it is held out."""

import zlib
from collections.abc import Iterator

from codequarry.data.catalog.schema import Files


def texts(files: Files) -> Iterator[tuple[str, str]]:
    """Path and text of each file, with plain newlines; bytes that are not UTF-8 are replaced."""
    for path, content in files:
        yield path, content.decode("utf-8", "replace").replace("\r\n", "\n")


def lot(*words: str) -> int:
    """A number that orders or chooses by chance, the same on every machine."""
    return zlib.crc32(" ".join(words).encode())
