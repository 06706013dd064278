"""An empty git directory of our own, through which the objects of a stranger's repository are read.

git obeys the configuration of the directory that it is given: programs as pagers, filters, monitors and
signature checkers, hosts to fetch from, hooks, attributes, replaced objects. Ours has none, and names the
repository's objects as its alternate, so that none of that is read, whatever future versions of git add.
"""

import os
import re
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path

from codequarry.data.git.folder import GitFolder, read_part
from codequarry.data.git.process import GitStream, local_environment, run

_CONFIG = """\
[core]
	repositoryformatversion = {version}
	bare = {bare}
	ignorecase = {ignorecase}
	precomposeunicode = {precompose}
	quotePath = false
	commitGraph = false
	fsmonitor = false
	untrackedCache = false
	hooksPath = {devnull}
	attributesFile = {devnull}
	bigFileThreshold = 32m
[uploadpack]
	allowAnySHA1InWant = true
"""
_INDEX = 1 << 30  # bytes; of a million files it has a tenth of it


class GitView:
    """A temporary git directory that reads the objects of `folder`; removed when it is no longer used.

    Arguments:
        work_tree: the checkout's top, where its files are asked about.
        references: whether it has the repository's branches and tags, so that it can be cloned.

    path: the directory.
    environment: the variables for a git that reads it.
    """

    def __init__(self, folder: GitFolder, work_tree: Path | None = None, *, references: bool = False) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="codequarry-git-"))
        self._remove = weakref.finalize(self, _remove, self.path, os.getpid())
        self.environment = local_environment(self.path) | {"GIT_DIR": str(self.path)}
        if work_tree is not None:
            self.environment["GIT_WORK_TREE"] = str(work_tree)
        try:
            self._write(folder, references)
        except BaseException:
            self.close()
            raise

    def _write(self, folder: GitFolder, references: bool) -> None:
        (self.path / "objects" / "info").mkdir(parents=True)
        (self.path / "refs").mkdir()
        (self.path / "info").mkdir()
        (self.path / "HEAD").write_text("ref: refs/heads/none\n")
        (self.path / "objects" / "info" / "alternates").write_bytes(_quoted(folder.objects) + b"\n")
        if shallow := folder.shallow():
            (self.path / "shallow").write_text("".join(f"{line}\n" for line in shallow))
        if references:
            named = [f"{value} {name}\n" for name, value in folder.references()]
            (self.path / "packed-refs").write_bytes(os.fsencode("".join(named)))
            head, _ = folder.read_reference("HEAD")
            (self.path / "HEAD").write_text(f"{head}\n" if head else "ref: refs/heads/none\n")
        sha256 = folder.settings().get("objectformat") == "sha256"
        config = _CONFIG.format(
            version=1 if sha256 else 0,
            bare=str("GIT_WORK_TREE" not in self.environment).lower(),
            ignorecase=str(sys.platform in ("win32", "darwin")).lower(),
            precompose=str(sys.platform == "darwin").lower(),
            devnull=os.devnull,
        )
        config += "[extensions]\n\tobjectFormat = sha256\n" if sha256 else ""
        (self.path / "config").write_text(config)

    def copy_index(self, folder: GitFolder) -> None:
        """Take over the checkout's list of tracked files and its `info/exclude`; neither is ever written."""
        index = read_part(folder.git_dir / "index", _INDEX) or b""
        if index:
            (self.path / "index").write_bytes(index)
        for path in folder.git_dir.glob("sharedindex.*"):
            # A split index names the file that it adds to by its hash.
            if re.fullmatch(r"[0-9a-f]{40,64}", path.suffix[1:]) and bytes.fromhex(path.suffix[1:]) in index:
                (self.path / path.name).write_bytes(read_part(path, _INDEX) or b"")
        (self.path / "info" / "exclude").write_bytes(folder.excluded())

    def run(
        self, arguments: Sequence[str], folder: Path | None = None, *, seconds: float | None = None
    ) -> bytes:
        """What a git command prints; arguments as in `process.run`."""
        return run(arguments, self.environment, folder or self.path, seconds=seconds)

    def stream(self, arguments: Sequence[str], lines: Iterable[str] = ()) -> GitStream:
        """The lines that a git command prints for these lines on its input."""
        return GitStream(arguments, self.environment, self.path, lines)

    def close(self) -> None:
        """Remove the directory now."""
        self._remove()


def _remove(path: Path, process: int) -> None:
    if os.getpid() == process:  # not in a fork, whose parent still reads it
        shutil.rmtree(path, ignore_errors=True)


def _quoted(path: Path) -> bytes:
    """A path as a line of `alternates`."""
    raw = os.fsencode(path)
    if b"\n" not in raw and not raw.startswith((b'"', b"#")):
        return raw
    return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n") + b'"'
