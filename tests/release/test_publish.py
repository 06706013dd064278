"""Publishing, by the real Hub client, to a local Hub: what is sent, in which order, and what stops it."""

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
import traceback
from types import SimpleNamespace

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from codequarry.release.hub import Repository, compare, release_files
from codequarry.release.manifest import check_manifest, write_manifest
from codequarry.release.publish import publish

REPO = "org/name"
WRITES = {"create_repository", "commit", "merge", "create_tag", "change_status", "upload", "lfs_batch"}


@pytest.fixture
def folder(tmp_path):
    """A small folder that is a release as far as its manifest goes, with two files for LFS."""
    folder = tmp_path / "release"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n\n# name\n")
    (folder / "training.json").write_text('{"steps": 3}')
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"\0\1\2" * 1000)
    (folder / "model-00002-of-00002.safetensors").write_bytes(b"\3\4\5" * 1000)
    write_manifest(folder)
    return folder


def verify(folder):
    """The cheap half of the real one; tests/release/test_published_release.py has the other."""
    problems = tuple(check_manifest(folder))
    return SimpleNamespace(ok=not problems, problems=problems)


def failing(folder):
    return SimpleNamespace(ok=False, problems=("prompt qa_query is wrong.",))


@pytest.fixture
def send(hub, folder):
    """Publish `folder` to the local Hub as v0.1.0, unless told otherwise."""

    def send(**options):
        options = {"tag": "v0.1.0", "really": True, "verify": verify, "progress": True} | options
        return publish(folder, REPO, endpoint=hub.address, **options)

    return send


@pytest.fixture
def api(hub):
    return HfApi(endpoint=hub.address)


@pytest.fixture
def impatient(monkeypatch):
    """The client tries again at once."""
    from huggingface_hub.utils import _http

    monkeypatch.setattr(_http.time, "sleep", lambda seconds: None)


def change(folder, text):
    (folder / "README.md").write_text(f"---\nlicense: apache-2.0\n---\n\n{text}\n")
    write_manifest(folder)


def holds(api, revision, folder):
    return compare(release_files(folder), Repository(api, REPO, print).tree(revision)).is_empty


def tags(api):
    return [tag.name for tag in api.list_repo_refs(REPO).tags]


def pulls(api):
    return [(pull.num, pull.status) for pull in api.get_repo_discussions(REPO)]


def test_a_dry_run_lists_every_file_and_writes_nothing(hub, folder, send, api):
    planned = send(really=False)
    assert planned.state == "planned"
    assert set(planned.plan.new) == {file.relative_to(folder).as_posix() for file in folder.rglob("*.*")}
    assert planned.plan.size == sum(file.stat().st_size for file in folder.rglob("*.*"))
    assert "6 files to send" in planned.plan.table()
    assert not WRITES & set(hub.actions())
    assert not api.repo_exists(REPO)


def test_a_release_is_tagged_last_after_a_pull_request_a_download_and_a_merge(hub, folder, send, api):
    def files(folder):
        return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*"))

    seen = []
    published = send(verify=lambda copy: seen.extend(files(copy)) or verify(copy))
    assert published.state == "published"
    assert seen == files(folder)  # the Hub's own .gitattributes is not among them
    assert tags(api) == ["v0.1.0"]
    assert api.model_info(REPO, revision="v0.1.0").sha == published.commit
    assert api.model_info(REPO).sha == published.commit
    assert holds(api, "main", folder)
    assert holds(api, "v0.1.0", folder)
    assert pulls(api) == [(1, "merged")]
    acts = [action for action in hub.actions() if action in WRITES | {"download"}]
    order = [act for before, act in zip([None, *acts], acts, strict=False) if act != before]
    assert order == [
        "create_repository",
        "lfs_batch",
        "upload",
        "commit",
        "download",
        "merge",
        "create_tag",
    ]
    assert acts.count("commit") == 1


def test_the_second_time_there_is_nothing_to_do(hub, send):
    first, before = send(), len(hub.actions())
    again = send()
    assert (again.state, again.commit) == ("already published", first.commit)
    assert not WRITES & set(hub.actions()[before:])


def test_a_tag_never_moves_to_another_release(folder, send, api):
    first = send()
    change(folder, "other words")
    with pytest.raises(ValueError, match=r"tag v0\.1\.0 already.*README\.md, manifest\.json differ"):
        send()
    assert api.model_info(REPO, revision="v0.1.0").sha == first.commit


def test_the_next_version_sends_what_changed_and_no_more(hub, folder, send, api):
    send()
    before = hub.actions().count("upload")
    change(folder, "other words")
    second = send(tag="v0.2.0")
    assert second.plan.changed == ("README.md", "manifest.json")
    assert hub.actions().count("upload") == before
    assert tags(api) == ["v0.1.0", "v0.2.0"]
    assert holds(api, "v0.2.0", folder)
    assert not holds(api, "v0.1.0", folder)


