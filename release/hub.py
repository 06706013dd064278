"""What a release would change in a repository: each file is new, changed, already there, or stale."""

import errno
import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codequarry.release.hub_errors import DISCUSS, WRITE, hub_sentences, log_without_secrets
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


Say = Callable[[str], None]


@dataclass(frozen=True)
class PullRequest:
    """An open pull request: its number, its newest commit, and the commit of main it stands on."""

    num: int
    commit: str
    base: str

    @classmethod
    def read(cls, api: "HfApi", repo_id: str, num: int) -> "PullRequest":
        """Pull request `num` as it stands now."""
        commits = [commit.commit_id for commit in api.list_repo_commits(repo_id, revision=f"refs/pr/{num}")]
        return cls(num, commits[0], commits[1] if len(commits) > 1 else "")


def find_pull_request(
    api: "HfApi", repo_id: str, head: str, local: Mapping[str, LocalFile], say: Say
) -> PullRequest | None:
    """The one that an earlier run of ours opened for this release, if it stands on `head`, main's commit.

    One of ours that does not fit any more is closed.
    """
    manifest = local[MANIFEST].sha256
    with hub_sentences(f"looking for a pull request on {repo_id}", repo_id, needs=DISCUSS):
        # Ours alone: whoever opened a pull request may still push to it.
        me = api.whoami()["name"]
        open_ones = api.get_repo_discussions(
            repo_id, author=me, discussion_type="pull_request", discussion_status="open"
        )
        for num in [row.num for row in open_ones if manifest in row.title]:
            found = PullRequest.read(api, repo_id, num)
            if found.base == head and compare(local, remote_tree(api, repo_id, found.commit)).is_empty:
                say(f"going on with pull request {num}, which holds this release")
                return found
            say(f"closing pull request {num}, made for another state of main")
            api.change_discussion_status(
                repo_id, num, "closed", comment="Made for another state of main; it is made anew."
            )
    return None


def open_pull_request(
    api: "HfApi",
    repo_id: str,
    tag: str,
    head: str,
    local: Mapping[str, LocalFile],
    plan: Plan,
    say: Say,
) -> PullRequest:
    """Send what `plan` lists as one commit on top of `head`, in a pull request."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    sent = [*plan.new, *plan.changed]
    say(f"sending {len(sent)} files, {plan.size:,} bytes")
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd(path_in_repo=path, path_or_fileobj=local[path].path) for path in sent
    ]
    operations += [CommitOperationDelete(path_in_repo=path, is_folder=False) for path in plan.stale]
    with hub_sentences(f"sending the release to {repo_id}", repo_id, needs=f"{WRITE}; {DISCUSS}"):
        made = api.create_commit(
            repo_id,
            operations,
            commit_message=f"Release {tag} (manifest {local[MANIFEST].sha256})",
            commit_description="By `codequarry release publish`, which merges it once it is verified.",
            create_pr=True,
            parent_commit=head,
        )
    if made.pr_num is None:
        raise ValueError(
            f"The Hub took the files for {repo_id} without opening a pull request. Look at it there."
        )
    say(f"pull request {made.pr_num} is open")
    return PullRequest(made.pr_num, str(made.oid), head)


def merge(api: "HfApi", repo_id: str, pull: PullRequest, say: Say) -> str:
    """Merge `pull`, whose commit was verified, and return the commit of main, which has exactly its files.

    Raises ValueError when main or the pull request got another commit since, before the merge or during it.
    """
    with hub_sentences(f"reading pull request {pull.num}", repo_id, needs=DISCUSS):
        head = main_and_tags(api, repo_id)[0]
        now = PullRequest.read(api, repo_id, pull.num)
        status = api.get_discussion_details(repo_id, pull.num).status
    if head != pull.base or now.commit != pull.commit:
        what = "main" if head != pull.base else f"pull request {pull.num}"
        raise ValueError(
            f"{what} of {repo_id} got another commit while the release was being verified, so nothing was "
            "merged or tagged. Give the same command again: it plans anew, with that commit."
        )
    say(f"merging pull request {pull.num}")
    with hub_sentences(f"merging pull request {pull.num}", repo_id, needs=f"{WRITE}; {DISCUSS}"):
        if status == "draft":
            api.change_discussion_status(repo_id, pull.num, "open")
        api.merge_pull_request(repo_id, pull.num)
    with hub_sentences(f"comparing main of {repo_id} with what was verified", repo_id):
        merged = str(main_and_tags(api, repo_id)[0])
        verified, there = remote_tree(api, repo_id, pull.commit), remote_tree(api, repo_id, merged)
    paths = sorted(verified.keys() | there.keys())
    if wrong := [path for path in paths if verified.get(path) != there.get(path)]:
        raise ValueError(
            f"main of {repo_id} is not the verified tree after the merge: {some(wrong)} differ, from a "
            "commit that came in between. Nothing was tagged. Look at it, then give the same command again."
        )
    return merged


def main_and_tags(api: "HfApi", repo_id: str) -> tuple[str | None, dict[str, str]]:
    """Where main is, and what each tag points at; (None, {}) where there is no such repository to be seen."""
    from huggingface_hub.errors import RepositoryNotFoundError

    with hub_sentences(f"reading {repo_id}", repo_id):
        try:
            refs = api.list_repo_refs(repo_id)
        except RepositoryNotFoundError:
            return None, {}
    heads = {branch.name: branch.target_commit for branch in refs.branches}
    return heads.get("main"), {tag.name: tag.target_commit for tag in refs.tags}


_AT_REVISION = re.compile(r"([\w-][\w.-]*/[\w.-]+)@(\S+)")


@contextmanager
def local_copy(name: str, *, endpoint: str | None = None) -> Iterator[Path]:
    """The folder called `name`, or a fresh download of `ORG/NAME@REVISION`, gone afterwards.

    endpoint: of the Hub; None: as huggingface_hub has it (HF_ENDPOINT).

    Raises ValueError for anything else, and where the Hub does not give the files.

    >>> with local_copy("org/name@v0.1.0") as folder:
    ...     verify(folder)
    """
    if Path(name).is_dir():
        yield Path(name)
        return
    match = _AT_REVISION.fullmatch(name)
    if match is None:
        raise ValueError(
            f"{name!r} is neither a folder here nor a release on the Hub: pass what `codequarry release "
            "build` wrote, or ORG/NAME@REVISION with a tag, a branch or a commit."
        )
    with downloaded(match[1], match[2], endpoint=endpoint) as (folder, _):
        yield folder


@contextmanager
def downloaded(repo_id: str, revision: str, *, endpoint: str | None = None) -> Iterator[tuple[Path, Path]]:
    """The files of `repo_id` at `revision`, fetched into an empty cache: (their folder, the cache).

    The Hub's own `.gitattributes` is left out, as no release has it. Both are gone afterwards; they take
    the room of the release in the folder for temporary files (TMPDIR).
    """
    from huggingface_hub import snapshot_download

    doing = f"downloading {repo_id} at {revision}"
    with tempfile.TemporaryDirectory(prefix="codequarry-") as cache:
        with log_without_secrets(), hub_sentences(doing, repo_id), _room_is_needed(doing):
            folder = snapshot_download(
                repo_id, revision=revision, cache_dir=cache, endpoint=endpoint, ignore_patterns=[OF_THE_HUB]
            )
        yield Path(folder), Path(cache)


@contextmanager
def _room_is_needed(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ValueError(
            f"There is not enough room in {tempfile.gettempdir()} for {doing}: set TMPDIR to a folder with "
            "room for the whole release, and give the same command again."
        ) from None
