"""The data sets: each with its rows, its readers, and which part of it is held out."""

import json
import re
import zlib
from collections.abc import Iterator
from typing import Any

from codequarry.data.catalog.schema import Files

# Repositories, each at its commit, that readers of several files take parts of.
AZURE = ("MicrosoftDocs/azure-docs-powershell", "94a1a083642e3e1e0cf9b577b22ddbabea03963d")
POWERSHELL = ("MicrosoftDocs/PowerShell-Docs", "27138b21b41de3e2b43cfcac4a56861ca419d5eb")
CODEXGLUE = ("microsoft/CodeXGLUE", "ac74a62802a0dd159b3258c78a2df8ad36cdf2b9")

FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)  # of a page of Markdown


def texts(files: Files) -> Iterator[tuple[str, str]]:
    """Path and text of each file, with plain newlines; bytes that are not UTF-8 are replaced."""
    for path, content in files:
        yield path, content.decode("utf-8", "replace").replace("\r\n", "\n")


def lot(*words: str) -> int:
    """A number that orders or chooses by chance, the same on every machine."""
    return zlib.crc32(" ".join(words).encode())


def json_arrays(files: Files) -> Iterator[Any]:
    """Every element of the JSON arrays that the files hold, file by file."""
    for _, content in files:
        yield from json.loads(content)
