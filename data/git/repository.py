"""A git repository read with plain `git` plumbing: a checkout, a bare mirror or a remote, at one commit.

Nothing of a repository is ever run, fetched or obeyed: its objects are read through an empty git directory of
our own, so that a repository of another owner is as safe to read as one's own.

>>> repository = open_repository("pallets/markupsafe", commit="…")
>>> for path, content in repository.read_files("…", repository.list_files("…", ["src/**/*.py"])): ...
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, cast

from pathspec import GitIgnoreSpec

from codequarry.common.errors import UserError
from codequarry.data.git.address import parse_address, refuse_mistyped_folder, without_secrets
from codequarry.data.git.folder import FolderError, GitFolder, check_objects, find_git_folder, is_reference
from codequarry.data.git.process import GitError, GitStream, MissingGitError, start
from codequarry.data.git.remote import bring, cache_label
from codequarry.data.git.view import GitView

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REVISION = re.compile(r"(?P<name>[^~^]+)(?P<steps>(?:[~^]\d*)*)")
_MOST_FILES = 2_000_000  # of one commit; a few hundred bytes of nested trees can stand for billions


class NoCommitError(UserError):
    """A repository without a commit."""


@dataclass(frozen=True)
class GitRepository:
    """A repository on this machine.

    name: how it is called: `owner/name`, a URL, or its folder's name.
    folder: where its parts are.
    """

    name: str
    folder: GitFolder

    @property
    def git_dir(self) -> Path:
        """The folder with `HEAD`."""
        return self.folder.git_dir

    @cached_property
    def is_partial(self) -> bool:
        """Whether it is a clone that lacks files or folders on purpose, by `git clone --filter`."""
        try:
            named = "partialclone" in self.folder.settings()
        except GitError:
            named = False
        return named or any((self.folder.objects / "pack").glob("*.promisor"))

    @cached_property
    def shallow(self) -> frozenset[str]:
        """The commits whose parents are left out, by `git clone --depth`."""
        return frozenset(self.folder.shallow())

    @cached_property
    def _view(self) -> GitView:
        try:
            check_objects(self.folder)
            return GitView(self.folder)
        except GitError as error:
            raise self.unreadable(error) from None
        except OSError as error:
            raise UserError(
                f"A git directory for reading {self.name} could not be written to {tempfile.gettempdir()}: "
                f"{error.strerror or error}."
            ) from error

    def resolve(self, revision: str = "HEAD") -> str:
        """The commit that a branch, tag or part of a hash means, as 40 hex digits, or 64 of SHA-256.

        Raises UserError where there is no such commit, NoCommitError for a repository without any, and
        GitError where it is there and cannot be read.
        """
        missing = UserError(f"The repository {self.name} has no commit {revision!r}.")
        parts = _REVISION.fullmatch(revision)
        if parts is None or revision.startswith("-"):
            raise missing
        try:
            begin = self._reference(parts["name"])
        except GitError as error:
            raise self.unreadable(error) from None
        if begin is None and not re.fullmatch(r"[0-9a-f]{4,64}", parts["name"]):
            raise missing
        view = self._view
        try:
            asked = f"{begin or parts['name']}{parts['steps']}^{{commit}}"
            printed = view.run(["rev-parse", "--verify", asked])
        except GitError:
            if begin is None or parts["steps"]:
                raise missing from None
            raise self.unreadable(self._fault(begin)) from None
        return printed.decode().strip()

    def _reference(self, name: str) -> str | None:
        """The hash behind a name, None where it may be a hash itself."""
        if _COMMIT.fullmatch(name):
            return None
        if name == "HEAD":
            value, branch = self.folder.read_reference("HEAD")
            if value is None:
                some = next(self.folder.references(), None)
                if some is None:
                    raise NoCommitError(f"The repository {self.name} has no commit yet: commit something.")
                raise FolderError(
                    f"its HEAD names {branch}, which is not there, although {some[0]} is: "
                    "`git symbolic-ref HEAD` sets another"
                )
            return value
        for pattern in ("{}", "refs/{}", "refs/tags/{}", "refs/heads/{}", "refs/remotes/{}"):
            full = pattern.format(name)
            if is_reference(full) and (value := self.folder.read_reference(full)[0]):
                return value
        return None

    def _fault(self, commit: str) -> GitError:
        """What git says of a commit that it cannot read."""
        try:
            self._view.run(["cat-file", "commit", commit])
        except GitError as error:
            return error
        return GitError(f"{commit} is no commit")

    def unreadable(self, error: GitError | str, what: str = "") -> GitError:
        """The sentence for a repository that git cannot read: git's own words, and what to do.

        what: begins the object, as `the history of `.
        """
        if isinstance(error, MissingGitError):
            return error
        words = f"git could not read {what}{self.name}: {str(error).strip().rstrip('.')}."
        if isinstance(error, FolderError):
            return GitError(words)
        if self.is_partial:
            return GitError(f"{words} It is a partial clone: clone it without --filter.")
        return GitError(f"{words} `git fsck` in that folder tells more; clone it again if it is damaged.")

    def tree(self, commit: str) -> dict[str, tuple[str, str]]:
        """Mode and hash of each file of a commit by path, in git's order.

        Names that are not UTF-8 hold lone surrogates, as `os.fsdecode` makes them.
        """
        found = {}
        stream = self.stream(["ls-tree", "-r", "-z", commit])
        for entry in stream.records():
            about, _, name = entry.partition(b"\t")
            mode, _, hash_ = about.decode("ascii").split(" ")
            found[os.fsdecode(name)] = mode, hash_
            if len(found) > _MOST_FILES:
                raise self.unreadable(f"its commit {commit[:12]} has over {_MOST_FILES:,} files")
        if stream.failed:
            raise self.unreadable(stream.failed)
        return found

    def list_files(self, commit: str, patterns: Sequence[str] = ()) -> list[str]:
        """The paths of the regular files of a commit, sorted; with patterns, those that match one.

        patterns: as in `.gitignore`: `*.py` anywhere, `src/**/*.py`, `/README.md` at the top; `!…` takes out.
        """
        paths = [path for path, (mode, _) in self.tree(commit).items() if mode.startswith("100")]
        if patterns:
            spec = GitIgnoreSpec.from_lines(patterns)
            paths = [path for path in paths if spec.match_file(path.replace("\n", " "))]  # `.` is no newline
        return sorted(paths)

    def read_files(self, commit: str, paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Path and bytes of each file, in the order asked for; symbolic links come as the path they hold.

        Raises UserError for a path that the commit does not have, or the clone does not hold.
        """
        tree = self.tree(commit)
        paths = list(paths)
        for path in paths:
            if path not in tree:
                raise self._no_file(path, commit)
        contents = self.read_blobs(tree[path][1] for path in paths)
        for path, content in zip(paths, contents, strict=True):
            if content is None:
                raise self._no_file(path, commit)
            yield path, content

    def _no_file(self, path: str, commit: str) -> UserError:
        return UserError(f"The repository {self.name} has no file {path} at {commit[:12]}.")

    def read_blobs(self, hashes: Iterable[str], most: int | None = None) -> Iterator[bytes | None]:
        """The bytes of each file by its hash, in the order asked for; None for one that is not here.

        most: bytes; None stands for a larger one too.
        """
        process = self._cat_file()
        try:
            for one in hashes:
                content = _one_blob(process, one, most)
                if content is None and process.poll() is not None:  # git stops at an object that is damaged
                    process = self._cat_file()
                yield content
        finally:
            process.kill()
            process.communicate()

    def _cat_file(self) -> "subprocess.Popen[bytes]":
        view = self._view
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        return start(["cat-file", "--batch"], view.environment, view.path, stdin=pipe, stderr=nowhere)

    def absent(self, hashes: Iterable[str]) -> set[str]:
        """Those of the hashes that stand for nothing here."""
        lines = self.stream(["cat-file", "--batch-check"], hashes)
        return {words[0].decode() for line in lines if (words := line.split())[-1] == b"missing"}

    def stream(self, arguments: Sequence[str], lines: Iterable[str] = ()) -> GitStream:
        """What a git command prints for these lines on its input; nothing is started before it is read."""
        return self._view.stream(arguments, lines)


