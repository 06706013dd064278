"""Which files of a checkout are source: those that git tracks, and those that no rule ignores."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from codequarry.data.git.folder import GitFolder, find_git_folder
from codequarry.data.git.process import GitError, remote_environment, run
from codequarry.data.git.view import GitView

_SECONDS = 30  # a pipe named .gitignore, or a pattern of many stars, keeps git busy for ever


@dataclass(frozen=True, slots=True)
class CheckoutFiles:
    """The files of a folder inside a checkout: paths relative to it with `/`, in git's order.

    Names that are not UTF-8 hold lone surrogates, as `os.fsdecode` makes them.

    tracked: files and symbolic links of the index; some may be absent on disk.
    untracked: files that no rule ignores; symbolic links and special files among them.
    nested: folders that are repositories of their own, submodules and others; their files are in neither
        list, and `checkout_files` of each gives them.
    """

    tracked: tuple[str, ...]
    untracked: tuple[str, ...]
    nested: tuple[str, ...]


def checkout_files(root: Path, seconds: float = _SECONDS) -> CheckoutFiles | None:
    """What git takes for the files of `root`, a checkout's folder or one below it.

    The rules above the folder apply, those of `info/exclude`, and those of the user's own
    `core.excludesFile`. Nothing of the checkout's configuration is read, and nothing is written or run.

    seconds: how long git may take.

    None where there is no checkout, no git, where git fails or takes too long, and where nothing is listed,
    as in a folder that is ignored as a whole: the caller then reads the folder itself.
    """
    try:
        root = root.resolve()
        if (found := _checkout_of(root)) is None:
            return None
        folder, top = found
        view = GitView(folder, top)
        try:
            view.copy_index(folder)
            rules = ["-c", f"core.excludesFile={_own_rules()}"]
            listed = view.run(["ls-files", "--stage", "-z"], root, seconds=seconds)
            others = view.run(
                [*rules, "ls-files", "--others", "--exclude-standard", "-z"], root, seconds=seconds
            )
        finally:
            view.close()
    except (GitError, OSError):
        return None
    tracked: dict[str, None] = {}
    nested: dict[str, None] = {}
    for entry in listed.split(b"\0"):
        about, _, name = entry.partition(b"\t")
        if name:  # a file in conflict is there up to three times
            (nested if about.startswith(b"160000 ") else tracked)[os.fsdecode(name)] = None
    untracked = []
    for name in others.split(b"\0"):
        if name.endswith(b"/"):
            nested[os.fsdecode(name[:-1])] = None
        elif name:
            untracked.append(os.fsdecode(name))
    if not (tracked or untracked or nested):
        return None
    return CheckoutFiles(tuple(tracked), tuple(untracked), tuple(nested))


def _checkout_of(root: Path) -> tuple[GitFolder, Path] | None:
    """The repository that `root` is in, and the top of its checkout.

    As in git, the search upwards ends at another file system. Above the folder, only a checkout of the same
    owner, of this process's user or of the system's administrator counts: anybody can make a `/tmp/.git`.
    """
    about = root.stat()
    for top in (root, *root.parents):
        if top.stat().st_dev != about.st_dev:
            return None
        git = top / ".git"
        if not os.path.lexists(git):
            continue
        trusted = (about.st_uid, 0, os.geteuid() if hasattr(os, "geteuid") else 0)
        if top != root and git.lstat().st_uid not in trusted:
            continue
        try:
            return (folder, top) if (folder := find_git_folder(top)) is not None else None
        except GitError:
            if not git.is_dir():  # git passes over a folder of that name only
                raise
    return None


def _own_rules() -> str:
    """The file of the user's own rules, `core.excludesFile` of their configuration, or its default."""
    with tempfile.TemporaryDirectory(prefix="codequarry-git-") as empty:
        environment = remote_environment() | {"GIT_DIR": empty, "GIT_ALLOW_PROTOCOL": "none"}
        try:
            named = run(
                ["config", "--type=path", "--get", "core.excludesFile"], environment, Path(empty), seconds=10
            )
            return os.fsdecode(named).removesuffix("\n")
        except GitError:
            chosen = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
            return str(Path(chosen).expanduser() / "git" / "ignore")
