"""A release onto the Hub: proposed, checked there, merged, checked again, and only then tagged.

The order is the point. A tag is a promise, so it comes last, on a commit whose files were downloaded anew
and gave the golden vectors. What the repository holds decides what is done next, nothing is remembered here:
the same command goes on wherever an earlier one was stopped.

>>> publish(Path("releases/0.5b"), "org/name", tag="v0.1.0").state               # a dry run
'planned'
>>> publish(Path("releases/0.5b"), "org/name", tag="v0.1.0", really=True).state
'published'
"""

import ipaddress
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from codequarry.release.hub import (
    OF_THE_HUB,
    LocalFile,
    Plan,
    Say,
    compare,
    downloaded,
    find_pull_request,
    main_and_tags,
    merge,
    open_pull_request,
    release_files,
    remote_tree,
    some,
)
from codequarry.release.hub_errors import WRITE, hub_sentences, log_without_secrets, without_secrets
from codequarry.release.manifest import check_manifest
from codequarry.release.registry import check_definition, definition_of
from codequarry.release.verify import Verification
from codequarry.release.verify import verify as verify_folder

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_TAG = re.compile(r"(?!main$|refs$|[0-9a-f]{40}$)[\w][\w.+-]*")
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class Publication:
    """What `publish` did, or would do.

    state: `planned` after a dry run, `published`, or `already published`.
    plan: what was sent, or is to be. commit: the tagged one, None after a dry run.
    verification: of the download; None where nothing was downloaded.
    """

    repo_id: str
    tag: str
    state: Literal["planned", "published", "already published"]
    plan: Plan
    commit: str | None = None
    verification: Verification | None = None


def publish(
    folder: Path,
    repo_id: str,
    *,
    tag: str,
    really: bool = False,
    delete_stale: bool = False,
    verify: Callable[[Path], Verification] = verify_folder,
    endpoint: str | None = None,
    progress: bool = True,
) -> Publication:
    """Publish the release in `folder` as `repo_id`, and name it `tag`.

    One commit on a pull request; checksums there; a download into an empty cache, and `verify` on it; the
    merge; main compared with what was verified; the tag.

    Arguments:
        folder: what `codequarry release build` wrote.
        repo_id: `ORG/NAME`; made if it is not there.
        tag: such as `v0.1.0`. One that is there is never moved.
        really: False plans and sends nothing.
        delete_stale: delete, in the same commit, what the repository holds and the release does not.
        verify: what the download has to pass.
        endpoint: of the Hub; None: as huggingface_hub has it (HF_ENDPOINT). So is the token, always.
        progress: say on stderr what is being done.

    Raises ValueError with what stands in the way. Nothing is tagged then, and what was sent stays in an open
    pull request; give the same command again.
    """
    from huggingface_hub import HfApi

    if not _REPOSITORY.fullmatch(repo_id):
        raise ValueError(f"{repo_id!r} is not a repository: pass ORG/NAME.")
    if not _TAG.fullmatch(tag):
        raise ValueError(f"{tag!r} is not a tag: pass a version such as v0.1.0.")
    api, say = HfApi(endpoint=endpoint), partial(_say, progress)
    _refuse_folder(folder, repo_id, api.endpoint)
    local = release_files(folder)
    with log_without_secrets():
        head, tags = main_and_tags(api, repo_id)
        if tag in tags:
            return _already(api, repo_id, tag, tags[tag], local)
        with hub_sentences(f"listing {repo_id}", repo_id):
            plan = compare(local, remote_tree(api, repo_id, head) if head else {})
        if not really:
            return Publication(repo_id, tag, "planned", plan)
        _refuse_stale(plan, repo_id, delete_stale)

        # Act one: the files, where nobody loads them yet.
        head = head or _make_repository(api, repo_id, say)
        pull, commit = None, head
        if not plan.is_empty:
            pull = find_pull_request(api, repo_id, head, local, say)
            pull = pull or open_pull_request(api, repo_id, tag, head, local, plan, say)
            commit = pull.commit

        # Act two: do they arrive, and mean the same?
        verification = _prove(api, repo_id, commit, folder, verify, say)

        # Act three: main, and the name.
        if pull is not None:
            commit = merge(api, repo_id, pull, say)
        _tag(api, repo_id, tag, commit, say)
    return Publication(repo_id, tag, "published", plan, commit, verification)


def is_trained(folder: Path) -> bool:
    """Whether the release in `folder` records at least one step of training (`steps` in `training.json`).

    Without one its weights are as they were drawn, or somebody else's.
    """
    try:
        steps = json.loads((folder / "training.json").read_text(encoding="utf-8")).get("steps")
    except (OSError, ValueError, AttributeError):
        return False
    return isinstance(steps, int) and steps > 0


