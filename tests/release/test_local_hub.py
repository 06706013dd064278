"""The local Hub refuses and answers as the Hub does, where publishing relies on it."""

import hashlib
import urllib.error
import urllib.request

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile

REPO = "org/name"


@pytest.fixture
def api(hub):
    api = HfApi(endpoint=hub.address)
    api.create_repo(REPO)
    return api


def add(path, content):
    return CommitOperationAdd(path_in_repo=path, path_or_fileobj=content)


def paths(api, revision="main"):
    entries = api.list_repo_tree(REPO, recursive=True, revision=revision)
    return {entry.path: (entry.size, bool(entry.lfs)) for entry in entries if isinstance(entry, RepoFile)}


def ask(address, body=None, method=None, **headers):
    request = urllib.request.Request(address, body, headers, method=method)
    with urllib.request.urlopen(request) as answer:
        return answer.read()


def test_small_text_lies_in_git_and_weights_lie_in_lfs(api):
    api.create_commit(REPO, [add("a.txt", b"words"), add("w.bin", b"abc")], commit_message="both")
    held = paths(api)
    assert (held["a.txt"], held["w.bin"]) == ((5, False), (3, True))
    assert ".gitattributes" in held


def test_a_commit_on_an_old_parent_is_refused_with_412(api):
    old = api.model_info(REPO).sha
    api.create_commit(REPO, [add("a.txt", b"1")], commit_message="one", parent_commit=old)
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_commit(REPO, [add("a.txt", b"2")], commit_message="two", parent_commit=old)
    assert caught.value.response.status_code == 412


def test_a_pull_request_stands_on_its_parent_and_merges_only_what_it_changed(api):
    old = api.model_info(REPO).sha
    made = api.create_commit(
        REPO, [add("a.txt", b"1")], commit_message="a", create_pr=True, parent_commit=old
    )
    api.create_commit(REPO, [add("b.txt", b"2")], commit_message="b")
    assert "a.txt" not in paths(api)
    assert "b.txt" not in paths(api, made.pr_revision)
    assert [commit.commit_id for commit in api.list_repo_commits(REPO, revision=made.pr_revision)][1] == old
    api.merge_pull_request(REPO, made.pr_num)
    assert {"a.txt", "b.txt"} <= set(paths(api))
    assert api.get_discussion_details(REPO, made.pr_num).merge_commit_oid == api.model_info(REPO).sha


def test_a_pull_request_that_contradicts_main_is_not_merged(api):
    api.create_commit(REPO, [add("a.txt", b"0")], commit_message="start")
    made = api.create_commit(REPO, [CommitOperationDelete("a.txt")], commit_message="without", create_pr=True)
    api.create_commit(REPO, [add("a.txt", b"1")], commit_message="another")
    with pytest.raises(HfHubHTTPError, match=r"Conflict in a\.txt"):
        api.merge_pull_request(REPO, made.pr_num)


def test_an_upload_with_another_checksum_is_refused(hub):
    place = f"{hub.address}/lfs/{hashlib.sha256(b'right').hexdigest()}"
    with pytest.raises(urllib.error.HTTPError, match="400"):
        ask(place, b"wrong", method="PUT")
    ask(place, b"right", method="PUT")
    assert ask(place) == b"right"
    assert ask(place, Range="bytes=2-") == b"ght"


def test_what_lies_in_lfs_is_redirected_to_another_host_with_its_checksum(api, hub):
    api.create_commit(REPO, [add("w.bin", b"abc")], commit_message="weights")
    found = get_hf_file_metadata(hf_hub_url(REPO, "w.bin", endpoint=hub.address))
    assert found.etag == hashlib.sha256(b"abc").hexdigest()
    assert found.size == 3
    assert found.commit_hash == api.model_info(REPO).sha
    assert found.location.startswith("http://localhost:")


def test_what_is_not_there_is_refused_with_the_hubs_own_words(api, hub):
    with pytest.raises(RevisionNotFoundError):
        api.model_info(REPO, revision="v9")
    with pytest.raises(EntryNotFoundError):
        get_hf_file_metadata(hf_hub_url(REPO, "none.txt", endpoint=hub.address))


def test_a_tag_is_made_once_and_writing_needs_a_token(api, hub):
    api.create_tag(REPO, tag="v1")
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_tag(REPO, tag="v1")
    with pytest.raises(HfHubHTTPError, match="401"):
        HfApi(endpoint=hub.address, token=False).create_tag(REPO, tag="v2")
    api.delete_tag(REPO, tag="v1")
    assert api.list_repo_refs(REPO).tags == []


def test_branches_and_single_paths_can_be_asked_for(api):
    api.create_commit(REPO, [add("a/b.txt", b"1")], commit_message="start")
    api.create_branch(REPO, branch="next")
    api.create_commit(REPO, [add("c.txt", b"2")], commit_message="more", revision="next")
    assert "c.txt" in paths(api, "next")
    assert "c.txt" not in paths(api)
    assert [entry.path for entry in api.get_paths_info(REPO, ["a/b.txt", "none"])] == ["a/b.txt"]


def test_a_folder_is_listed_one_level_deep_unless_asked_for_all(api):
    operations = [add("a/b/c.txt", b"1"), add("a/d.txt", b"2"), add("e.txt", b"3")]
    api.create_commit(REPO, operations, commit_message="start")

    def listed(**options):
        return [entry.path for entry in api.list_repo_tree(REPO, **options)]

    assert listed() == [".gitattributes", "a", "e.txt"]
    assert listed(path_in_repo="a") == ["a/b", "a/d.txt"]
    assert listed(path_in_repo="a", recursive=True) == ["a/b", "a/b/c.txt", "a/d.txt"]
    with pytest.raises(EntryNotFoundError):
        listed(path_in_repo="none")
