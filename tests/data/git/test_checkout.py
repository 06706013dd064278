import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from codequarry.data.git import CheckoutFiles, checkout_files

FILES = {
    "a.py": "1\n",
    "build/made.py": "2\n",
    "src/deep/b.py": "3\n",
    "src/.gitignore": "*\n!*.py\n!deep/\n",
}


def by_git(folder: Path) -> tuple[set[str], set[str]]:
    """What git itself calls tracked and untracked, the oracle."""

    def listed(*options: str) -> set[str]:
        command = ["git", "-C", str(folder), "ls-files", "-z", *options]
        printed = subprocess.run(command, check=True, capture_output=True).stdout
        return {os.fsdecode(name) for name in printed.split(b"\0") if name}

    return listed("--cached"), listed("--others", "--exclude-standard")


def as_by_git(folder: Path) -> CheckoutFiles:
    found = checkout_files(folder)
    assert found is not None
    tracked, untracked = by_git(folder)
    assert (set(found.tracked), set(found.untracked)) == (
        tracked - set(found.nested),
        {name for name in untracked if not name.endswith("/")},
    )
    return found


def test_tracked_and_untracked_files_are_those_of_git_from_every_folder(repository) -> None:
    repository.commit("Begin", FILES)
    (repository.folder / ".gitignore").write_text("build/\n*.log\n/only_top.py\n")
    for name in ("x.log", "only_top.py", "src/only_top.py", "src/deep/c.py", "src/notes.txt", "build/new.py"):
        (repository.folder / name).write_text("x")
    found = as_by_git(repository.folder)
    assert "build/made.py" in found.tracked  # tracked means source, whatever the rules say
    assert set(found.untracked) == {".gitignore", "src/deep/c.py", "src/only_top.py"}
    assert as_by_git(repository.folder / "src").tracked == (".gitignore", "deep/b.py")
    assert as_by_git(repository.folder / "src" / "deep").untracked == ("c.py",)


def test_rules_of_info_exclude_and_of_the_user_apply(repository, tmp_path, monkeypatch) -> None:
    repository.commit("Begin", FILES)
    (repository.folder / ".git/info/exclude").write_text("mine.py\n")
    for name in ("mine.py", "theirs.py", "seen.py"):
        (repository.folder / name).write_text("x")
    home = tmp_path / "home"
    (home / ".config/git").mkdir(parents=True)
    (home / ".config/git/ignore").write_text("theirs.py\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert as_by_git(repository.folder).untracked == ("seen.py",)
    (home / ".gitconfig").write_text("[core]\n\texcludesFile = ~/rules\n")
    (home / "rules").write_text("seen.py\n")
    assert as_by_git(repository.folder).untracked == ("theirs.py",)


def test_odd_names_conflicts_and_split_or_sha256_indexes_are_listed(repository, tmp_path) -> None:
    odd = ["n\nl.py", "t\tab.py", 'q"uote.py', " space.py", "é.py", os.fsdecode(b"latin\xe9.py"), "\x01.py"]
    repository.commit("Begin", dict.fromkeys(odd, "x\n"))
    assert set(as_by_git(repository.folder).tracked) == set(odd)
    repository.git("update-index", "--split-index")
    repository.commit("More", {"late.py": "x\n"})
    assert set(as_by_git(repository.folder).tracked) == {*odd, "late.py"}
    first = repository.git("rev-parse", "HEAD")
    repository.commit("Ours", {"late.py": "ours\n"})
    repository.git("checkout", "--quiet", "-b", "side", first)
    repository.commit("Theirs", {"late.py": "theirs\n"})
    subprocess.run(["git", "-C", repository.folder, "merge", "main"], capture_output=True)
    assert as_by_git(repository.folder).tracked.count("late.py") == 1
    other = tmp_path / "other"
    subprocess.run(["git", "init", "--quiet", "--object-format=sha256", str(other)], check=True)
    (other / "a.py").write_text("x")
    subprocess.run(["git", "-C", str(other), "add", "a.py"], check=True)
    assert as_by_git(other).tracked == ("a.py",)


def test_worktrees_submodules_and_nested_repositories_are_checkouts_of_their_own(
    repository, tmp_path
) -> None:
    repository.commit("Begin", FILES)
    repository.git("worktree", "add", "--quiet", str(tmp_path / "tree"))
    (tmp_path / "tree/new.py").write_text("x")
    assert as_by_git(tmp_path / "tree").untracked == ("new.py",)
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "./", "module")
    subprocess.run(["git", "init", "--quiet", str(repository.folder / "nested")], check=True)
    (repository.folder / "nested/n.py").write_text("x")
    found = as_by_git(repository.folder)
    assert found.nested == ("module", "nested")
    assert set(as_by_git(repository.folder / "module").tracked) == set(FILES)
    assert as_by_git(repository.folder / "nested").untracked == ("n.py",)


def test_what_is_no_checkout_or_ignored_as_a_whole_is_left_to_the_caller(
    repository, tmp_path, monkeypatch
) -> None:
    repository.commit("Begin", FILES | {".gitignore": "venv/\n"})
    (repository.folder / "venv").mkdir()
    (repository.folder / "venv/lib.py").write_text("x")
    assert checkout_files(repository.folder / "venv") is None
    assert checkout_files(tmp_path) is None
    assert checkout_files(repository.folder / ".git") is None
    assert checkout_files(repository.folder / "absent") is None
    (repository.folder / ".git/index").write_bytes(b"DIRC damaged")
    assert checkout_files(repository.folder) is None
    (repository.folder / ".git/index").unlink()
    assert checkout_files(repository.folder).tracked == ()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert checkout_files(repository.folder) is None


@pytest.mark.parametrize("place", [".gitignore", ".git/info/exclude", ".git/index", ".git/config"])
def test_a_pipe_or_an_endless_file_does_not_hold_it_up(repository, place) -> None:
    repository.commit("Begin", FILES)
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        (repository.folder / place).unlink(missing_ok=True)
        make(repository.folder / place)
        started = time.monotonic()
        found = checkout_files(repository.folder, seconds=1)
        assert time.monotonic() - started < 5
        assert found is None or "a.py" in found.tracked


def test_a_pattern_of_many_stars_ends_at_the_time_limit(repository) -> None:
    repository.commit("Begin", FILES)
    (repository.folder / ".gitignore").write_text("a*" * 40 + "b\n")
    (repository.folder / ("a" * 200)).write_text("x")
    started = time.monotonic()
    checkout_files(repository.folder, seconds=1)
    assert time.monotonic() - started < 5


def test_the_checkout_is_not_written_and_no_directory_stays(repository, monkeypatch, tmp_path) -> None:
    repository.commit("Begin", FILES)
    shutil.copy(repository.folder / "a.py", repository.folder / "new.py")
    os.utime(repository.folder / "a.py", (1, 1))  # git status would refresh the index now
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    before = states(repository.folder)
    assert checkout_files(repository.folder) is not None
    assert states(repository.folder) == before
    assert not list((tmp_path / "temporary").iterdir())


def states(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in folder.rglob("*")}


def test_inside_a_hook_the_folder_that_was_asked_for_is_listed(repository, tmp_path, monkeypatch) -> None:
    repository.commit("Begin", FILES)
    other = tmp_path / "other"
    subprocess.run(["git", "init", "--quiet", str(other)], check=True)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git/index"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    found = checkout_files(repository.folder)
    assert found is not None
    assert set(found.tracked) == set(FILES)
