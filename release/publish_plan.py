"""What a release would change in a repository: each file is new, changed, already there, or stale."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codequarry.release.manifest import MANIFEST

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# The Hub writes this file itself, says in it what lies in LFS, and no release has one.
OF_THE_HUB = ".gitattributes"


@dataclass(frozen=True)
class RemoteFile:
    """A file as a commit on the Hub names it: its size in bytes, and one of two checksums.

    sha256: of the content, for a file in LFS; else None. oid: of the blob in git.
    """

    size: int
    oid: str
    sha256: str | None


@dataclass(frozen=True)
class LocalFile:
    """A file of a release, as its manifest has it: size in bytes and sha256."""

    path: Path
    size: int
    sha256: str

    def equals(self, remote: RemoteFile) -> bool:
        """Whether the content is the same."""
        if self.size != remote.size:
            return False
        if remote.sha256 is not None:
            return self.sha256 == remote.sha256
        # Git's checksum of a file that is held in git itself; those are small.
        content = self.path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == remote.oid


@dataclass(frozen=True)
class Plan:
    """The difference between a release and a tree on the Hub, as sorted paths.

    new, changed: to be sent. same: there already. stale: there, and not in the release.
    size: bytes of what is to be sent.
    """

    new: tuple[str, ...]
    changed: tuple[str, ...]
    same: tuple[str, ...]
    stale: tuple[str, ...]
    size: int

    @property
    def is_empty(self) -> bool:
        """Whether the tree is the release already."""
        return not (self.new or self.changed or self.stale)

    def table(self) -> str:
        """A line a file that would change, then what stays."""
        rows = [("new", path) for path in self.new] + [("changed", path) for path in self.changed]
        rows += [("stale", path) for path in self.stale]
        lines = [f"  {what:<8}{path}" for what, path in sorted(rows, key=lambda row: row[1])]
        sent = len(self.new) + len(self.changed)
        total = f"  {sent} files to send ({self.size:,} bytes), {len(self.same)} there already"
        return "\n".join([*lines, f"{total}, {len(self.stale)} stale"])


def release_files(folder: Path) -> dict[str, LocalFile]:
    """The files of the release in `folder` by path: those of its manifest, and the manifest.

    The folder must agree with its manifest; see `check_manifest`.
    """
    manifest = folder / MANIFEST
    listed = json.loads(manifest.read_text(encoding="utf-8"))["files"]
    files = {
        name: LocalFile(folder / name, int(entry["size"]), str(entry["sha256"]))
        for name, entry in listed.items()
    }
    content = manifest.read_bytes()
    files[MANIFEST] = LocalFile(manifest, len(content), hashlib.sha256(content).hexdigest())
    return files


def remote_tree(api: "HfApi", repo_id: str, revision: str) -> dict[str, RemoteFile]:
    """Every file of `repo_id` at `revision`, by path, the Hub's own among them."""
    from huggingface_hub.hf_api import RepoFile

    return {
        entry.path: RemoteFile(entry.size, entry.blob_id, entry.lfs.sha256 if entry.lfs else None)
        for entry in api.list_repo_tree(repo_id, recursive=True, revision=revision)
        if isinstance(entry, RepoFile)
    }


def compare(local: Mapping[str, LocalFile], remote: Mapping[str, RemoteFile]) -> Plan:
    """What it takes to turn the tree `remote` into the release `local`."""
    there = {path: file for path, file in remote.items() if path != OF_THE_HUB}
    new = sorted(local.keys() - there.keys())
    both = sorted(local.keys() & there.keys())
    same = [path for path in both if local[path].equals(there[path])]
    changed = [path for path in both if path not in same]
    return Plan(
        tuple(new),
        tuple(changed),
        tuple(same),
        tuple(sorted(there.keys() - local.keys())),
        sum(local[path].size for path in [*new, *changed]),
    )


def some(paths: Sequence[str]) -> str:
    """The first five of `paths`, and how many more there are."""
    return ", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
