"""A repository on the Hub: its files compared with a release, its pull requests, and downloads of it."""

import errno
import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codequarry.common.errors import UserError, some
from codequarry.common.files import file_sha256, read_json, temporary_folder
from codequarry.release.hub_errors import DISCUSS, WRITE, hub_sentences, log_without_secrets
from codequarry.release.manifest import MANIFEST

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# The Hub writes this file itself, with what lies in LFS; no release has one.
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
        """A line per file that would change, then the sums."""
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
    files = {
        name: LocalFile(folder / name, int(entry["size"]), str(entry["sha256"]))
        for name, entry in read_json(manifest)["files"].items()
    }
    files[MANIFEST] = LocalFile(manifest, manifest.stat().st_size, file_sha256(manifest))
    return files


def compare(local: Mapping[str, LocalFile], remote: Mapping[str, RemoteFile]) -> Plan:
    """The changes that turn the tree `remote` into the release `local`."""
    new = sorted(local.keys() - remote.keys())
    both = sorted(local.keys() & remote.keys())
    same = [path for path in both if local[path].equals(remote[path])]
    changed = [path for path in both if path not in same]
    stale = sorted(remote.keys() - local.keys() - {OF_THE_HUB})
    size = sum(local[path].size for path in [*new, *changed])
    return Plan(tuple(new), tuple(changed), tuple(same), tuple(stale), size)


@dataclass(frozen=True)
class PullRequest:
    """An open pull request: its number, its newest commit, and the commit of main it is based on."""

    num: int
    commit: str
    base: str


