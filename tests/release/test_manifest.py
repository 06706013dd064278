import os

import pytest

from codequarry.release.manifest import check_manifest, write_manifest


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
