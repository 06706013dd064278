"""What would change in a repository is told apart by content, however the Hub keeps it."""

import subprocess

from codequarry.release.manifest import write_manifest
from codequarry.release.publish_plan import RemoteFile, compare, release_files


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
