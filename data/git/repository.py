"""A git repository read with plain `git` plumbing: a checkout, a bare mirror or a remote, at one commit.

Nothing of a repository is ever run: no work tree is checked out, no hook and no filter is called.

>>> repository = open_repository("pallets/markupsafe", commit="…")
>>> for path, content in repository.read_files("…", repository.list_files("…", ["src/**/*.py"])): ...
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from pathspec import GitIgnoreSpec

from codequarry.common.errors import UserError
from codequarry.common.files import atomic_path, cache_folder

_HOST = "https://github.com/"
_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class GitRepository:
    """A repository on this machine.

    name: how it is called: `owner/name`, a URL, or its folder's name.
    git_dir: the folder with `HEAD` and `objects`.
    """

    name: str
    git_dir: Path

    def resolve(self, revision: str = "HEAD") -> str:
        """The commit that a branch, tag or part of a hash means, as 40 hex digits.

        Raises UserError where there is no such commit, and for a repository without any.
        """
        try:
            return self.git(
                "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
            ).strip()
        except UserError:
            if revision == "HEAD":
                raise UserError(f"The repository {self.name} has no commit yet: commit something.") from None
            raise UserError(f"The repository {self.name} has no commit {revision!r}.") from None

    def list_files(self, commit: str, patterns: Sequence[str] = ()) -> list[str]:
        """The paths of the regular files of a commit, sorted; with patterns, those that match one.

        patterns: as in `.gitignore`: `*.py` anywhere, `src/**/*.py`, `/README.md` at the top; `!…` takes out.
        """
        listed = self.git("ls-tree", "-r", "-z", commit)
        paths = [entry.split("\t", 1)[1] for entry in listed.split("\0") if entry.startswith("100")]
        if patterns:
            paths = list(GitIgnoreSpec.from_lines(patterns).match_files(paths))
        return sorted(paths)

    def read_files(self, commit: str, paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Path and bytes of each file, in the order asked for; symbolic links come as the path they hold.

        Raises UserError for a path that the commit does not have.
        """
        process = _start(self._command("cat-file", "--batch"), stdin=subprocess.PIPE, stderr=None)
        asked, answered = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
        try:
            for path in paths:
                if "\n" in path:
                    continue  # such a name cannot be asked for in this way; no source file has one
                asked.write(f"{commit}:{path}\n".encode())
                asked.flush()
                head = answered.readline().split()
                if not head or head[-1] == b"missing":
                    raise UserError(f"The repository {self.name} has no file {path} at {commit[:12]}.")
                content = answered.read(int(head[-1]))
                answered.read(1)
                yield path, content
        finally:
            asked.close()
            answered.close()
            process.wait()

    def git(self, *arguments: str) -> str:
        """What a git command prints, as text; bytes that are not UTF-8 are replaced.

        Raises UserError with git's own words when it fails.
        """
        return _git(self._command(*arguments), self.name)

    def stream(self, arguments: Sequence[str], lines: Iterable[str]) -> "GitStream":
        """What a git command prints for these lines on its input; nothing is started before it is read."""
        return GitStream(self._command(*arguments), lines)

    def _command(self, *arguments: str) -> list[str]:
        return ["git", f"--git-dir={self.git_dir}", "-c", "core.quotePath=false", *arguments]


class GitStream:
    """The lines that a git command prints, each with its end, for lines on its input.

    failed: git's last words where it stopped early, else ""; known when all lines are read.
    """

    def __init__(self, command: Sequence[str], lines: Iterable[str]) -> None:
        self.command, self.asked = command, lines
        self.failed = ""

    def __iter__(self) -> Iterator[bytes]:
        # Files, because a pipe on both ends may fill up on both.
        with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as complaints:
            asked.write("".join(f"{one}\n" for one in self.asked).encode())
            asked.seek(0)
            with _start(self.command, stdin=asked, stderr=complaints) as process:
                yield from cast(IO[bytes], process.stdout)
            if process.returncode:
                complaints.seek(0)
                self.failed = _last_words(complaints.read())


def open_repository(
    where: str, *, commit: str | None = None, mirrors: Path | None = None, history: bool = False
) -> GitRepository:
    """The repository at `where`, brought here first when it is remote.

    Arguments:
        where: a folder (checkout or bare), `owner/name` on GitHub, or a URL that `git clone` takes.
        commit: 40 hex digits; of a remote without history only this commit is brought.
        mirrors: a folder of checkouts or bare clones named `owner+name` or `name`, tried before the network.
        history: whether all commits are needed.

    A remote is kept in the user's cache (`CODEQUARRY_CACHE`), so the second time needs no network.

    Raises UserError where there is no repository, no git program, or the remote does not answer.
    """
    if where.startswith("-"):
        raise UserError(f"{where!r} is no repository: pass a folder, owner/name or a URL.")
    if commit is not None and not _COMMIT.fullmatch(commit):
        raise UserError(f"{commit!r} is no commit: pass all its 40 hex digits.")
    if Path(where).is_dir():
        folder = Path(where).resolve()
        if (git_dir := _find_git_dir(folder)) is None:
            raise UserError(f"{folder} is no git repository: pass a checkout or a bare clone.")
        return GitRepository(folder.name, git_dir)
    if not _NAME.fullmatch(where) and "://" not in where and "@" not in where:
        raise UserError(f"{where} is not there: pass a folder, owner/name on GitHub, or a URL.")
    label = where.removeprefix(_HOST).removesuffix(".git").strip("/").replace("/", "+")
    if mirrors is not None and (git_dir := _mirrored(mirrors, label)) is not None:
        return GitRepository(where, git_dir)
    url = _HOST + where if _NAME.fullmatch(where) else where
    cache = cache_folder("git")
    label = re.sub(r"[^\w.+-]", "_", label)
    if history or commit is None:
        return GitRepository(where, _cloned(url, cache / f"{label}.git", commit))
    return GitRepository(where, _one_commit(url, cache / f"{label}@{commit[:12]}.git", commit))


