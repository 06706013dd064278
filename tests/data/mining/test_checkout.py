import subprocess
from pathlib import Path

import pytest

from codequarry.data.mining.checkout import open_tree, tree_name

CODE = "def add(a, b):\n    return a + b\n"


def test_a_tree_is_called_after_its_folder_or_its_owner_and_name(tmp_path):
    (tmp_path / "flask.git").mkdir()
    assert tree_name(tmp_path / "flask.git") == tree_name(str(tmp_path / "flask.git")) == "flask"
    assert tree_name("pallets/flask") == "pallets/flask"
    for url in (
        "https://github.com/pallets/flask",
        "git@github.com:pallets/flask.git",
        "ssh://h/pallets/flask/",
    ):
        assert tree_name(url) == "pallets/flask"


def test_a_checkout_is_read_as_it_lies_with_its_history(repository):
    head = repository.commit("Begin", {"a.py": CODE})
    (repository.folder / "new.py").write_text(CODE)
    with open_tree(repository.folder) as tree:
        assert (tree.name, tree.folder, tree.commit) == ("project", repository.folder, None)
        assert tree.history[1] == head


def test_a_folder_without_commits_has_no_history(tmp_path, repository):
    (tmp_path / "plain").mkdir()
    for folder in (tmp_path / "plain", repository.folder):
        with open_tree(folder) as tree:
            assert tree.history is None


def test_a_bare_clone_gives_all_source_files_of_its_commit(tmp_path, repository):
    files = {
        "src/a.py": CODE,
        "tests/b.py": CODE,
        ".gitattributes": "tests export-ignore\n",
        "notes.md": "No.",
    }
    old = repository.commit("Begin", files | {"src/ignored.py": CODE, ".gitignore": "ignored.py"})
    repository.commit("More", {"src/c.rb": "def f\nend\n", "src/a.py": None})
    repository.git("clone", "--quiet", "--bare", ".", str(tmp_path / "clones/mine.git"))
    with open_tree(tmp_path / "clones/mine.git") as tree:
        assert names_in(tree.folder) == {"src/c.rb", "src/ignored.py", "tests/b.py"}
        assert tree.commit == repository.git("rev-parse", "HEAD")
        place = tree.folder
    assert not place.exists()
    with open_tree("some/mine", mirrors=tmp_path / "clones", commit=old) as tree:
        assert tree.name == "some/mine"
        assert (tree.folder / "src/a.py").read_text() == CODE
        assert tree.history[1] == old


def names_in(folder):
    return {place.relative_to(folder).as_posix() for place in folder.rglob("*") if place.is_file()}


def test_a_name_that_leads_outside_is_not_written(tmp_path, repository):
    repository.commit("Begin", {"a.py": CODE})
    blob = repository.git("rev-parse", "HEAD:a.py")
    inner = make_tree(repository, f"100644 blob {blob}\toutside.py")
    up = make_tree(repository, f"040000 tree {inner}\t..")
    evil = make_tree(
        repository, f"040000 tree {up}\t..\n100644 blob {blob}\tc:x.py\n100644 blob {blob}\tok.py"
    )
    commit = repository.git("commit-tree", evil, "-m", "Evil")
    with open_tree(repository.folder, commit=commit) as opened:
        assert names_in(opened.folder) == {"ok.py"}


def test_a_file_that_the_clone_lacks_is_counted_and_the_others_are_there(repository):
    commit = repository.commit("Begin", {f"part_{n}.py": f"x = {n}\n" for n in range(4)})
    for path in ("part_1.py", "part_2.py"):
        lost = repository.git("rev-parse", f"HEAD:{path}")
        (repository.folder / ".git/objects" / lost[:2] / lost[2:]).unlink()
    with open_tree(repository.folder, commit=commit) as tree:
        assert names_in(tree.folder) == {"part_0.py", "part_3.py"}
        assert tree.absent == 2


def test_a_full_disk_is_a_sentence_and_the_temporary_folder_is_gone(repository, monkeypatch, tmp_path):
    commit = repository.commit("Begin", {"a.py": CODE})
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with (
        pytest.raises(ValueError, match=r"project could not be written to .*: No space left on device"),
        open_tree(repository.folder, commit=commit),
    ):
        pass
    assert not list((tmp_path / "temporary").iterdir())


def make_tree(repository, lines):
    command = ["git", "-C", repository.folder, "mktree"]
    done = subprocess.run(command, input=f"{lines}\n", check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.parametrize("kind", ["file", "nothing"])
def test_what_is_no_folder_is_refused_with_what_to_pass(tmp_path, kind):
    place = tmp_path / "here"
    if kind == "file":
        place.write_text("x")
    with (
        pytest.raises(ValueError, match=r"is a file: pass a folder|is not there: pass"),
        open_tree(Path(place)),
    ):
        pass


def test_a_remote_that_does_not_answer_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ValueError, match="git could not read"), open_tree((tmp_path / "absent").as_uri()):
        pass
    assert not list((tmp_path / "cache").rglob("HEAD"))