def open_repository(
    where: str,
    *,
    commit: str | None = None,
    mirrors: Path | None = None,
    history: bool = False,
    is_typed: bool = True,
) -> GitRepository:
    """The repository at `where`, brought here first when it is remote.

    Arguments:
        where: a folder (checkout or bare), `owner/name` on GitHub, or a URL that `git clone` takes. What
            looks like a folder is never asked of a host.
        commit: 40 hex digits, or 64; of a remote without history only this commit is brought.
        mirrors: a folder of checkouts or bare clones named `owner+name` or `name`, tried before the network.
        history: whether all commits are needed.
        is_typed: whether a person wrote it, who may have meant a folder; False for `owner/name` of a table.

    A remote is kept in the user's cache (`CODEQUARRY_CACHE`), so the second time needs no network.

    Raises UserError where there is no repository, no git program, or the remote does not answer.
    """
    if not where or where.startswith("-") or "\0" in where:
        raise UserError(f"{where!r} is no repository: pass a folder, owner/name or a URL.")
    if commit is not None and not _COMMIT.fullmatch(commit):
        raise UserError(f"{without_secrets(commit)!r} is no commit: pass all its 40 hex digits.")
    if Path(where).is_dir():
        folder = Path(where).resolve()
        if (found := find_git_folder(folder)) is None:
            raise UserError(f"{folder} is no git repository: pass a checkout or a bare clone.")
        return GitRepository(printable(folder.name), found)
    address = parse_address(where)
    if mirrors is not None and (mirrored := _mirrored(mirrors, cache_label(address.name))) is not None:
        return GitRepository(address.name, mirrored)
    if is_typed:
        refuse_mistyped_folder(where)
    brought = find_git_folder(bring(address, commit, history=history))
    assert brought is not None  # git has just made it
    return GitRepository(address.name, brought)


def _one_blob(process: "subprocess.Popen[bytes]", hash_: str, most: int | None) -> bytes | None:
    asked, answered = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
    try:
        asked.write(f"{hash_}\n".encode())
        asked.flush()
    except BrokenPipeError:
        pass
    head = answered.readline().split()
    if not head:
        process.wait()
    if len(head) != 3:  # `… missing`
        return None
    left, kept = int(head[2]), []
    wanted = most is None or left <= most
    while left > 0 and (block := answered.read(min(left, 1 << 20))):
        left -= len(block)
        if wanted:
            kept.append(block)
    if left:
        process.wait()
        return None
    answered.read(1)
    return b"".join(kept) if wanted else None


def printable(name: str) -> str:
    """A name of the file system as text that can be written; bytes that are not UTF-8 are replaced."""
    return os.fsencode(name).decode("utf-8", "replace")


def _mirrored(mirrors: Path, label: str) -> GitFolder | None:
    for name in (label, label.rpartition("+")[2]):
        for folder in (mirrors / name, mirrors / name / "repo", mirrors / f"{name}.git"):
            if folder.is_dir() and (found := find_git_folder(folder)) is not None:
                return found
    return None
