"""The index of a checkout: chunks and their vectors on disk, kept in step with the files, searched exactly.

Search is one matrix product over all vectors of a kind. It is exact, and for 100,000 chunks of 384 dimensions
it takes milliseconds; an approximate index (usearch, FAISS, LanceDB) would bring 130 to 446 MB of library
for a gain that is not noticeable below a million chunks.

A vector is stored under its space (model, document prefix, dimensions, precision) and the sha256 of its
text. So only text that is new to a space is embedded, a moved file costs nothing, and several models share a
database. Vectors are written in groups as they are computed: after a kill, the next run resumes after the
last group.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from codequarry.inference.encoder import Space, Vectors
from codequarry.search.chunk import Chunk, Kind
from codequarry.search.database import DamagedIndex, writing

GROUP = 64  # texts per transaction: what a kill can lose, a second or two of a small model's work

_MISSING = """SELECT DISTINCT sha256, text FROM chunks WHERE kind = ?
    AND sha256 NOT IN (SELECT sha256 FROM vectors WHERE space = ?)"""


@dataclass(frozen=True, slots=True)
class Corpus:
    """All chunks of a kind that have a vector. vectors: `(chunks, dims)`; ids: their rows in the database."""

    ids: tuple[int, ...]
    vectors: Vectors


def space_number(connection: sqlite3.Connection, space: Space) -> int:
    """The number under which vectors of this space are stored."""
    values = (space.fingerprint, space.prefix, space.dims, space.precision)
    find = "SELECT id FROM spaces WHERE fingerprint = ? AND prefix = ? AND dims = ? AND precision = ?"
    row = connection.execute(find, values).fetchone()
    if row is None:
        add = "INSERT OR IGNORE INTO spaces (fingerprint, prefix, dims, precision) VALUES (?, ?, ?, ?)"
        with writing(connection):
            connection.execute(add, values)
        row = connection.execute(find, values).fetchone()
    return int(row[0])


def embed_missing(
    connection: sqlite3.Connection,
    kind: Kind,
    number: int,
    embed: Callable[[list[str]], Vectors],
    progress: bool,
) -> int:
    """Embed every text of a kind that has no vector in space `number` yet; returns how many these were.

    Two processes may do this at once: each skips what the other has stored by then.
    """
    missing: list[tuple[bytes, str]] = connection.execute(_MISSING, (kind, number)).fetchall()
    # Neighbours of one length need no padding; longest first, so the time left is never underestimated.
    missing.sort(key=lambda row: (-len(row[1]), row[0]))
    embedded = 0
    silent = not (progress and missing)
    with tqdm(total=len(missing), desc=f"embedding {kind}", unit=" texts", disable=silent) as bar:
        for start in range(0, len(missing), GROUP):
            group = missing[start : start + GROUP]
            todo = [row for row in group if not _has_vector(connection, number, row[0])]
            if todo:
                vectors = embed([text for _, text in todo])
                rows = [
                    (number, sha256, row.tobytes()) for (sha256, _), row in zip(todo, vectors, strict=True)
                ]
                with writing(connection):
                    connection.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)", rows)
            embedded += len(todo)
            bar.update(len(group))
    return embedded


def read_corpus(connection: sqlite3.Connection, kind: Kind, number: int, dims: int) -> Corpus:
    """The vectors of a kind in space `number`, in the order of path and line.

    Raises DamagedIndex when a vector does not have the dimensions of its space, or is not of unit length.
    """
    # CROSS JOIN keeps this order of tables, so that rows come sorted from the index and blobs are not sorted.
    rows = connection.execute(
        """SELECT chunks.rowid, vectors.vector FROM chunks CROSS JOIN vectors
        ON vectors.space = ? AND vectors.sha256 = chunks.sha256
        WHERE chunks.kind = ? ORDER BY chunks.kind, chunks.path, chunks.start_line""",
        (number, kind),
    ).fetchall()
    ids = tuple(row[0] for row in rows)
    if any(len(row[1]) != 4 * dims for row in rows):
        raise DamagedIndex(f"a vector does not have the {dims} dimensions of its space")
    vectors = np.frombuffer(b"".join(row[1] for row in rows), np.float32).reshape(len(rows), dims)
    squares = np.einsum("cd,cd->c", vectors, vectors)
    if not np.all(np.abs(squares - 1) < 1e-3):
        raise DamagedIndex("a vector is not of unit length")
    return Corpus(ids, vectors)


def read_chunk(connection: sqlite3.Connection, rowid: int) -> Chunk:
    """One chunk, by an id of a `Corpus` that was read in the same transaction."""
    columns = "kind, path, start_line, end_line, unit_line, title, text"
    return Chunk(*connection.execute(f"SELECT {columns} FROM chunks WHERE rowid = ?", (rowid,)).fetchone())


def count(connection: sqlite3.Connection, kind: Kind) -> tuple[int, int, int]:
    """How many files have chunks of any kind; how many chunks of this kind, and different texts in them."""
    (files,) = connection.execute("SELECT COUNT(DISTINCT path) FROM chunks").fetchone()
    chunks, texts = connection.execute(
        "SELECT COUNT(*), COUNT(DISTINCT sha256) FROM chunks WHERE kind = ?", (kind,)
    ).fetchone()
    return files, chunks, texts


def _has_vector(connection: sqlite3.Connection, number: int, sha256: bytes) -> bool:
    found = connection.execute("SELECT 1 FROM vectors WHERE space = ? AND sha256 = ?", (number, sha256))
    return found.fetchone() is not None