@dataclass(frozen=True)
class Repository:
    """A repository, the client that asks for it, and where a line of progress goes."""

    api: "HfApi"
    name: str
    say: Callable[[str], None]

    def asking(self, doing: str, needs: str = "") -> AbstractContextManager[None]:
        """`hub_sentences` for this repository."""
        return hub_sentences(doing, self.name, needs=needs)

    def tree(self, revision: str) -> dict[str, RemoteFile]:
        """Every file at `revision`, by path, the Hub's own among them."""
        from huggingface_hub.hf_api import RepoFile

        return {
            entry.path: RemoteFile(entry.size, entry.blob_id, entry.lfs.sha256 if entry.lfs else None)
            for entry in self.api.list_repo_tree(self.name, recursive=True, revision=revision)
            if isinstance(entry, RepoFile)
        }

    def main_and_tags(self) -> tuple[str | None, dict[str, str]]:
        """The commits of main and of each tag; (None, {}) where there is no such repository to be seen."""
        from huggingface_hub.errors import RepositoryNotFoundError

        with self.asking(f"reading {self.name}"):
            try:
                refs = self.api.list_repo_refs(self.name)
            except RepositoryNotFoundError:
                return None, {}
        heads = {branch.name: branch.target_commit for branch in refs.branches}
        return heads.get("main"), {tag.name: tag.target_commit for tag in refs.tags}

    def read_pull_request(self, num: int) -> PullRequest:
        """Pull request `num` as it is now."""
        rows = self.api.list_repo_commits(self.name, revision=f"refs/pr/{num}")
        return PullRequest(num, rows[0].commit_id, rows[1].commit_id if len(rows) > 1 else "")

    def find_pull_request(self, head: str, local: Mapping[str, LocalFile]) -> PullRequest | None:
        """The one that an earlier run opened for this release, if it is based on `head`, main's commit.

        One of an earlier run that does not fit any more is closed.
        """
        with self.asking(f"looking for a pull request on {self.name}", DISCUSS):
            # Our own only: the author of a pull request may still push to it.
            open_ones = self.api.get_repo_discussions(
                self.name,
                author=self.api.whoami()["name"],
                discussion_type="pull_request",
                discussion_status="open",
            )
            for num in [row.num for row in open_ones if local[MANIFEST].sha256 in row.title]:
                found = self.read_pull_request(num)
                if found.base == head and compare(local, self.tree(found.commit)).is_empty:
                    self.say(f"reusing pull request {num}, which holds this release")
                    return found
                self.say(f"closing pull request {num}, made for another state of main")
                self.api.change_discussion_status(
                    self.name, num, "closed", comment="Made for another state of main; it is made again."
                )
        return None

    def open_pull_request(
        self, tag: str, head: str, local: Mapping[str, LocalFile], plan: Plan
    ) -> PullRequest:
        """Send what `plan` lists as one commit on top of `head`, in a pull request."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        sent = [*plan.new, *plan.changed]
        self.say(f"sending {len(sent)} files, {plan.size:,} bytes")
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(path_in_repo=path, path_or_fileobj=local[path].path) for path in sent
        ]
        operations += [CommitOperationDelete(path_in_repo=path, is_folder=False) for path in plan.stale]
        with self.asking(f"sending the release to {self.name}", f"{WRITE}; {DISCUSS}"):
            made = self.api.create_commit(
                self.name,
                operations,
                commit_message=f"Release {tag} (manifest {local[MANIFEST].sha256})",
                commit_description="By `codequarry release publish`, which merges it once it is verified.",
                create_pr=True,
                parent_commit=head,
            )
        if made.pr_num is None:
            raise UserError(
                f"The Hub took the files for {self.name} without opening a pull request. Look at it there."
            )
        self.say(f"pull request {made.pr_num} is open")
        return PullRequest(made.pr_num, str(made.oid), head)

    def merge(self, pull: PullRequest) -> str:
        """Merge `pull`, whose commit was verified; the commit of main that is returned has exactly its files.

        Raises UserError when main or the pull request got another commit before or during the merge.
        """
        with self.asking(f"reading pull request {pull.num}", DISCUSS):
            head = self.main_and_tags()[0]
            now = self.read_pull_request(pull.num)
            status = self.api.get_discussion_details(self.name, pull.num).status
        if head != pull.base or now.commit != pull.commit:
            what = "main" if head != pull.base else f"pull request {pull.num}"
            raise UserError(
                f"{what} of {self.name} got another commit while the release was being verified, so nothing "
                "was merged or tagged. Give the same command again: it plans anew, with that commit."
            )
        self.say(f"merging pull request {pull.num}")
        with self.asking(f"merging pull request {pull.num}", f"{WRITE}; {DISCUSS}"):
            if status == "draft":
                self.api.change_discussion_status(self.name, pull.num, "open")
            self.api.merge_pull_request(self.name, pull.num)
        with self.asking(f"comparing main of {self.name} with what was verified"):
            merged = str(self.main_and_tags()[0])
            verified, there = self.tree(pull.commit), self.tree(merged)
        paths = sorted(verified.keys() | there.keys())
        if wrong := [path for path in paths if verified.get(path) != there.get(path)]:
            raise UserError(
                f"main of {self.name} is not the verified tree after the merge: {some(wrong)} differ, from a "
                "commit that came in between. Nothing was tagged. Look at it, then give the same command "
                "again."
            )
        return merged


_AT_REVISION = re.compile(r"([\w-][\w.-]*/[\w.-]+)@(\S+)")


@contextmanager
def local_copy(name: str, *, endpoint: str | None = None) -> Iterator[Path]:
    """The folder called `name`, or a new download of `ORG/NAME@REVISION`, removed afterwards.

    endpoint: of the Hub; None: as huggingface_hub has it (HF_ENDPOINT).

    Raises UserError for anything else, and where the Hub does not give the files.

    >>> with local_copy("org/name@v0.1.0") as folder:
    ...     verify(folder)
    """
    if Path(name).is_dir():
        yield Path(name)
        return
    match = _AT_REVISION.fullmatch(name)
    if match is None:
        raise UserError(
            f"{name!r} is neither a folder here nor a release on the Hub: pass what `codequarry release "
            "build` wrote, or ORG/NAME@REVISION with a tag, a branch or a commit."
        )
    with downloaded(match[1], match[2], endpoint=endpoint) as (folder, _):
        yield folder


@contextmanager
def downloaded(repo_id: str, revision: str, *, endpoint: str | None = None) -> Iterator[tuple[Path, Path]]:
    """The files of `repo_id` at `revision`, fetched into an empty cache: (their folder, the cache).

    The Hub's own `.gitattributes` is left out. Both folders are removed afterwards; they take the room of the
    release in the folder for temporary files (TMPDIR).
    """
    from huggingface_hub import snapshot_download

    doing = f"downloading {repo_id} at {revision}"
    with temporary_folder("download") as cache:
        try:
            with log_without_secrets(), hub_sentences(doing, repo_id):
                folder = snapshot_download(
                    repo_id, revision=revision, cache_dir=cache, endpoint=endpoint, ignore_patterns=OF_THE_HUB
                )
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise UserError(
                f"There is not enough room in {tempfile.gettempdir()} for {doing}: set TMPDIR to a folder "
                "with room for the whole release, and give the same command again."
            ) from None
        yield Path(folder), cache