def test_stale_files_are_refused_by_name_and_deleted_when_told_so(folder, send, api):
    send()
    (folder / "model-00002-of-00002.safetensors").unlink()
    write_manifest(folder)
    assert send(tag="v0.2.0", really=False).plan.stale == ("model-00002-of-00002.safetensors",)
    with pytest.raises(ValueError, match=r"1 files that this release does not have: model-00002-of-00002"):
        send(tag="v0.2.0")
    assert tags(api) == ["v0.1.0"]
    send(tag="v0.2.0", delete_stale=True)
    assert holds(api, "v0.2.0", folder)
    assert ".gitattributes" in Repository(api, REPO, print).tree("v0.2.0")


def test_what_does_not_verify_is_not_merged_and_goes_on_in_the_same_pull_request(hub, folder, send, api):
    with pytest.raises(ValueError, match=r"did not pass.*prompt qa_query is wrong.*Nothing was merged"):
        send(verify=failing)
    assert tags(api) == []
    assert not holds(api, "main", folder)
    assert pulls(api) == [(1, "open")]
    send()
    assert pulls(api) == [(1, "merged")]
    assert hub.actions().count("commit") == 1
    assert tags(api) == ["v0.1.0"]


def test_an_upload_that_breaks_off_is_tried_again(hub, folder, send, api, impatient):
    hub.faults(interrupt_uploads=[1])
    send()
    assert hub.actions().count("upload") == 3
    assert holds(api, "v0.1.0", folder)


def test_after_a_broken_upload_the_same_command_sends_only_what_is_missing(hub, folder, send, api, impatient):
    hub.faults(interrupt_uploads=list(range(2, 20)))
    with pytest.raises(ValueError, match=r"Sending the release to org/name did not end.*same command again"):
        send()
    assert tags(api) == []
    hub.faults()
    before = hub.actions().count("upload")
    send()
    assert hub.actions().count("upload") == before + 1
    assert holds(api, "v0.1.0", folder)


@pytest.mark.parametrize("path", ["model-00002-of-00002.safetensors", "README.md"])
def test_a_file_that_the_hub_spoilt_is_named_and_not_merged(hub, folder, send, api, path):
    hub.faults(corrupt=path)
    with pytest.raises(ValueError, match=f"^{re.escape(path)} of org/name at .* arrived with other bytes"):
        send()
    assert tags(api) == []
    assert not holds(api, "main", folder)


def test_a_commit_on_main_meanwhile_stops_the_merge_and_is_planned_with_next_time(hub, folder, send, api):
    hub.faults(move_main="after_commit")
    with pytest.raises(
        ValueError, match=r"main of org/name got another commit.*nothing was merged or tagged"
    ):
        send()
    hub.faults()
    with pytest.raises(ValueError, match=r"does not have: notes\.md"):
        send()
    assert tags(api) == []
    send(delete_stale=True)
    assert pulls(api) == [(1, "closed"), (2, "merged")]
    assert holds(api, "v0.1.0", folder)


def test_a_commit_on_main_during_the_merge_keeps_the_tag_away(hub, send, api):
    hub.faults(move_main="at_merge")
    with pytest.raises(ValueError, match=r"not the verified tree after the merge: notes\.md differ"):
        send()
    assert tags(api) == []


@pytest.mark.parametrize(
    ("action", "named"),
    [
        ("create_repository", "Making org/name"),
        ("commit", "Sending the release to org/name"),
        ("merge", "Merging pull request 1"),
        ("create_tag", "Tagging org/name"),
    ],
)
def test_a_missing_permission_is_named_with_where_to_get_it(hub, send, api, action, named):
    hub.faults(fail={action: 403})
    with pytest.raises(ValueError, match=f"{named} was refused by the Hub.*write access.*settings/tokens"):
        send()
    hub.faults()
    assert send().state == "published"
    assert tags(api) == ["v0.1.0"]


@pytest.mark.parametrize("action", ["create_repository", "commit", "merge", "create_tag"])
def test_when_an_answer_is_lost_the_same_command_finds_what_was_done(hub, folder, send, api, action):
    hub.faults(lose_answer=[action])
    with pytest.raises(ValueError, match=r"did not end.*Give the same command again"):
        send()
    hub.faults()
    assert send().state == ("already published" if action == "create_tag" else "published")
    assert hub.actions().count("commit") == 1
    assert hub.actions().count("merge") == 1
    assert holds(api, "v0.1.0", folder)


