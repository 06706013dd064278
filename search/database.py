"""The index of a checkout: its files, their chunks, and what the first stage knows of each text.

One SQLite file for each checkout, in the cache folder. What the strong models computed lies in the store next
to it (`vector_store.py`), which all checkouts share.
"""

import hashlib
import logging
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codequarry.common.files import cache_folder
from codequarry.search.sqlite_file import connected, format_of, writing
from codequarry.search.vector_store import SPACES, take_over

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 3  # raise it when the tables or the way files are read and cut into chunks change
_WITH_VECTORS = (1, 2)  # versions that kept a model's vectors themselves: they move to the shared store

_SCHEMA = (
    "CREATE TABLE meta (root BLOB NOT NULL, changes INTEGER NOT NULL)",
    """CREATE TABLE files (
        path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 BLOB NOT NULL,
        skipped TEXT NOT NULL, included INTEGER NOT NULL)""",
    """CREATE TABLE chunks (
        path TEXT NOT NULL REFERENCES files ON DELETE CASCADE, kind TEXT NOT NULL,
        start_line INTEGER NOT NULL, end_line INTEGER NOT NULL, unit_line INTEGER NOT NULL,
        title TEXT NOT NULL, text TEXT NOT NULL, sha256 BLOB NOT NULL)""",
    "CREATE INDEX chunks_of_file ON chunks (path)",
    "CREATE INDEX chunks_in_order ON chunks (kind, path, start_line)",
    "CREATE INDEX chunks_of_text ON chunks (sha256)",
    SPACES,
    """CREATE TABLE features (
        space INTEGER NOT NULL REFERENCES spaces, sha256 BLOB NOT NULL,
        vector BLOB NOT NULL, tokens BLOB NOT NULL, UNIQUE (space, sha256))""",
)


def database_path(root: Path, cache: Path | None = None) -> Path:
    """Where the index of the checkout at `root` is kept.

    cache: the folder for indexes; None for the one in the environment variable CODEQUARRY_CACHE, or else
    the user's cache folder.
    """
    folder = cache or cache_folder()
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:24]
    return folder.expanduser() / f"{name}.sqlite"


@contextmanager
def open_database(path: Path, root: Path) -> Iterator[sqlite3.Connection]:
    """A connection to the index of `root` at `path`, its tables made where there were none.

    Tables of another version, or of another root, are dropped and made again, with a warning in the log; the
    vectors that older versions kept in them move to the shared store next to it. Raises as `connected` does.
    """
    root_bytes = os.fsencode(root.resolve())
    with connected(path, lambda connection: _make_tables(connection, path, root_bytes)) as connection:
        yield connection


def _make_tables(connection: sqlite3.Connection, path: Path, root: bytes) -> None:
    version = format_of(connection)
    if version == SCHEMA_VERSION and _root(connection) == root:
        return
    with writing(connection):
        version = format_of(connection)  # another process may have made them while this one waited
        if version == SCHEMA_VERSION and _root(connection) == root:
            return
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        tables = [name for (name,) in found]
        if version in _WITH_VECTORS and _root(connection) == root:
            take_over(connection, path.parent)
            logger.warning(
                "the index %s is of format %d: files are read again, vectors are kept.", path, version
            )
        elif tables:
            other = "another checkout" if version == SCHEMA_VERSION else f"format {version}"
            logger.warning("the index %s is of %s: it is made again.", path, other)
        for name in reversed(tables):
            connection.execute(f'DROP TABLE "{name}"')
        for statement in _SCHEMA:
            connection.execute(statement)
        # No two indexes of a checkout count from the same number: one is never taken for the other.
        connection.execute("INSERT INTO meta VALUES (?, ?)", (root, secrets.randbits(48)))
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _root(connection: sqlite3.Connection) -> bytes:
    row = connection.execute("SELECT root FROM meta").fetchone()
    return bytes(row[0]) if row else b""
