"""The file an index is kept in: one SQLite database for each checkout.

SQLite because it comes with Python and because a transaction is either whole or absent, also when the
process is killed in it. The journal mode is SQLite's own default, a rollback journal: a write-ahead log
would let readers wait less and does not work on network file systems, where home folders often are.
"""

import hashlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codequarry.common.errors import UserError
from codequarry.common.files import cache_folder

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 2  # raise it when the tables or the way files are read and cut into chunks change
_SAME_VECTORS = (1,)  # versions whose vectors are kept: they belong to texts, not to files
WAIT = 60.0  # seconds for another process to finish writing; a write takes milliseconds

_SCHEMA = (
    "CREATE TABLE meta (root BLOB NOT NULL)",
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
    """CREATE TABLE spaces (
        id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL, prefix TEXT NOT NULL, dims INTEGER NOT NULL,
        precision TEXT NOT NULL, UNIQUE (fingerprint, prefix, dims, precision))""",
    """CREATE TABLE vectors (
        space INTEGER NOT NULL REFERENCES spaces, sha256 BLOB NOT NULL,
        vector BLOB NOT NULL, UNIQUE (space, sha256))""",
)


class DamagedIndex(Exception):
    """The file is not an index, or not a whole one. `open_database` sets it aside at the next call."""


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
    """A connection to the index at `path`, its tables made where there were none.

    Tables of another version, or of another root, are dropped and made again, with a warning in the log; the
    vectors of a version before this one stay where they are. Only the user can read the file.
    Raises DamagedIndex for a file that is not a whole database, also from statements inside the `with`;
    UserError where the disk refuses or another process writes for more than a minute.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(path)
        connection = sqlite3.connect(path, timeout=WAIT, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise UserError(_cannot_write(path, error)) from error
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        _make_tables(connection, path, os.fsencode(root.resolve()))
        yield connection
    except sqlite3.Error as error:
        raise _as_user_error(error, path) from error
    finally:
        connection.close()


@contextmanager
def reading(connection: sqlite3.Connection) -> Iterator[None]:
    """A read transaction: what other processes write during it is not visible."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction: everything in it is kept, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself has rolled back when the disk is full
            connection.execute("ROLLBACK")
        raise


def set_aside(path: Path) -> Path:
    """Rename a damaged index, with its journal (which would be played into the new one), and say so."""
    aside = path.with_name(f"{path.name}.damaged")
    for ending in ("-journal", ""):
        try:
            Path(f"{path}{ending}").replace(f"{aside}{ending}")
        except FileNotFoundError:
            pass
        except OSError as error:
            raise UserError(_cannot_write(path, error)) from error
    logger.warning("the index was damaged: it is kept as %s (yours to delete), and a new one is made.", aside)
    return aside


def _make_tables(connection: sqlite3.Connection, path: Path, root: bytes) -> None:
    version = _version(connection)
    if version == SCHEMA_VERSION and _root(connection) == root:
        return
    with writing(connection):
        version = _version(connection)  # another process may have made them while this one waited
        if version == SCHEMA_VERSION and _root(connection) == root:
            return
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        tables = [name for (name,) in found]
        kept: tuple[str, ...] = ()
        if version in _SAME_VECTORS and _root(connection) == root:
            kept = ("spaces", "vectors")
            logger.warning(
                "the index %s is of format %d: files are read again, vectors are kept.", path, version
            )
        elif tables:
            other = "another checkout" if version == SCHEMA_VERSION else f"format {version}"
            logger.warning("the index %s is of %s: it is made again.", path, other)
        for name in reversed(tables):
            if name not in kept:
                connection.execute(f'DROP TABLE "{name}"')
        for statement in _SCHEMA:
            if not statement.startswith(tuple(f"CREATE TABLE {name} " for name in kept)):
                connection.execute(statement)
        connection.execute("INSERT INTO meta VALUES (?)", (root,))
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _make_private(path: Path) -> None:
    """Make the file, or an older one, readable by the user alone; SQLite's journals take on its mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
    except OSError:
        return  # SQLite says what is wrong, or can still read


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _root(connection: sqlite3.Connection) -> bytes:
    row = connection.execute("SELECT root FROM meta").fetchone()
    return bytes(row[0]) if row else b""


def _as_user_error(error: sqlite3.Error, path: Path) -> Exception:
    primary = getattr(error, "sqlite_errorcode", -1) & 0xFF
    if primary in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT) or str(error).startswith("no such table"):
        return DamagedIndex(f"{path}: {error}")
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return UserError(
            f"another process has been writing the index {path} for more than {WAIT:.0f} seconds: "
            "wait for it, or give this one another folder with CODEQUARRY_CACHE."
        )
    on_disk = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR)
    return UserError(_cannot_write(path, error)) if primary in on_disk else error


def _cannot_write(path: Path, error: Exception) -> str:
    return (
        f"the index {path} cannot be written: {error}. Free some space, or set CODEQUARRY_CACHE to a folder "
        "that you can write."
    )