def _mirrored(mirrors: Path, label: str) -> Path | None:
    for name in (label, label.rpartition("+")[2]):
        for folder in (mirrors / name, mirrors / name / "repo", mirrors / f"{name}.git"):
            if folder.is_dir() and (git_dir := _find_git_dir(folder)) is not None:
                return git_dir
    return None


def _cloned(url: str, folder: Path, commit: str | None) -> Path:
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder) as temporary:
            _git(["git", "clone", "--bare", "--quiet", "--", url, str(temporary)], url)
    elif commit is None or not _has(folder, commit):
        _git(["git", f"--git-dir={folder}", "fetch", "--quiet", "--force", url, "+HEAD:HEAD"], url)
    return folder


def _one_commit(url: str, folder: Path, commit: str) -> Path:
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder) as temporary:
            _git(["git", "init", "--bare", "--quiet", str(temporary)], url)
            _git(["git", f"--git-dir={temporary}", "fetch", "--quiet", "--depth=1", "--", url, commit], url)
            _git(["git", f"--git-dir={temporary}", "update-ref", "--no-deref", "HEAD", commit], url)
    return folder


def _has(git_dir: Path, commit: str) -> bool:
    process = _start(["git", f"--git-dir={git_dir}", "cat-file", "-e", f"{commit}^{{commit}}"])
    process.communicate()
    return process.returncode == 0


def is_bare(folder: Path) -> bool:
    """Whether a folder is a repository without a checkout."""
    return (folder / "HEAD").is_file() and (folder / "objects").is_dir()


def _find_git_dir(folder: Path) -> Path | None:
    if is_bare(folder):
        return folder
    if not (folder / ".git").exists():
        return None
    # A worktree's `.git` is a file that points elsewhere; git knows where.
    return Path(_git(["git", "-C", str(folder), "rev-parse", "--absolute-git-dir"], str(folder)).strip())


def _git(command: Sequence[str], name: str) -> str:
    process = _start(command)
    printed, complaints = process.communicate()
    if process.returncode:
        raise UserError(f"git could not read {name}: {_last_words(complaints)}")
    return printed.decode("utf-8", "replace")


def _start(
    command: Sequence[str], *, stdin: Any = None, stderr: Any = subprocess.PIPE
) -> "subprocess.Popen[bytes]":
    """The one place where git is started: no question at the terminal, messages in English.

    Raises UserError where git is not installed.
    """
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, env=environment)
    except FileNotFoundError as error:
        raise UserError("The program git is not installed: install it from git-scm.com.") from error


def _last_words(complaints: bytes) -> str:
    words = complaints.decode("utf-8", "replace").strip().splitlines()
    return words[-1] if words else "it gave no reason"


def read_log(
    repository: GitRepository,
    newest: str,
    fields: str,
    *,
    files: str = "--name-only",
    roots: bool = False,
    limit: int | None = None,
    patterns: Sequence[str] = (),
) -> Iterator[tuple[list[str], list[str]]]:
    """The commits without merges that are reachable from `newest`, newest first: their fields, their files.

    Renames are not searched for: a renamed file is one deleted and one added. The user's own settings of
    git change nothing.

    Arguments:
        fields: placeholders of git's `--format` with `%x02` between them.
        files: `--name-only` for the paths that a commit changes, `--name-status` with `A`, `M`, `D` or `T`
            before each of them.
        roots: commits without a parent too.
        limit: how many to give; None for all.
        patterns: only commits that change a file matching one of these, and only these files; () for all.
    """
    options = ["--no-merges", "--no-renames", "--no-show-signature", f"-O{os.devnull}", files, "-z"]
    options += [] if roots else ["--min-parents=1"]
    options += [] if limit is None else [f"--max-count={limit}"]
    behind = ["--", *patterns] if patterns else []
    listed = repository.git("log", *options, f"--format=%x01{fields}%x02", newest, *behind)
    for record in listed.split("\x01")[1:]:
        *cells, names = record.split("\x02", fields.count("%x02") + 1)
        yield cells, [name for name in names.replace("\n", "\0").split("\0") if name]


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit that has one parent.

    hash, parent: 40 hex digits each.
    time: seconds since 1970, the committer's.
    author: name and address, as `Ann <ann@example.org>`.
    subject, body: the first line of the message, and the rest.
    changes: (`A` added, `M` modified, `D` deleted, `T` of another kind; path) for each file, by path.
    """

    hash: str
    parent: str
    time: int
    author: str
    subject: str
    body: str
    changes: tuple[tuple[str, str], ...]


def commits(repository: GitRepository, newest: str = "HEAD", *, limit: int | None = None) -> Iterator[Commit]:
    """The commits reachable from `newest` that have exactly one parent, the newest first.

    limit: how many to give; None for all.
    """
    fields = "%H%x02%P%x02%ct%x02%an <%ae>%x02%s%x02%b"
    log = read_log(repository, repository.resolve(newest), fields, files="--name-status", limit=limit)
    for (head, parent, time, author, subject, body), cells in log:
        changes = sorted(zip(cells[::2], cells[1::2], strict=True), key=lambda change: change[1])
        yield Commit(head, parent, int(time), author, subject, body.strip(), tuple(changes))


def last_changes(repository: GitRepository, commit: str) -> dict[str, int]:
    """By path the time of the newest commit that changed the file, in seconds since 1970."""
    times: dict[str, int] = {}
    for (time,), paths in read_log(repository, commit, "%ct", roots=True):
        for path in paths:
            times[path] = max(int(time), times.get(path, 0))
    return times
