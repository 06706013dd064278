import hashlib
import os
import subprocess

import pytest

from codequarry.release.manifest import (
    check_expected,
    check_manifest,
    contents_sha256,
    manifest_sha256,
    write_manifest,
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "part" / "b.txt").write_text("two")
    write_manifest(tmp_path)
    return tmp_path


def test_an_untouched_folder_has_no_problem(folder):
    assert check_manifest(folder) == []


def test_a_missing_file_is_named(folder):
    (folder / "part" / "b.txt").unlink()
    assert check_manifest(folder) == ["part/b.txt is missing."]


def test_an_extra_file_is_named(folder):
    (folder / "part" / ".hidden").write_text("")
    assert check_manifest(folder) == ["part/.hidden is not in manifest.json: an extra file."]


def test_a_file_of_another_size_is_named_with_both_sizes(folder):
    (folder / "a.txt").write_text("three")
    assert check_manifest(folder) == ["a.txt has 5 bytes, manifest.json says 3."]


def test_a_file_of_the_same_size_with_another_content_is_named(folder):
    (folder / "a.txt").write_text("eno")
    assert check_manifest(folder) == ["a.txt has changed: its sha256 is not the one in manifest.json."]


def test_a_link_that_leads_nowhere_is_named(folder):
    (folder / "a.txt").unlink()
    (folder / "a.txt").symlink_to(folder / "gone")
    assert check_manifest(folder) == ["a.txt is no file, but a pipe or a link that leads nowhere."]


def test_a_pipe_is_named_and_never_opened(folder):
    os.mkfifo(folder / "pipe")
    assert check_manifest(folder) == ["pipe is not in manifest.json: an extra file."]
    write_manifest(folder)
    (folder / "a.txt").unlink()
    os.mkfifo(folder / "a.txt")
    assert check_manifest(folder)[-1] == "a.txt is no file, but a pipe or a link that leads nowhere."
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")
    assert check_manifest(folder)[0].startswith("manifest.json is missing")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"files": {"a.txt": 3}}',
        '{"files": []}',
        '{"files": {"a.txt": {"size": 1e999, "sha256": ""}}}',
        "[" * 100_000,
    ],
    ids=lambda text: text[:9],
)
def test_a_manifest_that_cannot_be_read_is_a_problem(folder, text):
    (folder / "manifest.json").write_text(text)
    (problem,) = check_manifest(folder)
    assert problem.startswith("manifest.json cannot be read")


def test_no_manifest_is_a_problem(folder):
    (folder / "manifest.json").unlink()
    (problem,) = check_manifest(folder)
    assert problem.startswith("manifest.json is missing")


def test_the_number_of_the_contents_is_that_of_the_lines_of_sha256sum(built):
    done = subprocess.run(
        "find . -type f ! -path ./README.md ! -path ./manifest.json -printf '%P\\n' | LC_ALL=C sort"
        " | xargs sha256sum | sha256sum",
        shell=True,
        cwd=built,
        capture_output=True,
        text=True,
        check=True,
    )
    number = done.stdout.split()[0]
    assert contents_sha256(built) == number
    assert number in (built / "README.md").read_text(encoding="utf-8")


def test_a_release_is_pinned_by_the_sha256_of_its_manifest_or_of_its_contents(release):
    manifest, contents = manifest_sha256(release), contents_sha256(release)
    assert manifest == hashlib.sha256((release / "manifest.json").read_bytes()).hexdigest()
    assert check_expected(release, manifest) == check_expected(release, contents.upper()) == []
    (release / "training.json").write_text("{}")
    write_manifest(release)
    for number in (manifest, contents):
        (problem,) = check_expected(release, number)
        assert number in problem
    with pytest.raises(ValueError, match="is no sha256"):
        check_expected(release, "v0.1.0")


def test_a_link_out_of_the_folder_is_named_and_one_of_the_hubs_cache_is_not(built, tmp_path):
    repository = tmp_path / "models--org--nano"
    snapshot = repository / "snapshots" / ("a" * 40)
    (repository / "blobs").mkdir(parents=True)
    for number, path in enumerate(sorted(built.rglob("*"))):
        if path.is_file():
            there = snapshot / path.relative_to(built)
            there.parent.mkdir(parents=True, exist_ok=True)
            blob = repository / "blobs" / str(number)
            blob.write_bytes(path.read_bytes())
            there.symlink_to(os.path.relpath(blob, there.parent))
    assert check_manifest(snapshot) == []
    (tmp_path / "elsewhere").write_bytes((built / "modules.json").read_bytes())
    (snapshot / "modules.json").unlink()
    (snapshot / "modules.json").symlink_to(tmp_path / "elsewhere")
    (problem,) = check_manifest(snapshot)
    assert problem.startswith("modules.json is a link out of the folder")


def test_names_that_differ_in_case_alone_are_named(release):
    (release / "Modules.json").write_text("[]")
    write_manifest(release)
    if len({path.name.lower() for path in release.iterdir()}) == len([*release.iterdir()]):
        pytest.skip("this system's names know no case")
    assert "differ in case alone" in check_manifest(release)[0]
