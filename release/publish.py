"""A release onto the Hub: proposed, checked there, merged, checked again, and only then tagged.

The order matters: users rely on a tag, so it comes last, on a commit whose files were downloaded anew and
gave the golden vectors. The state of the repository decides the next step and nothing is stored here: the
same command resumes wherever an earlier one was stopped.

>>> publish(Path("releases/0.5b"), "org/name", tag="v0.1.0").state               # a dry run
'planned'
>>> publish(Path("releases/0.5b"), "org/name", tag="v0.1.0", really=True).state
'published'
"""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from codequarry.common.environment import is_loopback
from codequarry.common.errors import UserError, some
from codequarry.common.files import read_json
from codequarry.release.hub import OF_THE_HUB, Plan, Repository, compare, downloaded, release_files
from codequarry.release.hub_errors import WRITE, log_without_secrets, without_secrets
from codequarry.release.manifest import MANIFEST, check_manifest
from codequarry.release.registry import check_definition, definition_of
from codequarry.release.verify import Verification
from codequarry.release.verify import verify as verify_folder

_TAG = re.compile(r"(?!main$|refs$|[0-9a-f]{40}$)[\w][\w.+-]*")
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class Publication:
    """The result of `publish`.

    state: `planned` after a dry run, `published`, or `already published`.
    plan: of what was sent, or is to be. commit: the tagged one; None after a dry run.
    verification: of the download; None where nothing was downloaded.
    manifest: the sha256 of `manifest.json`, which `verify --expect` takes.
    """

    repo_id: str
    tag: str
    state: Literal["planned", "published", "already published"]
    plan: Plan
    commit: str | None = None
    verification: Verification | None = None
    manifest: str | None = None


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

    Raises UserError with what prevents it. Nothing is tagged then, and what was sent stays in an open pull
    request; the same command resumes.
    """
    from huggingface_hub import HfApi

    if not _REPOSITORY.fullmatch(repo_id):
        raise UserError(f"{repo_id!r} is not a repository: pass ORG/NAME.")
    if not _TAG.fullmatch(tag):
        raise UserError(f"{tag!r} is not a tag: pass a version such as v0.1.0.")
    hub = Repository(HfApi(endpoint=endpoint), repo_id, partial(_say, progress))
    _refuse_folder(folder, repo_id, hub.api.endpoint)
    local = release_files(folder)
    manifest = local[MANIFEST].sha256
    with log_without_secrets():
        head, tags = hub.main_and_tags()
        with hub.asking(f"listing {repo_id}" + (f" at {tag}" if tag in tags else "")):
            base = tag if tag in tags else head
            plan = compare(local, hub.tree(base) if base else {})
        if tag in tags:
            if not plan.is_empty:
                different = [*plan.new, *plan.changed, *plan.stale]
                raise UserError(
                    f"{repo_id} has a tag {tag} already, and it holds another release ({some(different)} "
                    "differ). A tag never moves: somebody may rely on it. Choose the next version."
                )
            return Publication(repo_id, tag, "already published", plan, tags[tag], manifest=manifest)
        if not really:
            return Publication(repo_id, tag, "planned", plan, manifest=manifest)
        if plan.stale and not delete_stale:
            raise UserError(
                f"{repo_id} holds {len(plan.stale)} files that this release does not have: "
                f"{', '.join(plan.stale)}. Left there, they would be part of what users load. Pass "
                "--delete-stale to delete them in the same commit, or publish to another repository."
            )

        # Act one: the files, in a place that users do not load.
        head = head or _make_repository(hub)
        pull, commit = None, head
        if not plan.is_empty:
            pull = hub.find_pull_request(head, local) or hub.open_pull_request(tag, head, local, plan)
            commit = pull.commit

        # Act two: do they arrive, and give the same vectors?
        verification = _prove(hub, commit, folder, verify)

        # Act three: main, and the tag.
        if pull is not None:
            commit = hub.merge(pull)
        _tag(hub, tag, commit)
    return Publication(repo_id, tag, "published", plan, commit, verification, manifest)


def _refuse_folder(folder: Path, repo_id: str, endpoint: str) -> None:
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: pass what `codequarry release build` wrote.")
    if problems := check_manifest(folder):
        raise UserError(f"{folder} is not as it was built: {' '.join(problems)} Build it again.")
    try:
        steps = read_json(folder / "training.json").get("steps")
    except (OSError, ValueError, AttributeError):
        steps = None
    trained = isinstance(steps, int) and steps > 0  # else its weights are random, or those of another model
    if not trained and not is_loopback(urlsplit(endpoint).hostname or ""):
        raise UserError(
            f"{folder}/training.json records no step of training, so these are random weights or another's: "
            "they are published nowhere but on a Hub of this machine (HF_ENDPOINT=http://127.0.0.1:…)."
        )
    definition = definition_of(repo_id)
    if definition is not None and (problems := check_definition(folder, definition)):
        raise UserError(
            f"{folder} is not what release/models.toml defines {repo_id} to be: {' '.join(problems)}"
        )


def _make_repository(hub: Repository) -> str:
    hub.say(f"making {hub.name}")
    with hub.asking(f"making {hub.name}", WRITE):
        hub.api.create_repo(hub.name, exist_ok=True)
        head = hub.main_and_tags()[0]
    if head is None:
        raise UserError(
            f"{hub.name} is there and has no branch main that the token can see: look at it on the Hub."
        )
    return head


def _prove(
    hub: Repository, commit: str, folder: Path, verify: Callable[[Path], Verification]
) -> Verification:
    """Check that the files on the Hub at `commit` are those of `folder`, and verify a download of them."""
    at = f"{hub.name} at {commit[:12]}"
    stays = "Nothing was merged or tagged."
    hub.say(f"checksums of {at}")
    with hub.asking(f"checking {at}"):
        found = hub.api.verify_repo_checksums(hub.name, revision=commit, local_dir=folder)
    missing = [path for path in found.missing_paths if path != OF_THE_HUB]
    if wrong := sorted([row["path"] for row in found.mismatches] + missing + list(found.extra_paths)):
        raise UserError(f"{at} is not what was sent: {some(wrong)} differ. {stays}")
    hub.say(f"downloading {at} into an empty cache")
    with downloaded(hub.name, commit, endpoint=hub.api.endpoint) as (copy, cache):
        with hub.asking(f"checking {at}"):
            arrived = hub.api.verify_repo_checksums(hub.name, revision=commit, cache_dir=cache)
        if wrong := sorted(row["path"] for row in arrived.mismatches):
            raise UserError(
                f"{some(wrong)} of {at} arrived with other bytes than the Hub's own checksum names: stored "
                f"or transferred wrongly. {stays}"
            )
        hub.say("verifying the download")
        verification = verify(copy)
    if not verification.ok:
        raise UserError(f"{at} did not pass, downloaded anew: {' '.join(verification.problems)} {stays}")
    return verification


def _tag(hub: Repository, tag: str, commit: str) -> None:
    hub.say(f"tagging {commit[:12]} as {tag}")
    with hub.asking(f"tagging {hub.name}", WRITE):
        hub.api.create_tag(hub.name, tag=tag, revision=commit)
        tagged = hub.api.model_info(hub.name, revision=tag).sha
    if tagged != commit:
        raise UserError(f"{tag} of {hub.name} points at {tagged}, not at {commit}: delete the tag, and look.")


def _say(progress: bool, what: str) -> None:
    if progress:
        print(f"publish: {without_secrets(what)}", file=sys.stderr, flush=True)
