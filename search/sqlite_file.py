"""A SQLite file that several processes read and write, any of which may be killed.

SQLite because it comes with Python and because a transaction is either whole or absent, also when the
process is killed in it. The journal mode is SQLite's own default, a rollback journal: a write-ahead log
would let readers wait less and does not work on network file systems, where home folders often are.
"""

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from codequarry.common.errors import UserError

logger = logging.getLogger(__name__)

WAIT = 60.0  # seconds for another process to finish writing; a write takes milliseconds


class DamagedIndex(Exception):
    """The file at `path` is not an index, or not a whole one: `set_aside` makes room for a new one."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path


@contextmanager
def connected(path: Path, make_tables: Callable[[sqlite3.Connection], None]) -> Iterator[sqlite3.Connection]:
    """A connection to the database at `path`, after `make_tables`. Only the user can read the file.

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
        make_tables(connection)
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
    logger.warning("%s was damaged: it is kept as %s (yours to delete), and a new one is made.", path, aside)
    return aside


def format_of(connection: sqlite3.Connection) -> int:
    """The number that the tables' maker left in the file; 0 in a new one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _make_private(path: Path) -> None:
    """Make the file, or an older one, readable by the user alone; SQLite's journals take on its mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
    except OSError:
        return  # SQLite says what is wrong, or can still read


def _as_user_error(error: sqlite3.Error, path: Path) -> Exception:
    primary = getattr(error, "sqlite_errorcode", -1) & 0xFF
    if primary in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT) or str(error).startswith("no such table"):
        return DamagedIndex(path, str(error))
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
