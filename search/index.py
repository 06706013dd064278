"""What the index knows of each text for the first stage: its static vector and its bag of tokens.

Both are computed from one tokenisation and stored under the sha256 of the text, so a moved file costs nothing
and they can never disagree with the text. They are written in groups: after a kill, the next run resumes
after the last one.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from codequarry.inference.encoder import Space, Vectors
from codequarry.search.chunk import Chunk, Kind
from codequarry.search.lexical import bag
from codequarry.search.sqlite_file import DamagedIndex, writing
from codequarry.search.vector_store import space_number

GROUP = 2048  # texts per transaction: half a second of work

_MISSING = """SELECT DISTINCT sha256, text FROM chunks WHERE kind = ?
    AND sha256 NOT IN (SELECT sha256 FROM features WHERE space = ?)"""


class FirstModel(Protocol):
    """What the first stage needs of a model: `inference.static_encoder.StaticEncoder`."""

    def space(self, task: str) -> Space: ...

    def token_ids(self, texts: Sequence[str]) -> Sequence["NDArray[np.integer]"]: ...

    def vectors_of_ids(self, ids: Sequence["NDArray[np.integer]"], space: Space) -> Vectors: ...

    def encode_query(self, text: str, task: str) -> Vectors: ...


@dataclass(frozen=True, slots=True)
class Features:
    """All chunks of a kind, in the order of path and line.

    ids: their rows in the database. hashes: sha256 of their texts.
    vectors: `(chunks, dims)`, of unit length, or zero for a text without tokens. bags: see `lexical.bag`.
    """

    ids: tuple[int, ...]
    hashes: tuple[bytes, ...]
    vectors: Vectors
    bags: tuple[bytes, ...]


def add_features(
    connection: sqlite3.Connection, kind: Kind, model: FirstModel, task: str, progress: bool
) -> int:
    """Compute vector and bag of every text of a kind that has none yet; returns how many these were.

    Two processes may do this at once: both compute the same.
    """
    space = model.space(task)
    number = space_number(connection, space)
    missing: list[tuple[bytes, str]] = connection.execute(_MISSING, (kind, number)).fetchall()
    with tqdm(
        total=len(missing), desc=f"indexing {kind}", unit=" texts", delay=1, disable=not progress, leave=False
    ) as bar:
        for start in range(0, len(missing), GROUP):
            group = missing[start : start + GROUP]
            ids = model.token_ids([text for _, text in group])
            vectors = model.vectors_of_ids(ids, space)
            rows = [
                (number, sha256, vector.tobytes(), bag(one))
                for (sha256, _), one, vector in zip(group, ids, vectors, strict=True)
            ]
            with writing(connection):
                connection.executemany("INSERT OR IGNORE INTO features VALUES (?, ?, ?, ?)", rows)
            bar.update(len(group))
    return len(missing)


def read_features(connection: sqlite3.Connection, kind: Kind, space: Space) -> Features:
    """What is stored of a kind's chunks in a space.

    Raises DamagedIndex when a vector does not have the dimensions of its space or another length than 1 or 0,
    and for half a bag.
    """
    # CROSS JOIN keeps this order of tables, so that rows come sorted from the index and blobs are not sorted.
    rows = connection.execute(
        """SELECT chunks.rowid, chunks.sha256, features.vector, features.tokens
        FROM chunks CROSS JOIN features ON features.space = ? AND features.sha256 = chunks.sha256
        WHERE chunks.kind = ? ORDER BY chunks.kind, chunks.path, chunks.start_line""",
        (space_number(connection, space), kind),
    ).fetchall()
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    if any(len(row[2]) != 4 * space.dims or len(row[3]) % 8 for row in rows):
        raise DamagedIndex(path, f"a vector does not have the {space.dims} dimensions of its space")
    vectors = np.frombuffer(b"".join(row[2] for row in rows), np.float32).reshape(len(rows), space.dims)
    squares = np.einsum("cd,cd->c", vectors, vectors)
    if not np.all((np.abs(squares - 1) < 1e-3) | (squares == 0)):
        raise DamagedIndex(path, "a vector is not of unit length")
    return Features(
        tuple(row[0] for row in rows), tuple(row[1] for row in rows), vectors, tuple(row[3] for row in rows)
    )


def read_hashes(connection: sqlite3.Connection, kind: Kind) -> tuple[tuple[int, ...], tuple[bytes, ...]]:
    """The rows of a kind's chunks and the sha256 of their texts, in the order of path and line."""
    rows = connection.execute(
        "SELECT rowid, sha256 FROM chunks WHERE kind = ? ORDER BY kind, path, start_line", (kind,)
    ).fetchall()
    return tuple(row[0] for row in rows), tuple(row[1] for row in rows)


def read_texts(connection: sqlite3.Connection, kind: Kind) -> dict[bytes, str]:
    """The different texts of a kind, by sha256."""
    return dict(connection.execute("SELECT sha256, text FROM chunks WHERE kind = ?", (kind,)))


def read_chunk(connection: sqlite3.Connection, rowid: int) -> Chunk:
    """One chunk, by an id that was read in the same transaction."""
    columns = "kind, path, start_line, end_line, unit_line, title, text"
    return Chunk(*connection.execute(f"SELECT {columns} FROM chunks WHERE rowid = ?", (rowid,)).fetchone())


def count(connection: sqlite3.Connection, kind: Kind) -> tuple[int, int, int]:
    """How many files have chunks of any kind; how many chunks of this kind, and different texts in them."""
    (files,) = connection.execute("SELECT COUNT(DISTINCT path) FROM chunks").fetchone()
    chunks, texts = connection.execute(
        "SELECT COUNT(*), COUNT(DISTINCT sha256) FROM chunks WHERE kind = ?", (kind,)
    ).fetchone()
    return files, chunks, texts


def changes(connection: sqlite3.Connection) -> int:
    """A number that grows with every change of the chunks, in any process."""
    return int(connection.execute("SELECT changes FROM meta").fetchone()[0])
