"""A release is read where it lies, or downloaded anew."""

import errno
import re
import tempfile

import pytest
from huggingface_hub import HfApi

from codequarry.release.remote_folder import local_copy


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
