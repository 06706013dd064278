"""The commits of a repository: what was said, and which files were changed."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from codequarry.data.git_repository import GitRepository


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
    # Renames are not searched for: a renamed file is one deleted and one added, whatever git's settings.
    listed = repository.git(
        "log",
        "--no-merges",
        "--min-parents=1",
        "--no-renames",
        "--no-show-signature",
        f"-O{os.devnull}",
        "--name-status",
        "-z",
        *([f"--max-count={limit}"] if limit is not None else []),
        "--format=%x01%H%x02%P%x02%ct%x02%an <%ae>%x02%s%x02%b%x02",
        repository.resolve(newest),
    )
    for record in listed.split("\x01")[1:]:
        head, parent, time, author, subject, body, rest = record.split("\x02", 6)
        cells = [cell for cell in rest.replace("\n", "\0").split("\0") if cell]
        changes = tuple(sorted(zip(cells[::2], cells[1::2], strict=True), key=lambda change: change[1]))
        yield Commit(head, parent, int(time), author, subject, body.strip(), changes)
