"""What would change in a repository is told apart by content, however the Hub keeps it."""

import errno
import re
import subprocess
import tempfile

import pytest
from huggingface_hub import HfApi

from codequarry.release.hub import RemoteFile, compare, local_copy, release_files
from codequarry.release.manifest import write_manifest


def release(folder, **files):
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    write_manifest(folder)
    return release_files(folder)


def in_git(path):
    """As git itself names the content of a file."""
    done = subprocess.run(["git", "hash-object", str(path)], capture_output=True, text=True, check=True)
    return RemoteFile(path.stat().st_size, done.stdout.strip(), None)


def in_lfs(file):
    return RemoteFile(file.size, "0" * 40, file.sha256)


def test_the_same_content_is_the_same_in_git_and_in_lfs(tmp_path):
    local = release(tmp_path / "release", one="1", two="2")
    remote = {name: in_git(file.path) for name, file in local.items()}
    assert compare(local, remote).is_empty
    assert compare(local, {name: in_lfs(file) for name, file in local.items()}).is_empty


def test_each_file_is_new_changed_the_same_or_stale(tmp_path):
    local = release(tmp_path / "release", one="1", two="2", three="3")
    other = release(tmp_path / "other", one="1", two="X", old="o")
    remote = {name: in_git(file.path) for name, file in other.items()}
    plan = compare(local, remote | {".gitattributes": RemoteFile(1, "0" * 40, None)})
    assert (plan.new, plan.changed, plan.same, plan.stale) == (
        ("three",),
        ("manifest.json", "two"),
        ("one",),
        ("old",),
    )
    assert plan.size == sum(local[name].size for name in ("three", "manifest.json", "two"))
    assert plan.table().splitlines()[:4] == [
        "  changed manifest.json",
        "  stale   old",
        "  new     three",
        "  changed two",
    ]
    assert not plan.is_empty


def test_a_folder_is_itself(tmp_path):
    with local_copy(str(tmp_path)) as folder:
        assert folder == tmp_path


def test_a_revision_is_downloaded_without_the_hubs_own_file_and_gone_afterwards(hub, tmp_path):
    api = HfApi(endpoint=hub.address)
    api.create_repo("org/name")
    api.upload_file(path_or_fileobj=b"one", path_in_repo="a/one.txt", repo_id="org/name")
    api.create_tag("org/name", tag="v1")
    api.upload_file(path_or_fileobj=b"\0two", path_in_repo="two.bin", repo_id="org/name")
    found = {}
    for revision in ("v1", "main", api.model_info("org/name").sha):
        with local_copy(f"org/name@{revision}", endpoint=hub.address) as folder:
            found[revision] = {path.name: path.read_bytes() for path in folder.rglob("*.*")}
        assert not folder.exists()
    assert found["v1"] == {"one.txt": b"one"}
    assert list(found.values())[1:] == [{"one.txt": b"one", "two.bin": b"\0two"}] * 2


@pytest.mark.parametrize("name", ["org/name", "nothing", "org/name@", "https://hub/org/name@v1"])
def test_a_name_of_neither_kind_is_refused(name):
    with pytest.raises(ValueError, match=r"neither a folder here nor a release"), local_copy(name):
        pass


@pytest.mark.parametrize("name", ["org/name@v1", "org/other@main"])
def test_what_is_not_on_the_hub_is_said(hub, name):
    HfApi(endpoint=hub.address).create_repo("org/name")
    with (
        pytest.raises(ValueError, match=r"was refused by the Hub \(404"),
        local_copy(name, endpoint=hub.address),
    ):
        pass


def test_a_disk_that_is_full_is_a_sentence_with_what_to_do(monkeypatch):
    import huggingface_hub

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", full)
    place = re.escape(tempfile.gettempdir())
    with (
        pytest.raises(ValueError, match=f"There is not enough room in {place} .*set TMPDIR"),
        local_copy("org/name@v1"),
    ):
        pass
