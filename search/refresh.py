"""Bring the index's files and chunks in step with the checkout on disk."""

import hashlib
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from codequarry.common.files import read_regular
from codequarry.data.parsing.parse import SourceFile, read_source
from codequarry.data.parsing.source_files import largest, list_sources
from codequarry.data.parsing.source_report import EVERYTHING, Choice, SourceReport, passing_over
from codequarry.search.chunk import Chunk, Kind
from codequarry.search.code_chunks import code_chunks
from codequarry.search.prose_chunks import PROSE_LANGUAGES, prose_chunks
from codequarry.search.sqlite_file import writing

GROUP = 64  # files per transaction: a commit waits for the disk, a kill loses at most one group's parsing

SETTLED = 2.0  # seconds; a file changed more recently may change again within one tick of its clock


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one file was when it was read.

    skipped: why it gave no chunks or no definitions, "" when it did.
    included: whether the user named it: it is read also where it would be left out.
    chunks: None where the content is the one on record and only the stamp is new.
    """

    path: str
    size: int
    mtime_ns: int
    sha256: bytes
    skipped: str
    included: bool
    chunks: list[Chunk] | None


def read_changes(
    connection: sqlite3.Connection, root: Path, progress: bool, choice: Choice = EVERYTHING
) -> SourceReport:
    """Cut new and changed files into chunks, forget those that are gone; returns what was left out, and why.

    A file counts as unchanged when its size and modification time are those on record, or else its content
    is, and the user's choice says the same about it. Features of texts that no chunk holds any more are
    deleted last, so that a renamed file keeps its own.

    Raises UserError when `root` is not a folder.
    """
    report = SourceReport()
    paths = list_sources(root, report, choice)
    recorded = connection.execute("SELECT path, size, mtime_ns, sha256, included FROM files")
    known = {
        path: ((size, mtime_ns, included), sha256) for path, size, mtime_ns, sha256, included in recorded
    }
    gone = known.keys() - set(paths)
    readings: list[_Reading] = []
    included = {path for path in paths if choice.included.covers(path)}
    changed = [
        path
        for path in paths
        if path not in known or (*_stamp(root / path), path in included) != known[path][0]
    ]
    for path in tqdm(changed, "reading", unit=" files", delay=1, disable=not progress, leave=False):
        stamp, sha256 = known.get(path, ((-1, -1, -1), b""))
        same_choice = stamp[2] == (path in included)
        reading = None
        with passing_over(path, report):
            reading = _read(root, path, sha256 if same_choice else b"", report, choice)
        if reading is None:
            gone |= {path} & known.keys()
            continue
        readings.append(reading)
        if len(readings) == GROUP:
            _write(connection, readings)
            readings.clear()
    if gone or changed:
        with writing(connection):
            connection.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in gone])
            connection.execute("UPDATE meta SET changes = changes + ?", (bool(gone),))
        _write(connection, readings)
    if gone or (changed and known):
        with writing(connection):
            connection.execute("DELETE FROM features WHERE sha256 NOT IN (SELECT sha256 FROM chunks)")
    for path, reason in connection.execute("SELECT path, skipped FROM files WHERE skipped != ''"):
        report.skip(path, reason)
    return report


def _stamp(file: Path) -> tuple[int, int]:
    """Size and modification time; -1 for both of a file that cannot be looked at."""
    try:
        status = file.lstat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _read(root: Path, path: str, known_sha256: bytes, whole: SourceReport, choice: Choice) -> _Reading | None:
    """None for a file that cannot be read now: it is not remembered, so it is tried again next time.

    The stamp is taken before the content. A file that changes in between is then read again next time.
    """
    size, mtime_ns = _stamp(root / path)
    included = choice.included.covers(path)
    sha256 = hashlib.sha256(read_regular(root / path, largest(path, included))).digest()
    if time.time() - mtime_ns / 1e9 < SETTLED:
        mtime_ns = -1
    if sha256 == known_sha256:
        return _Reading(path, size, mtime_ns, sha256, "", included, None)
    report = SourceReport()
    source = read_source(root, path, report, choice)
    if "unreadable" in report.skipped:
        whole.add(report)
        return None
    reasons = ", ".join(report.skipped)
    return _Reading(path, size, mtime_ns, sha256, reasons, included, chunk_file(source) if source else [])


def _write(connection: sqlite3.Connection, readings: list[_Reading]) -> None:
    with writing(connection):
        is_new = any(file.chunks is not None for file in readings)
        connection.execute("UPDATE meta SET changes = changes + ?", (is_new,))
        for file in readings:
            stamp = (file.size, file.mtime_ns)
            if file.chunks is None:
                # Only for this very content: another process may have written a newer one since.
                connection.execute(
                    "UPDATE files SET size = ?, mtime_ns = ? WHERE path = ? AND sha256 = ?",
                    (*stamp, file.path, file.sha256),
                )
                continue
            connection.execute("DELETE FROM files WHERE path = ?", (file.path,))
            connection.execute(
                "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?)",
                (file.path, *stamp, file.sha256, file.skipped, file.included),
            )
            connection.executemany(
                "INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?)", map(_row, file.chunks)
            )


def _row(chunk: Chunk) -> tuple[str, str, int, int, int, str, str, bytes]:
    sha256 = hashlib.sha256(chunk.text.encode()).digest()
    lines = (chunk.start_line, chunk.end_line, chunk.unit_line)
    return (chunk.path, chunk.kind, *lines, chunk.title, chunk.text, sha256)


_COMMENT_KINDS: tuple[Kind, ...] = ("comment", "prose")


def chunk_file(source: SourceFile) -> list[Chunk]:
    """The chunks of one file, of all kinds.

    A file in a programming language gives its code, and each docstring or comment above a definition twice:
    as a comment (what code2nl searches) and as prose (what qa searches; the prefix differs, so the vector
    does too); the Markdown cells of a notebook are prose. Documentation gives prose only.
    """
    if source.language in PROSE_LANGUAGES:
        return prose_chunks(source)
    return [*code_chunks(source), *prose_chunks(source)] + [
        Chunk(
            kind,
            source.path,
            definition.comment_start_line,
            definition.comment_end_line,
            definition.comment_start_line,
            definition.name,
            definition.comment.strip(),
        )
        for definition in source.definitions
        if any(map(str.isalnum, definition.comment))
        for kind in _COMMENT_KINDS
    ]
