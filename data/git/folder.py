"""Where a repository keeps its parts, read without git, so that none of its settings is ever obeyed.

A repository is data of a stranger. Its configuration can name programs to run, and any of its files can be a
pipe, a device or without end. So only regular files of bounded size are opened here, and only hashes,
names of references and paths are taken from them.
"""

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codequarry.common.files import read_regular
from codequarry.data.git.process import GitError

_SMALL = 1 << 20  # bytes: HEAD, one reference, `config`, `commondir`, `info/exclude`, `alternates`
_LARGE = 1 << 28  # bytes: `packed-refs` and `shallow` of the largest repositories have a tenth of it
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ALTERNATES = 100
_SYMREFS = 5  # references that name another one after another, as git allows
_PER_WORKTREE = ("refs/bisect/", "refs/worktree/", "refs/rewritten/")


class FolderError(GitError):
    """A part of a repository that is not as git makes it; the message holds what to do."""


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

    def read_reference(self, name: str) -> tuple[str | None, str]:
        """The hash that `HEAD`, a branch or a tag holds, and the last name that led to it.

        None where that name is not there.

        Raises GitError for one that holds neither a hash nor a name.
        """
        if self.settings().get("refstorage", "files") != "files":
            raise FolderError(
                "its branches are stored as a reftable, which is not read: pass a commit by its hash, or "
                "convert them with `git refs migrate --ref-format=files`"
            )
        for _ in range(_SYMREFS):
            if not is_reference(name):
                break
            own = name == "HEAD" or name.startswith(_PER_WORKTREE)
            value = _reference(self.git_dir if own else self.common, name)
            if not value and name != "HEAD":
                return self.packed().get(name), name
            if _HASH.fullmatch(value):
                return value, name
            if not value.startswith("ref:"):
                raise FolderError(
                    f"its {name} holds neither a hash nor the name of a branch: write one into it, or clone "
                    "the repository again"
                )
            name = value.removeprefix("ref:").strip()
        raise FolderError(
            f"its HEAD leads to {name!r}, which is no name of a branch or leads back: "
            "`git symbolic-ref HEAD` sets another"
        )

    def packed(self) -> dict[str, str]:
        """The references in `packed-refs`."""
        lines = (line.split(" ", 1) for line in _text(self.common / "packed-refs", _LARGE).splitlines())
        return {one[1]: one[0] for one in lines if len(one) == 2 and _HASH.fullmatch(one[0])}

    def references(self) -> Iterator[tuple[str, str]]:
        """Name and hash of each branch, tag and other reference."""
        found = self.packed()
        for place, _, names in os.walk(self.common / "refs"):
            for one in names:
                name = f"refs/{(Path(place) / one).relative_to(self.common / 'refs').as_posix()}"
                value = _reference(self.common, name) if is_reference(name) else ""
                if _HASH.fullmatch(value):
                    found[name] = value
        yield from ((name, value) for name, value in sorted(found.items()) if is_reference(name))

    def shallow(self) -> list[str]:
        """The commits whose parents are not here, as `git clone --depth` leaves them."""
        lines = _text(self.common / "shallow", _LARGE).splitlines()
        return [line for line in lines if _HASH.fullmatch(line)]

    def excluded(self) -> bytes:
        """The rules of `info/exclude`, which add to those of `.gitignore`."""
        return read_part(self.common / "info" / "exclude", _SMALL) or b""


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
                raise FolderError(f"{inside} is no git directory and names none: clone the repository again.")
            git_dir = folder / line.removeprefix("gitdir:").strip()
        found = _common(git_dir)
        (found.git_dir / "HEAD").lstat()
        if not found.objects.is_dir():
            raise FileNotFoundError(2, "No such file or directory", str(found.objects))
    except FolderError:
        raise  # a sentence of ours, with what to do next
    except (OSError, ValueError) as error:
        raise FolderError(
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


def is_reference(name: str) -> bool:
    """Whether git takes a name for one of a branch, a tag or another reference."""
    parts = name.split("/")
    return name == "HEAD" or (
        parts[0] == "refs"
        and len(parts) > 1
        and not any(part.startswith(".") or part.endswith((".lock", ".")) or not part for part in parts)
        and not re.search(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{", name)
    )


def _reference(folder: Path, name: str) -> str:
    """What one file of a reference holds, "" where there is none."""
    path = folder / name
    if path.is_symlink() and is_reference(target := str(path.readlink())):
        return f"ref: {target}"  # as git wrote HEAD before 2005, and does for a link still
    held = read_part(path, _SMALL)
    return "" if held is None else os.fsdecode(held).strip() or "nothing"


def check_objects(folder: GitFolder) -> None:
    """Raise GitError where the objects hold a pipe, a device or another thing that git would hang on.

    Alternates, as `git clone --shared` and `--reference` make, are followed as git follows them: only objects
    can be read there, and only by a hash that one knows already.
    """
    waiting = [(folder.objects, 0)]
    seen: set[Path] = set()
    while waiting:
        objects, depth = waiting.pop()
        if (place := objects.resolve()) in seen or len(seen) > _ALTERNATES:
            continue
        seen.add(place)
        try:
            _check_below(objects, 3)
        except OSError as error:
            raise FolderError(
                f"its objects cannot be read ({_reason(error)}): clone the repository again"
            ) from error
        for line in _text(objects / "info" / "alternates").splitlines():
            if line.startswith(("//", "\\\\")):
                raise FolderError(
                    f"it takes objects from another machine ({line}), which is not asked: clone the "
                    "repository"
                )
            if line and not line.startswith("#") and depth < 5 and (objects / line).is_dir():
                waiting.append((objects / line, depth + 1))


def _check_below(folder: Path, depth: int) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                if depth:
                    _check_below(Path(entry.path), depth - 1)
            elif not entry.is_file() and entry.name != "alternates" and not _is_dangling(entry):
                raise FolderError(
                    f"{entry.path} is no regular file: remove it, or clone the repository again"
                )


def _is_dangling(entry: "os.DirEntry[str]") -> bool:
    return entry.is_symlink() and not Path(entry.path).exists()


def read_part(path: Path, most: int) -> bytes | None:
    """The bytes of a repository's file, None where there is none; links are followed, as git follows them.

    Raises GitError for a pipe, a device or a file of over `most` bytes, and for one that cannot be opened.
    """
    try:
        if path.is_dir():
            return None
        data = read_regular(path, most, follow=True)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise FolderError(
                f"{path} is no regular file: remove it, or clone the repository again."
            ) from error
        raise FolderError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > most:
        raise FolderError(f"{path} has over {most:,} bytes, which no file of that name has: remove it.")
    return data


def _text(path: Path, most: int = _SMALL) -> str:
    return os.fsdecode(read_part(path, most) or b"")
