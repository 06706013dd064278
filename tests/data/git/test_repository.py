import shutil
import subprocess
from pathlib import Path

import pytest

from codequarry.data.git import commits, last_changes, open_repository

NAMES = ["src/a.py", "src/deep/b.py", "src/naïve name.py", "README.md"]


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, check=True)
    return done.stdout.decode().strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    for number, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(f"text {number}\r\nwith\0zero".encode())
    (folder / "link.py").symlink_to("src/a.py")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "First\n\nWith a body\nof two lines")
    return folder


def change(folder: Path, subject: str, **files: str | None) -> str:
    for name, text in files.items():
        path = folder / name.replace("__", ".")
        if text is None:
            path.unlink()
        else:
            path.write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", subject)
    return git(folder, "rev-parse", "HEAD")


def test_a_checkout_a_bare_clone_a_mirror_and_a_remote_give_the_same_files(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path / "cache"))
    git(tmp_path, "clone", "--quiet", "--bare", "checkout", "mirrors/owner+name/repo")
    mirror = tmp_path / "mirrors/owner+name/repo"
    commit = git(checkout, "rev-parse", "HEAD")
    url = checkout.as_uri()
    git(checkout, "config", "uploadpack.allowAnySHA1InWant", "true")
    opened = [
        open_repository(str(checkout)),
        open_repository(str(mirror)),
        open_repository("owner/name", mirrors=tmp_path / "mirrors"),
        open_repository(url, history=True),
        open_repository(url, commit=commit),
    ]
    for repository in opened:
        assert repository.resolve() == commit
        paths = repository.list_files(commit)
        assert paths == sorted(NAMES)  # the symbolic link is not a file
        for path, content in repository.read_files(commit, paths):
            assert content == (checkout / path).read_bytes()


def test_a_remote_that_was_brought_once_needs_no_network(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path / "cache"))
    url, commit = checkout.as_uri(), git(checkout, "rev-parse", "HEAD")
    open_repository(url, commit=commit, history=True)
    shutil.rmtree(checkout)
    assert open_repository(url, commit=commit, history=True).list_files(commit) == sorted(NAMES)


def test_patterns_choose_files_as_gitignore_does(checkout: Path) -> None:
    repository = open_repository(str(checkout))
    head = repository.resolve()
    assert repository.list_files(head, ["src/*.py"]) == ["src/a.py", "src/naïve name.py"]
    assert repository.list_files(head, ["*.py", "!src/deep/*"]) == ["src/a.py", "src/naïve name.py"]


def test_commits_come_newest_first_with_message_and_changed_files(checkout: Path) -> None:
    first = git(checkout, "rev-parse", "HEAD")
    second = change(checkout, "Second\n\nWhy\nit was done", **{"README.md": "new", "c.py": "x = 1"})
    third = change(checkout, "Third", **{"c.py": None})
    git(checkout, "checkout", "--quiet", "-b", "side", second)
    change(checkout, "Aside", **{"d.py": "1"})
    git(checkout, "checkout", "--quiet", "main")
    git(checkout, "merge", "--quiet", "--no-ff", "--message", "Merge", "side")
    found = {commit.subject: commit for commit in commits(open_repository(str(checkout)))}
    assert set(found) == {"Second", "Third", "Aside"}  # the first has no parent, a merge has two
    assert (found["Second"].body, found["Second"].author) == ("Why\nit was done", "T <t@example.org>")
    assert found["Second"].changes == (("M", "README.md"), ("A", "c.py"))
    assert (found["Third"].changes, found["Third"].parent, found["Second"].parent) == (
        (("D", "c.py"),), second, first,
    )  # fmt: skip
    assert [commit.hash for commit in commits(open_repository(str(checkout)), third, limit=1)] == [third]


def test_what_is_no_repository_and_what_has_no_commit_is_a_sentence(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no git repository"):
        open_repository(str(tmp_path / "empty"))
    git(tmp_path / "empty", "init", "--quiet")
    with pytest.raises(ValueError, match="has no commit yet"):
        open_repository(str(tmp_path / "empty")).resolve()
    with pytest.raises(ValueError, match="has no commit 'v9'"):
        open_repository(str(checkout)).resolve("v9")
    with pytest.raises(ValueError, match=r"has no file nowhere\.py"):
        list(open_repository(str(checkout)).read_files(git(checkout, "rev-parse", "HEAD"), ["nowhere.py"]))
    with pytest.raises(ValueError, match="40 hex digits"):
        open_repository("owner/name", commit="abc123")
    with pytest.raises(ValueError, match="not there"):
        open_repository(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="git could not read"):
        open_repository((tmp_path / "nowhere").as_uri(), history=True)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_name_that_looks_like_an_option_never_reaches_git() -> None:
    with pytest.raises(ValueError, match="no repository"):
        open_repository("--upload-pack=touch x")


def test_each_file_has_the_time_of_its_last_change(repository):
    repository.commit("One", {"a.py": "1\n", "b c/é.py": "1\n", "gone.py": "1\n"})
    repository.commit("Two", {"a.py": "2\n"})
    newest = repository.commit("Three", {"gone.py": None})
    repository.commit("Four", {"a.py": "4\n"})
    opened = open_repository(str(repository.folder))
    for path in ("a.py", "b c/é.py"):
        told = int(repository.git("log", "-1", "--format=%ct", newest, "--", path))
        assert last_changes(opened, newest)[path] == told