def _refuse_folder(folder: Path, repo_id: str, endpoint: str) -> None:
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: pass what `codequarry release build` wrote.")
    if problems := check_manifest(folder):
        raise ValueError(f"{folder} is not as it was built: {' '.join(problems)} Build it again.")
    if not is_trained(folder) and not _is_loopback(endpoint):
        raise ValueError(
            f"{folder}/training.json records no step of training, so these are random weights or another's: "
            "they are published nowhere but on a Hub of this machine (HF_ENDPOINT=http://127.0.0.1:…)."
        )
    definition = definition_of(repo_id)
    if definition is not None and (problems := check_definition(folder, definition)):
        raise ValueError(
            f"{folder} is not what release/models.toml defines {repo_id} to be: {' '.join(problems)}"
        )


def _is_loopback(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _already(
    api: "HfApi", repo_id: str, tag: str, commit: str, local: Mapping[str, LocalFile]
) -> Publication:
    with hub_sentences(f"listing {repo_id} at {tag}", repo_id):
        plan = compare(local, remote_tree(api, repo_id, tag))
    if plan.is_empty:
        return Publication(repo_id, tag, "already published", plan, commit)
    different = [*plan.new, *plan.changed, *plan.stale]
    raise ValueError(
        f"{repo_id} has a tag {tag} already, and it holds another release ({some(different)} differ). A tag "
        "never moves: somebody may rely on it. Choose the next version."
    )


def _refuse_stale(plan: Plan, repo_id: str, delete_stale: bool) -> None:
    if plan.stale and not delete_stale:
        raise ValueError(
            f"{repo_id} holds {len(plan.stale)} files that this release does not have: "
            f"{', '.join(plan.stale)}. Left there, they would be part of what users load. Pass "
            "--delete-stale to delete them in the same commit, or publish to another repository."
        )


def _make_repository(api: "HfApi", repo_id: str, say: Say) -> str:
    say(f"making {repo_id}")
    with hub_sentences(f"making {repo_id}", repo_id, needs=WRITE):
        api.create_repo(repo_id, exist_ok=True)
        head = main_and_tags(api, repo_id)[0]
    if head is None:
        raise ValueError(
            f"{repo_id} is there and has no branch main that the token can see: look at it on the Hub."
        )
    return head


def _prove(
    api: "HfApi",
    repo_id: str,
    commit: str,
    folder: Path,
    verify: Callable[[Path], Verification],
    say: Say,
) -> Verification:
    """What lies on the Hub at `commit` is `folder`, arrives as such, and means the same."""
    at = f"{repo_id} at {commit[:12]}"
    stays = "Nothing was merged or tagged."
    say(f"checksums of {at}")
    with hub_sentences(f"checking {at}", repo_id):
        found = api.verify_repo_checksums(repo_id, revision=commit, local_dir=folder)
    missing = [path for path in found.missing_paths if path != OF_THE_HUB]
    if wrong := sorted([row["path"] for row in found.mismatches] + missing + list(found.extra_paths)):
        raise ValueError(f"{at} is not what was sent: {some(wrong)} differ. {stays}")
    say(f"downloading {at} into an empty cache")
    with downloaded(repo_id, commit, endpoint=api.endpoint) as (copy, cache):
        with hub_sentences(f"checking {at}", repo_id):
            arrived = api.verify_repo_checksums(repo_id, revision=commit, cache_dir=cache)
        if arrived.mismatches:
            wrong = sorted(row["path"] for row in arrived.mismatches)
            raise ValueError(
                f"{some(wrong)} of {at} arrived with other bytes than the Hub's own checksum names: stored "
                f"or transferred wrongly. {stays}"
            )
        say("verifying the download")
        verification = verify(copy)
    if not verification.ok:
        raise ValueError(f"{at} did not pass, downloaded anew: {' '.join(verification.problems)} {stays}")
    return verification


def _tag(api: "HfApi", repo_id: str, tag: str, commit: str, say: Say) -> None:
    say(f"tagging {commit[:12]} as {tag}")
    with hub_sentences(f"tagging {repo_id}", repo_id, needs=WRITE):
        api.create_tag(repo_id, tag=tag, revision=commit)
        tagged = api.model_info(repo_id, revision=tag).sha
    if tagged != commit:
        raise ValueError(f"{tag} of {repo_id} points at {tagged}, not at {commit}: delete the tag, and look.")


def _say(progress: bool, what: str) -> None:
    if progress:
        print(f"publish: {without_secrets(what)}", file=sys.stderr, flush=True)
