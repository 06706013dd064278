"""What is mined: a folder as it is, or a repository's files at one commit."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from codequarry.common.errors import UserError
from codequarry.common.files import temporary_folder
from codequarry.data.git import (
    GitRepository,
    NoCommitError,
    is_bare,
    open_repository,
    printable,
    without_secrets,
)
from codequarry.data.mining.commits import MINED_LANGUAGES
from codequarry.data.parsing.languages import language_of
from codequarry.data.parsing.not_source import reason_against_name

_NOT_FOUND = "is not there: pass a folder, owner/name on GitHub, or a URL"


@dataclass(frozen=True, slots=True)
class Tree:
    """A source tree on this machine.

    name: what its pairs' source is called: the folder's name, or `owner/name`.
    folder: the folder of its files.
    commit: the commit of these files; None for a folder read as it is.
    absent: how many of the commit's files the clone does not hold, as a partial one may.
    history: its repository and the newest commit; None for a folder that has none.
    trouble: why the history of a repository cannot be read; None where it can, or where there is none.
    unwritable: how many of the commit's files have names that this machine's disk does not take.
    """

    name: str
    folder: Path
    commit: str | None
    absent: int
    history: tuple[GitRepository, str] | None
    trouble: UserError | None = None
    unwritable: int = 0


def tree_name(where: str | Path) -> str:
    """What the pairs of a folder or a repository are called: `flask`, `pallets/flask`.

    >>> tree_name("https://github.com/pallets/flask.git")
    'pallets/flask'
    """
    text = without_secrets(str(where))
    is_name = re.fullmatch(r"[\w.-]+/[\w.-]+", text) and not Path(text).is_dir()
    if isinstance(where, Path) or not (is_name or "://" in text or "@" in text):
        return printable(Path(where).resolve().name).removesuffix(".git")
    text = re.sub(r"(://[^/]*):\d+", r"\1", text)  # without the port
    parts = re.split(r"[/:]", text.strip("/").removesuffix(".git"))
    return "/".join(part.rpartition("@")[2] for part in parts[-2:])


def may_be_mined(path: str) -> bool:
    """Whether a file's name allows for functions to mine; the first lines of one without an ending decide."""
    language = language_of(path)
    if language is None:
        return reason_against_name(path.rpartition("/")[2]) is None
    return language in MINED_LANGUAGES


@contextmanager
def open_tree(
    where: str | Path, *, commit: str | None = None, mirrors: Path | None = None, history: bool = True
) -> Iterator[Tree]:
    """The tree at `where`, for the time of a `with` block.

    A checkout without a commit is read as it is, uncommitted changes included. Everything else is written to
    a temporary folder first: only files that may be mined. A history that git cannot read is no
    error here: `trouble` says why.

    Arguments: as in `open_repository`; `history` says whether commits are wanted.

    Raises UserError where there is nothing, no commit, or a remote that does not answer.
    """
    name = tree_name(where)
    folder = Path(where)
    if not str(where):
        raise UserError(f"An empty name {_NOT_FOUND}.")
    if isinstance(where, Path) and not folder.is_dir():
        raise UserError(f"{where} {'is a file: pass a folder' if folder.exists() else _NOT_FOUND}.")
    if folder.is_dir() and commit is None and not is_bare(folder):
        found, trouble = _history(folder) if history else (None, None)
        yield Tree(name, folder, None, 0, found, trouble)
        return
    repository = open_repository(str(where), commit=commit, mirrors=mirrors, history=history)
    at = repository.resolve(commit or "HEAD")
    with temporary_folder("mine") as temporary:
        try:
            absent, unwritable = _write_files(repository, at, temporary)
        except OSError as failed:
            why = failed.strerror or failed
            raise UserError(f"The files of {name} could not be written to {temporary}: {why}.") from failed
        found = (repository, at) if history else None
        yield Tree(name, temporary, at, absent, found, unwritable=unwritable)


_LARGEST = 1 << 26  # bytes of a file; a larger one is no source, and a few bytes of a pack can stand for it
_NAME_ERRORS = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)


def _write_files(repository: GitRepository, commit: str, folder: Path) -> tuple[int, int]:
    """Write the files one by one, and say how many the clone does not hold, and how many have odd names.

    `git archive` would leave out what `export-ignore` says, often the tests.
    """
    tree = repository.tree(commit)
    listed = [path for path in repository.list_files(commit) if may_be_mined(path)]
    wanted = [path for path in listed if _stays_inside(path)]
    absent, unwritable = 0, len(listed) - len(wanted)
    contents = repository.read_blobs((tree[path][1] for path in wanted), _LARGEST)
    for path, content in zip(wanted, contents, strict=True):
        if content is None:
            absent += 1
            continue
        place = folder / path
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        except OSError as failed:
            if failed.errno not in _NAME_ERRORS:
                raise
            unwritable += 1
    return absent, unwritable


def _stays_inside(path: str) -> bool:
    # A tree that was made by hand can hold any name; one below a `.git` could pose as a repository's own.
    parts = path.replace("\\", "/").lower().split("/")
    return not {"", ".", "..", ".git"}.intersection(parts) and ":" not in path


def _history(folder: Path) -> tuple[tuple[GitRepository, str] | None, UserError | None]:
    """The repository of a checkout, or why it cannot be read; neither without a commit."""
    if not os.path.lexists(folder / ".git"):
        return None, None
    try:
        repository = open_repository(str(folder.resolve()))
        return (repository, repository.resolve()), None
    except NoCommitError:
        return None, None
    except UserError as error:
        return None, error
