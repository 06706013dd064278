"""The commits of a repository: who changed which files when, and how it is described."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from codequarry.data.git.process import GitStream
from codequarry.data.git.repository import GitRepository

# What git shows at most of a time, and so does `datetime`: the end of the year 9999.
_LAST_SECOND = 253_402_300_799
GIVE_UP = 20  # commits in a row that git cannot read


def seconds(text: str) -> int:
    """A commit's time in seconds since 1970; 0 for what is no time, as anybody can write any.

    >>> seconds("99999999999999999999")
    0
    """
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
    return number if number <= _LAST_SECOND else 0


class Log:
    """The commits without merges that are reachable from `newest`, newest first: their fields, their files.

    Renames are not searched for: a renamed file is one deleted and one added. A commit whose folders are not
    in the clone, or damaged, is passed over.

    Arguments:
        fields: placeholders of git's `--format`.
        files: `--name-only` for the paths that a commit changes, `--name-status` with `A`, `M`, `D` or `T`
            before each of them.
        roots: commits without a parent too.
        limit: how many to give; None for all.
        patterns: only commits that change a file matching one of these, and only these files; () for all.

    Known when all commits are read:
        absent: how many were passed over.
        failed: git's words where it could not read them, else "".
    """

    def __init__(
        self,
        repository: GitRepository,
        newest: str,
        fields: Sequence[str],
        *,
        files: str = "--name-only",
        roots: bool = False,
        limit: int | None = None,
        patterns: Sequence[str] = (),
    ) -> None:
        self.repository, self.newest, self.limit = repository, newest, limit
        self.absent, self.failed = 0, ""
        # NUL ends each field and each name, because neither can hold one; an empty name begins a commit.
        form = "".join(f"{field}%x00" for field in ("%x00%H", *fields))
        self._about = [f"--format={form}", "-z", files, "--no-renames"]
        self._which = ["--no-merges", *([] if roots else ["--min-parents=1"])]
        self._options = ["--root"] if roots else []
        self._patterns = ["--", *patterns] if patterns else []
        self._count = len(fields)

    def __iter__(self) -> "Iterator[Found]":
        self.absent, self.failed = 0, ""
        seen = set()
        most = [] if self.limit is None else [f"--max-count={self.limit}"]
        log = ["log", *self._about, *self._which, *most, self.newest, *self._patterns]
        stream = self.repository.stream(log)
        for found in _records(stream, self._count):
            seen.add(found[0])
            yield found
        if stream.failed:
            self.failed = stream.failed
            yield from self._one_by_one(seen)

    def check(self) -> None:
        """Raise GitError where commits were damaged; a partial clone lacks some on purpose."""
        if self.failed and not self.repository.is_partial:
            raise self.repository.unreadable(self.failed, "the history of ")

    def _one_by_one(self, seen: set[str]) -> "Iterator[Found]":
        """The commits that a log, which stops at the first missing folder, did not come to."""
        left = -1 if self.limit is None else self.limit - len(seen)
        listed = self.repository.stream(["rev-list", *self._which, self.newest])
        waiting = [commit for line in listed if (commit := line.decode().strip()) not in seen]
        options = [*self._options, *self._about, *self._patterns]
        for found in one_by_one(self.repository, options, waiting, self._count):
            if found is None:
                self.absent += 1
            elif (found[2] or not self._patterns) and left:
                yield found
                left -= 1
            if not left:
                return


Found = tuple[str, list[str], list[str]]  # a commit's hash, its fields, its names


def one_by_one(
    repository: GitRepository, options: Sequence[str], commits: Sequence[str], count: int
) -> Iterator[Found | None]:
    """What `git diff-tree` says of each commit, in their order; None for one whose folders are not all here.

    After twenty in a row that git cannot read, None stands for the rest.

    Arguments:
        options: beyond `--stdin -r`: `-z`, and a format of NUL, `%H` and the fields, NUL after each.
        count: of the fields.
    """
    waiting = list(commits)
    failures = 0
    while waiting:
        stream = repository.stream(["diff-tree", "--stdin", "-r", "--always", *options], waiting)
        done = 0
        for found in _records(stream, count):
            done, failures = done + 1, 0
            yield found
        if not stream.failed:
            return
        failures += 1
        yield None
        waiting = waiting[done + 1 :]
        if failures == GIVE_UP:
            yield from [None] * len(waiting)
            return


def _records(stream: GitStream, count: int) -> Iterator[Found]:
    records = stream.records()
    for head in records:
        if not head:
            continue
        fields = [next(records, b"").decode("utf-8", "replace") for _ in range(count)]
        names = []
        next(records, b"")  # `-z` ends the message with another NUL
        if first := next(records, b""):
            rest = iter(records.__next__, b"")  # up to the next commit
            names = [os.fsdecode(name) for name in chain([first.removeprefix(b"\n")], rest)]
        yield head.decode(), fields, names


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit that has one parent.

    hash, parent: 40 hex digits each, or 64 of SHA-256.
    time: seconds since 1970, the committer's; 0 where what is written there is no time.
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

    Raises GitError at the end where the history is damaged, and where a partial clone has nothing of it; what
    else such a clone lacks is passed over.
    """
    found = False
    fields = ("%P", "%ct", "%an <%ae>", "%s", "%b")
    log = Log(repository, repository.resolve(newest), fields, files="--name-status", limit=limit)
    for head, (parent, time, author, subject, body), cells in log:
        changes = sorted(zip(cells[::2], cells[1::2], strict=False), key=lambda change: change[1])
        found = True
        yield Commit(head, parent, seconds(time), author, subject, body.strip(), tuple(changes))
    if log.failed and not found:
        raise repository.unreadable(log.failed, "the history of ")
    log.check()


def last_changes(repository: GitRepository, commit: str) -> dict[str, int]:
    """By path the time of the newest commit that changed the file, in seconds since 1970.

    Raises GitError where the history is damaged; what a partial clone lacks is passed over.
    """
    times: dict[str, int] = {}
    log = Log(repository, commit, ("%ct",), roots=True)
    for _, (time,), paths in log:
        for path in paths:
            times[path] = max(seconds(time), times.get(path, 0))
    log.check()
    return times
