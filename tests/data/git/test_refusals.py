"""Repositories that git cannot read: its words and the remedy are told, and the rest is mined."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from codequarry.benchmarks.repository import own_sets
from codequarry.data.git import GitError, NoCommitError, commits, open_repository
from codequarry.data.mining.commits import NOT_HERE
from codequarry.data.mining.mine import NO_HISTORY, UNREADABLE, mine

FUNCTION = '''def add_{0}(numbers):
    """Add the numbers that stand in list {0} of the settings."""
    total = {0}
    for number in numbers:
        total += number
    return total
'''


@pytest.fixture
def project(repository):
    """A repository of eight commits, each with a function of its own."""
    for number in range(1, 9):
        text = f"Add the sum of list {number} because the settings need it"
        repository.commit(text, {f"part_{number}.py": FUNCTION.format(number)})
    return repository


def head_of(project) -> Path:
    return project.folder / ".git/HEAD"


def lose_head(project) -> None:
    head_of(project).unlink()


def break_head(project) -> None:
    head_of(project).write_bytes(b"\0" * 40)


def break_branch(project) -> None:
    (project.folder / ".git/refs/heads/main").write_bytes(b"")  # as a crash leaves it


def move_head(project) -> None:
    head_of(project).write_text("ref: refs/heads/absent\n")


def circle(project) -> None:
    head_of(project).write_text("ref: refs/heads/a\n")
    (project.folder / ".git/refs/heads/a").write_text("ref: refs/heads/b\n")
    (project.folder / ".git/refs/heads/b").write_text("ref: refs/heads/a\n")


def outside(project) -> None:
    head_of(project).write_text("ref: refs/heads/../../../../outside\n")
    (project.folder.parent / "outside").write_text("1" * 40)


def pipe(project) -> None:
    head_of(project).unlink()
    os.mkfifo(head_of(project))


def endless(project) -> None:
    head_of(project).unlink()
    head_of(project).symlink_to("/dev/zero")


def damage_commit(project) -> None:
    damage(project, "HEAD")


def lose_commit(project) -> None:
    object_of(project, "HEAD").unlink()


def lose_parent(project) -> None:
    object_of(project, "HEAD~3").unlink()


def damage_tree(project) -> None:
    damage(project, "HEAD~3^{tree}")


def pipe_object(project) -> None:
    place = object_of(project, "HEAD~3^{tree}")
    place.unlink()
    os.mkfifo(place)


def reftable(project) -> None:
    head_of(project).write_text("ref: refs/heads/.invalid\n")
    project.git("config", "--file", str(project.folder / ".git/config"), "extensions.refStorage", "reftable")


def no_objects(project) -> None:
    shutil.rmtree(project.folder / ".git/objects")


def empty_git(project) -> None:
    shutil.rmtree(project.folder / ".git")
    (project.folder / ".git").mkdir()


def dangling_git(project) -> None:
    shutil.rmtree(project.folder / ".git")
    (project.folder / ".git").write_text("gitdir: ../gone\n")


def pipe_git(project) -> None:
    shutil.rmtree(project.folder / ".git")
    os.mkfifo(project.folder / ".git")


def wordless_git(project) -> None:
    shutil.rmtree(project.folder / ".git")
    (project.folder / ".git").write_text("no words of git\n")


def foreign_alternates(project) -> None:
    (project.folder / ".git/objects/info/alternates").write_text("//host/share/objects\n")


def object_of(project, revision: str) -> Path:
    hash_ = project.git("rev-parse", revision)
    return project.folder / ".git/objects" / hash_[:2] / hash_[2:]


def damage(project, revision: str) -> None:
    place = object_of(project, revision)
    place.chmod(0o644)
    place.write_bytes(b"damaged")


BROKEN = {
    lose_head: r"HEAD",
    break_head: r"HEAD holds neither a hash",
    break_branch: r"refs/heads/main holds neither a hash",
    move_head: r"HEAD names refs/heads/absent, which is not there, although refs/heads/main is",
    circle: r"HEAD leads to",
    outside: r"HEAD leads to",
    pipe: r"HEAD is no regular file",
    endless: r"HEAD is no regular file",
    damage_commit: r"error: |fatal: ",
    lose_commit: r"fatal: ",
    lose_parent: r"error: |fatal: ",
    damage_tree: r"error: |fatal: ",
    pipe_object: r"is no regular file",
    reftable: r"git refs migrate --ref-format=files",
    no_objects: r"objects: No such file",
    empty_git: r"HEAD: No such file",
    pipe_git: r"^\S+/\.git is no regular file: remove it, or clone the repository again\.$",
    wordless_git: r"^\S+/\.git is no git directory and names none: clone the repository again\.$",
    dangling_git: r"gone/HEAD: No such file",
    foreign_alternates: r"another machine",
}


@pytest.mark.parametrize("make", BROKEN, ids=lambda make: make.__name__)
def test_what_git_cannot_read_is_a_warning_or_where_it_is_needed_the_error(project, make) -> None:
    make(project)
    mined = mine([project.folder])
    assert [pair.query for pair in mined.train + mined.heldout if "stand in list" in pair.query]
    assert len(mined.warnings) == 1
    assert mined.filtered[UNREADABLE.name] == 1
    assert NO_HISTORY.name not in mined.filtered
    for more in ({"split": "time"}, {"kinds": ["commit"]}):
        with pytest.raises(GitError, match=BROKEN[make]) as refused:
            mine([project.folder], **more)
        assert re.search("fsck|clone the repository|git symbolic-ref|git refs migrate", str(refused.value))
        if make not in (lose_parent, damage_tree):  # two commands of git may tell of it differently
            assert mined.warnings[0].startswith(str(refused.value))


@pytest.mark.parametrize("make", [break_head, damage_tree], ids=lambda make: make.__name__)
def test_a_benchmark_of_such_a_repository_has_the_functions_and_says_why_no_commits(project, make) -> None:
    make(project)
    found = own_sets(str(project.folder))
    assert found.functions is not None
    assert found.commits is None
    assert re.search(
        rf"git could not read (the history of )?project: .*({BROKEN[make]})", " ".join(found.notes)
    )


def test_the_commits_before_a_damaged_one_are_mined(project) -> None:
    damage_tree(project)
    mined = mine([project.folder])
    found = {pair.query for side in mined.by_kind.values() for pair in side["commit"]}
    assert found == {f"Add the sum of list {n} because the settings need it" for n in (8, 7, 4, 3, 2)}
    assert mined.filtered[NOT_HERE.name] == 2  # the one whose files are lost, and the one after it


def test_a_folder_without_a_repository_or_a_commit_has_no_history_and_no_warning(tmp_path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/a.py").write_text(FUNCTION.format(1))
    for _ in range(2):
        mined = mine([tmp_path / "code"])
        assert (mined.warnings, mined.filtered[NO_HISTORY.name]) == ((), 1)
        with pytest.raises(ValueError, match="has no commits: split by file"):
            mine([tmp_path / "code"], split="time")
        subprocess.run(["git", "init", "--quiet", str(tmp_path / "code")], check=True)
    with pytest.raises(NoCommitError, match="commit something"):
        open_repository(str(tmp_path / "code")).resolve()


def test_without_the_program_git_the_message_says_where_to_get_it(project, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    mined = mine([project.folder])
    assert mined.warnings == (
        "The program git is not installed: install it from git-scm.com. Mined without it.",
    )
    for where, more in (
        (project.folder, {"split": "time"}),
        ("pallets/click", {}),
        ("https://host.invalid/x", {}),
    ):
        with pytest.raises(
            GitError, match=r"^The program git is not installed: install it from git-scm\.com\.$"
        ):
            mine([where], **more)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_repository_of_another_owner_is_read_as_ones_own(project) -> None:
    before = mine([project.folder])
    for place in (project.folder, *project.folder.rglob("*")):
        os.chown(place, 12345, 12345)
    refused = subprocess.run(["git", "-C", project.folder, "log"], capture_output=True, text=True)
    assert "dubious ownership" in refused.stderr
    after = mine([project.folder])
    assert (after.by_kind, after.filtered, after.warnings) == (before.by_kind, before.filtered, ())
    assert mine([project.folder], split="time").by_kind["heldout"]["commit"]


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")
def test_a_repository_without_the_right_to_read_it_is_a_sentence(project) -> None:
    (project.folder / ".git").chmod(0)
    try:
        with pytest.raises(GitError, match="Permission denied"):
            mine([project.folder], split="time")
    finally:
        (project.folder / ".git").chmod(0o755)


def test_commits_of_a_damaged_history_end_with_the_error(project) -> None:
    lose_parent(project)
    read = commits(open_repository(str(project.folder)))
    assert next(read).subject == "Add the sum of list 8 because the settings need it"
    with pytest.raises(GitError, match=r"the history of project: .*fsck"):
        list(read)


def nest(project, deep: int, wide: int) -> None:
    """A commit of `wide ** deep` files, which are `deep` folders."""
    hash_ = project.git("rev-parse", "HEAD:part_1.py")
    entry = f"100644 blob {hash_}"
    for _ in range(deep):
        lines = "".join(f"{entry}\tx{number}.py\n" for number in range(wide))
        command = ["git", "-C", project.folder, "mktree"]
        made = subprocess.run(command, input=lines, check=True, capture_output=True, text=True).stdout.strip()
        entry = f"040000 tree {made}"
    commit = project.git("commit-tree", made, "-p", "HEAD", "-m", "Add more files than there are atoms")
    project.git("update-ref", "HEAD", commit)


def test_a_commit_of_billions_of_files_ends_with_a_sentence(project, monkeypatch) -> None:
    monkeypatch.setattr("codequarry.data.git.repository._MOST_FILES", 1000)
    nest(project, deep=12, wide=10)
    opened = open_repository(str(project.folder))
    with pytest.raises(GitError, match="has over 1,000 files"):
        opened.list_files(opened.resolve())


def test_a_git_that_works_without_a_word_is_stopped(project, monkeypatch) -> None:
    monkeypatch.setattr("codequarry.data.git.process._SILENT", 1)
    nest(project, deep=12, wide=10)
    opened = open_repository(str(project.folder))
    stream = opened.stream(["log", "--format=%H", opened.resolve(), "--", "*.go"])
    assert not list(stream)
    assert stream.failed == "it printed nothing for 1 seconds"
