"""Vectors of the strong models, for every checkout: one SQLite database next to the indexes.

A vector is stored under its space (model, document prefix, dimensions, precision) and the sha256 of its
text. So a text that two worktrees or clones share is embedded once, and what a deleted checkout had is there
when it comes back. No record says who needs a vector: the store is bounded instead, and those that were not
read for longest go first.
"""

import logging
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from codequarry.inference.encoder import Space, Vectors
from codequarry.search.sqlite_file import DamagedIndex, connected, format_of, writing

logger = logging.getLogger(__name__)

NAME = "vectors.sqlite"
LARGEST = 4 << 30  # bytes of the file; two million vectors of mini
_KEPT = 0.75  # of the vectors, when the file has grown past that
_VERSION = 1
_AT_ONCE = 500  # hashes a statement; SQLite takes 999 where it is old

SPACES = """CREATE TABLE spaces (
        id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL, prefix TEXT NOT NULL, dims INTEGER NOT NULL,
        precision TEXT NOT NULL, UNIQUE (fingerprint, prefix, dims, precision))"""

_SCHEMA = (
    SPACES,
    """CREATE TABLE vectors (
        space INTEGER NOT NULL REFERENCES spaces, sha256 BLOB NOT NULL,
        vector BLOB NOT NULL, day INTEGER NOT NULL, UNIQUE (space, sha256))""",
)


class VectorStore:
    """The vectors of one space, by the sha256 of their texts."""

    def __init__(self, connection: sqlite3.Connection, path: Path, space: Space) -> None:
        self._connection = connection
        self._path = path
        self.dims = space.dims
        self._number = space_number(connection, space)

    def hashes(self, wanted: Collection[bytes]) -> set[bytes]:
        """Those of `wanted` that have a vector."""
        if len(wanted) <= _AT_ONCE:
            return {sha256 for sha256, _, _ in self._rows(wanted)}
        rows = self._connection.execute("SELECT sha256 FROM vectors WHERE space = ?", (self._number,))
        return {sha256 for (sha256,) in rows}.intersection(wanted)

    def vectors(self, wanted: Collection[bytes]) -> dict[bytes, Vectors]:
        """The unit vectors `(dims,)` of those of `wanted` that have one.

        Raises DamagedIndex when one does not have the dimensions of its space, or is not of unit length.
        """
        rows = list(self._rows(wanted))
        if not rows:
            return {}
        if any(len(vector) != 4 * self.dims for _, vector, _ in rows):
            raise DamagedIndex(self._path, f"a vector does not have the {self.dims} dimensions of its space")
        whole = np.frombuffer(b"".join(vector for _, vector, _ in rows), np.float32).reshape(-1, self.dims)
        if not np.all(np.abs(np.einsum("cd,cd->c", whole, whole) - 1) < 1e-3):
            raise DamagedIndex(self._path, "a vector is not of unit length")
        self._mark_used([sha256 for sha256, _, day in rows if day != _today()])
        return {sha256: vector for (sha256, _, _), vector in zip(rows, whole, strict=True)}

    def add(self, vectors: Mapping[bytes, Vectors]) -> None:
        """Keep these vectors, in one transaction; those that another process has stored meanwhile stay."""
        rows = [(self._number, sha256, vector.tobytes(), _today()) for sha256, vector in vectors.items()]
        with writing(self._connection):
            self._connection.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?, ?)", rows)
        _bound(self._connection)

    def _rows(self, wanted: Collection[bytes]) -> Iterator[tuple[bytes, bytes, int]]:
        names = list(wanted)
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(some))
            yield from self._connection.execute(
                f"SELECT sha256, vector, day FROM vectors WHERE space = ? AND sha256 IN ({marks})",
                (self._number, *some),
            )

    def _mark_used(self, names: Sequence[bytes]) -> None:
        if names:  # at most once a day and vector
            with writing(self._connection):
                self._connection.executemany(
                    "UPDATE vectors SET day = ? WHERE space = ? AND sha256 = ?",
                    ((_today(), self._number, sha256) for sha256 in names),
                )


@contextmanager
def open_store(folder: Path, space: Space) -> Iterator[VectorStore]:
    """The vectors of `space` in the store of the cache folder `folder`. Raises as `connected` does."""
    path = folder / NAME
    with connected(path, lambda connection: _make_tables(connection, path)) as connection:
        yield VectorStore(connection, path, space)


def space_number(connection: sqlite3.Connection, space: Space) -> int:
    """The number under which a database with a table `spaces` files what belongs to this space."""
    values = (space.fingerprint, space.prefix, space.dims, space.precision)
    find = "SELECT id FROM spaces WHERE fingerprint = ? AND prefix = ? AND dims = ? AND precision = ?"
    row = connection.execute(find, values).fetchone()
    if row is None:
        add = "INSERT OR IGNORE INTO spaces (fingerprint, prefix, dims, precision) VALUES (?, ?, ?, ?)"
        with writing(connection):
            connection.execute(add, values)
        row = connection.execute(find, values).fetchone()
    return int(row[0])


def take_over(index: sqlite3.Connection, folder: Path) -> None:
    """Copy the vectors that an index of format 1 or 2 holds into the store of `folder`."""
    spaces = index.execute("SELECT id, fingerprint, prefix, dims, precision FROM spaces").fetchall()
    for number, *values in spaces:
        rows = index.execute("SELECT sha256, vector FROM vectors WHERE space = ?", (number,)).fetchall()
        with open_store(folder, Space(*values)) as store:
            store.add(
                {
                    sha256: np.frombuffer(vector, np.float32)
                    for sha256, vector in rows
                    if len(vector) == 4 * store.dims
                }
            )


def _make_tables(connection: sqlite3.Connection, path: Path) -> None:
    if format_of(connection) == _VERSION:
        return
    with writing(connection):
        if format_of(connection) == _VERSION:  # another process made them while this one waited
            return
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        if tables:
            logger.warning("%s is of another format: its vectors are made again.", path)
        for (name,) in reversed(tables):
            connection.execute(f'DROP TABLE "{name}"')
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {_VERSION}")


def _bound(connection: sqlite3.Connection) -> None:
    """Delete the vectors that were not read for longest, where the file is past `LARGEST`."""

    def pragma(name: str) -> int:
        return int(connection.execute(f"PRAGMA {name}").fetchone()[0])

    used = pragma("page_count") - pragma("freelist_count")  # deleted pages stay in the file, to be filled
    if used * pragma("page_size") <= LARGEST:
        return
    with writing(connection):
        (count,) = connection.execute("SELECT COUNT(*) FROM vectors").fetchone()
        connection.execute(
            "DELETE FROM vectors WHERE rowid IN (SELECT rowid FROM vectors ORDER BY day, rowid LIMIT ?)",
            (int(count * (1 - _KEPT)) or 1,),
        )


def _today() -> int:
    return int(time.time() // 86_400)
