"""A release as one commit on a pull request of ours: opened, found again, merged without surprise."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codequarry.release.hub_sentences import DISCUSS, WRITE, hub_sentences
from codequarry.release.manifest import MANIFEST
from codequarry.release.publish_plan import LocalFile, Plan, compare, remote_tree, some

if TYPE_CHECKING:
    from huggingface_hub import HfApi

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
