"""Where a repository keeps its parts, read without git, so that none of its settings is ever obeyed.

A repository is data of a stranger. Its configuration can name programs to run, and any of its files can be a
pipe, a device or without end. So only regular files of bounded size are opened here, and only hashes,
names of references and paths are taken from them.
"""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from codequarry.data.git.process import GitError

_SMALL = 1 << 20  # bytes: HEAD, one reference, `config`, `commondir`, `info/exclude`, `alternates`
_LARGE = 1 << 28  # bytes: `packed-refs` and `shallow` of the largest repositories have a tenth of it
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SYMREFS = 5  # references that name another one after another, as git allows
_PER_WORKTREE = ("refs/bisect/", "refs/worktree/", "refs/rewritten/")


@dataclass(frozen=True)
class GitFolder:
    """The folders of a repository.

    git_dir: holds `HEAD` and `index`; a linked worktree has its own.
    common: holds `objects`, `refs` and `config`; the same as `git_dir` but in a linked worktree.
    """

    git_dir: Path
    common: Path

    @property
    def objects(self) -> Path:
        """Commits, trees and files, by hash."""
        return self.common / "objects"

    def settings(self) -> dict[str, str]:
        """The `extensions` of `config` in lower letters: in which format the repository is stored."""
        found = {}
        section = ""
        for line in _text(self.common / "config").splitlines():
            line = line.strip()
            if heading := re.match(r"\[\s*([^\]\s\"]*)([^\]]*)\]", line):
                section = "" if heading[2].strip() else heading[1].lower()
                line = line[heading.end() :].strip()
            if section == "extensions" and (pair := re.match(r"(\w+)\s*=\s*\"?([^\"#;]*)", line)):
                found[pair[1].lower()] = pair[2].strip().lower()
        return found

    def shallow(self) -> list[str]:
        """The commits whose parents are not here, as `git clone --depth` leaves them."""
        lines = _text(self.common / "shallow", _LARGE).splitlines()
        return [line for line in lines if _HASH.fullmatch(line)]

    def excluded(self) -> bytes:
        """The rules of `info/exclude`, which add to those of `.gitignore`."""
        return read_regular(self.common / "info" / "exclude", _SMALL) or b""


def find_git_folder(folder: Path) -> GitFolder | None:
    """The repository of a checkout or a bare clone; None where `folder` is neither.

    `.git` wins over `HEAD` and `objects` next to it: a project can hold a folder that looks like a bare
    repository, and its settings are not those of the checkout. A `.git` that leads elsewhere, as in a
    worktree or a submodule, is followed as git follows it.

    Raises GitError for a `.git` that is no git directory.
    """
    inside = folder / ".git"
    if not os.path.lexists(inside):
        return _common(folder) if is_bare(folder) else None
    try:
        if inside.is_dir():
            git_dir = inside
        else:
            line = _text(inside).rstrip("\r\n")
            if not line.startswith("gitdir:"):
                raise GitError(f"{inside} is no git directory and names none: clone the repository again.")
            git_dir = folder / line.removeprefix("gitdir:").strip()
        found = _common(git_dir)
        (found.git_dir / "HEAD").lstat()
        if not found.objects.is_dir():
            raise FileNotFoundError(2, "No such file or directory", str(found.objects))
    except (OSError, ValueError) as error:
        raise GitError(
            f"{folder} has a .git that is no git directory ({_reason(error)}): clone the repository again."
        ) from error
    return found


def is_bare(folder: Path) -> bool:
    """Whether a folder is a repository without a checkout."""
    return (
        not os.path.lexists(folder / ".git")
        and os.path.lexists(folder / "HEAD")
        and (folder / "objects").is_dir()
        and (folder / "refs").is_dir()
    )


def _common(git_dir: Path) -> GitFolder:
    named = _text(git_dir / "commondir").rstrip("\r\n")
    return GitFolder(git_dir.resolve(), (git_dir / named).resolve() if named else git_dir.resolve())


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    return str(error)


def read_regular(path: Path, most: int) -> bytes | None:
    """The bytes of a regular file, None where there is none.

    Raises GitError for a pipe, a device or a file of over `most` bytes, and for one that cannot be opened.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            if path.is_dir():
                return None
            raise GitError(f"{path} is no regular file: remove it, or clone the repository again.")
        # Not blocking, should a pipe take the file's place in between.
        with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            data = file.read(most + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise GitError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > most:
        raise GitError(f"{path} has over {most:,} bytes, which no file of that name has: remove it.")
    return data


def _text(path: Path, most: int = _SMALL) -> str:
    return os.fsdecode(read_regular(path, most) or b"")
