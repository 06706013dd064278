"""What is mined: a folder as it is, or a repository's files at one commit."""

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from codequarry.common.errors import UserError
from codequarry.data.git import GitRepository, is_bare, open_repository
from codequarry.data.mining.commits import MINED_LANGUAGES

_NOT_FOUND = "is not there: pass a folder, owner/name on GitHub, or a URL"


@dataclass(frozen=True, slots=True)
class Tree:
    """A source tree on this machine.

    name: what its pairs' source is called: the folder's name, or `owner/name`.
    folder: the folder of its files.
    commit: the commit of these files; None for a folder read as it is.
    absent: how many of the commit's files the clone does not hold, as a partial one may.
    history: its repository and the newest commit; None for a folder that has none.
    """

    name: str
    folder: Path
    commit: str | None
    absent: int
    history: tuple[GitRepository, str] | None


def tree_name(where: str | Path) -> str:
    """What the pairs of a folder or a repository are called: `flask`, `pallets/flask`.

    >>> tree_name("https://github.com/pallets/flask.git")
    'pallets/flask'
    """
    text = str(where)
    is_name = re.fullmatch(r"[\w.-]+/[\w.-]+", text) and not Path(text).is_dir()
    if isinstance(where, Path) or not (is_name or "://" in text or "@" in text):
        return Path(where).resolve().name.removesuffix(".git")
    parts = re.split(r"[/:]", text.strip("/").removesuffix(".git"))
    return "/".join(parts[-2:])


@contextmanager
def open_tree(
    where: str | Path, *, commit: str | None = None, mirrors: Path | None = None, history: bool = True
) -> Iterator[Tree]:
    """The tree at `where`, for the time of a `with` block.

    A checkout without a commit is read as it is, uncommitted changes included. Everything else is written to
    a temporary folder first: only files of languages that are mined.

    Arguments: as in `open_repository`; `history` says whether commits are wanted.

    Raises UserError where there is nothing, no commit, or a remote that does not answer.
    """
    name = tree_name(where)
    folder = Path(where)
    if isinstance(where, Path) and not folder.is_dir():
        raise UserError(f"{where} {'is a file: pass a folder' if folder.exists() else _NOT_FOUND}.")
    if folder.is_dir() and commit is None and not is_bare(folder):
        yield Tree(name, folder, None, 0, _history(folder) if history else None)
        return
    repository = open_repository(str(where), commit=commit, mirrors=mirrors, history=history)
    at = repository.resolve(commit or "HEAD")
    patterns = [f"*{ending}" for language in MINED_LANGUAGES for ending in language.extensions]
    patterns += [filename for language in MINED_LANGUAGES for filename in language.filenames]
    with tempfile.TemporaryDirectory(prefix="codequarry-mine-") as temporary:
        try:
            absent = _write_files(repository, at, patterns, Path(temporary))
        except OSError as failed:
            why = failed.strerror or failed
            raise UserError(f"The files of {name} could not be written to {temporary}: {why}.") from failed
        yield Tree(name, Path(temporary), at, absent, (repository, at) if history else None)


def _write_files(repository: GitRepository, commit: str, patterns: Sequence[str], folder: Path) -> int:
    """Write the files one by one, and say how many the clone does not hold.

    `git archive` would leave out what `export-ignore` says, often the tests.
    """
    wanted = [path for path in repository.list_files(commit, patterns) if _stays_inside(path)]
    absent = 0
    while wanted:
        written = 0
        try:
            for path, content in repository.read_files(commit, wanted):
                place = folder / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
                written += 1
            break
        except UserError:  # the file after the last one is absent
            absent += 1
            wanted = wanted[written + 1 :]
    return absent


def _stays_inside(path: str) -> bool:
    # A tree that was made by hand can hold any name.
    parts = path.replace("\\", "/").split("/")
    return not {"", ".", ".."}.intersection(parts) and ":" not in path and "\n" not in path


def _history(folder: Path) -> tuple[GitRepository, str] | None:
    """The repository of a checkout, None for a folder that is none or has no commit yet."""
    if not (folder / ".git").exists():
        return None
    try:
        repository = open_repository(str(folder))
        return repository, repository.resolve()
    except UserError:
        return None