def test_a_merge_that_fails_leaves_the_pull_request_for_the_next_time(hub, send, api):
    hub.faults(fail={"merge": 500})
    with pytest.raises(ValueError, match="Merging pull request 1 was refused by the Hub"):
        send()
    assert pulls(api) == [(1, "open")]
    assert tags(api) == []
    hub.faults()
    send()
    assert pulls(api) == [(1, "merged")]
    assert hub.actions().count("commit") == 1


def test_a_slow_hub_is_waited_for(hub, folder, send, api):
    hub.faults(delay=0.05)
    send()
    assert holds(api, "v0.1.0", folder)


def test_a_pull_request_that_the_hub_makes_a_draft_is_merged_all_the_same(hub, send, api):
    hub.faults(new_pull_requests="draft")
    send()
    assert pulls(api) == [(1, "merged")]


def test_a_pull_request_of_somebody_else_is_left_alone(hub, folder, send, api):
    with pytest.raises(ValueError, match="did not pass"):
        send(verify=failing)
    title = next(api.get_repo_discussions(REPO)).title
    api.change_discussion_status(REPO, 1, "closed")
    file = CommitOperationAdd("README.md", b"---\nlicense: mit\n---\n")
    HfApi(endpoint=hub.address, token="hf_stranger_1").create_commit(
        REPO, [file], commit_message=title, create_pr=True
    )
    send()
    assert pulls(api) == [(1, "closed"), (2, "open"), (3, "merged")]
    assert holds(api, "v0.1.0", folder)


def test_a_killed_publication_goes_on(hub, folder, send, api, tmp_path):
    hub.faults(delay=0.15)
    program = (
        "import sys; from pathlib import Path; from types import SimpleNamespace\n"
        "from codequarry.release.publish import publish\n"
        "publish(Path(sys.argv[1]), 'org/name', tag='v0.1.0', really=True, endpoint=sys.argv[2],\n"
        "        verify=lambda folder: SimpleNamespace(ok=True, problems=()))\n"
    )
    environment = os.environ | {"HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    environment["HF_HOME"] = str(tmp_path / "hf")
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder), hub.address], env=environment
    ) as publisher:
        deadline = time.monotonic() + 60
        while "commit" not in hub.actions() and time.monotonic() < deadline:
            time.sleep(0.05)
        publisher.send_signal(signal.SIGKILL)
    hub.faults()
    assert tags(api) == []
    assert send().state == "published"
    assert holds(api, "v0.1.0", folder)


def test_random_weights_go_nowhere_but_to_this_machine(hub, folder, send):
    for record in ({"steps": 0}, {}, {"recipe": {"backbone": {"weights": "random"}}}):
        (folder / "training.json").write_text(json.dumps(record))
        write_manifest(folder)
        with pytest.raises(ValueError, match="no step of training"):
            publish(folder, REPO, tag="v0.1.0", endpoint="https://hub.example", verify=verify)
    assert send().state == "published"


def test_a_folder_that_changed_since_it_was_built_is_refused_before_anything_is_asked(hub, folder, send):
    (folder / "README.md").write_text("changed")
    with pytest.raises(ValueError, match=r"not as it was built: README\.md has"):
        send()
    assert not hub.actions()


@pytest.mark.parametrize(("repo", "tag"), [("name", "v1"), ("a/b/c", "v1"), (REPO, "main"), (REPO, "a b")])
def test_a_name_that_is_none_is_refused(folder, repo, tag):
    with pytest.raises(ValueError, match=r"is not a (repository|tag)"):
        publish(folder, repo, tag=tag, endpoint="http://127.0.0.1:1")


def test_without_a_token_it_is_said_where_to_get_one(send, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"No token was sent.*settings/tokens.*hf auth login"):
        send()


def test_no_output_log_or_error_shows_a_token_or_a_signed_address(hub, send, impatient, capfd):
    said, log, handler = [], io.StringIO(), logging.StreamHandler()
    handler.setStream(log)
    logging.getLogger("huggingface_hub").addHandler(handler)
    for faults in (
        {"interrupt_uploads": list(range(1, 40))},
        {"fail": {"commit": 403}},
        {"lose_answer": ["merge"]},
        {},
    ):
        hub.faults(**faults)
        try:
            send()
        except ValueError as error:
            said += traceback.format_exception(error)
    logging.getLogger("huggingface_hub").removeHandler(handler)
    out = capfd.readouterr()
    everything = "\n".join([*said, out.out, out.err, log.getvalue()])
    assert "publish: merging pull request" in everything
    assert "thrown while requesting PUT" in everything  # the client's own warning did go through
    assert "0123456789abcdef" not in everything
    assert "signature" not in everything
