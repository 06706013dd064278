"""When each file of a commit was changed last."""

from codequarry.data.git_repository import GitRepository


def last_changes(repository: GitRepository, commit: str) -> dict[str, int]:
    """By path the time of the newest commit that changed the file, in seconds since 1970."""
    listed = repository.git(
        "log", "--no-merges", "--no-renames", "--name-only", "-z", "--format=%x01%ct%x02", commit
    )
    times: dict[str, int] = {}
    for record in listed.split("\x01")[1:]:
        time, names = record.split("\x02", 1)
        for path in names.replace("\n", "\0").split("\0"):
            if path:
                times[path] = max(int(time), times.get(path, 0))
    return times
