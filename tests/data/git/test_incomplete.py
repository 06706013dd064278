"""Clones that hold a part of a history, and repositories stored in other ways, are mined as they are."""

import subprocess
from pathlib import Path

import pytest

from codequarry.benchmarks.commit_retrieval import commit_set
from codequarry.common.errors import UserError
from codequarry.data.git import GitError, commits, last_changes, open_repository
from codequarry.data.mining.checkout import open_tree
from codequarry.data.mining.commits import NOT_HERE
from codequarry.data.mining.mine import MinedPairs, mine
from tests.conftest import Repository

FUNCTION = '''def add_{0}(numbers):
    """Add the numbers that stand in list {0} of the settings."""
    total = {0}
    for number in numbers:
        total += number
    return total
'''
SHORT = "def all_{0}():\n    return 'the number {0} of all lists that were added'\n"
COUNT = 30


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Repository:
    repository = Repository(tmp_path_factory.mktemp("source") / "project")
    for number in range(COUNT):
        text = f"Add the sum of list {number} because the settings need it"
        files = {f"src/part_{number}.py": FUNCTION.format(number), "src/all.py": SHORT.format(number)}
        repository.commit(text, files)
    repository.git("config", "uploadpack.allowFilter", "true")
    return repository


def clone(project: Repository, target: Path, *options: str) -> Path:
    command = ["git", "clone", "--quiet", *options, project.folder.as_uri(), str(target)]
    subprocess.run(command, check=True, capture_output=True)
    return target


def messages(mined: MinedPairs) -> set[str]:
    return {pair.query for side in mined.by_kind.values() for pair in side["commit"]}


def text(number: int) -> str:
    return f"Add the sum of list {number} because the settings need it"


@pytest.mark.parametrize("split", ["file", "time"])
@pytest.mark.parametrize("filter", ["blob:none", "tree:0", "blob:limit=100"])
def test_a_partial_clone_is_mined_without_what_is_missing_which_is_counted(
    project, tmp_path, monkeypatch, filter, split
) -> None:
    folder = clone(project, tmp_path / "project", f"--filter={filter}")
    project_is_gone = project.folder.with_name("gone")
    project.folder.rename(project_is_gone)  # whoever fetched now would fail
    try:
        mined = mine([folder], split=split)
    finally:
        project_is_gone.rename(project.folder)
    assert (mined.warnings, mined.files.read) == ((), COUNT + 1)
    whole = {text(COUNT - 1)} if filter != "blob:limit=100" else {text(n) for n in range(1, COUNT)}
    assert messages(mined) <= whole
    assert len(messages(mined)) + mined.filtered[NOT_HERE.name] == COUNT - 1


@pytest.mark.parametrize("depth", [1, 5])
def test_a_shallow_clone_is_mined_to_its_end(project, tmp_path, depth) -> None:
    folder = clone(project, tmp_path / "project", f"--depth={depth}")
    for split in ("file", "time"):
        mined = mine([folder], split=split)
        assert messages(mined) == {text(n) for n in range(COUNT - depth + 1, COUNT)}
        assert mined.filtered[NOT_HERE.name] == 1  # what it changed cannot be seen without its parent
        assert not mined.warnings
    assert len(list(commits(open_repository(str(folder))))) == depth - 1


def test_one_lost_file_is_counted_with_a_warning_and_the_others_are_mined(project, tmp_path) -> None:
    folder = clone(project, tmp_path / "project", "--no-local")
    subprocess.run(["git", "-C", folder, "unpack-objects", "-q"], input=b"", capture_output=True)
    lost = project.git("rev-parse", "HEAD~3:src/all.py")
    for pack in folder.glob(".git/objects/pack/*.pack"):
        data = pack.read_bytes()
        for file in folder.glob(".git/objects/pack/*"):
            file.unlink()
        subprocess.run(["git", "-C", folder, "unpack-objects", "-q"], input=data, check=True)
    (folder / ".git/objects" / lost[:2] / lost[2:]).unlink()
    mined = mine([folder])
    assert messages(mined) == {text(n) for n in range(1, COUNT)} - {text(COUNT - 3), text(COUNT - 4)}
    assert mined.filtered[NOT_HERE.name] == 2
    assert len(mined.warnings) == 1
    assert lost in mined.warnings[0]
    assert "git fsck" in mined.warnings[0]


def test_every_way_to_store_a_repository_gives_the_same_pairs(project, tmp_path) -> None:
    plain = mine([clone(project, tmp_path / "plain/project")])
    assert messages(plain) == {text(n) for n in range(1, COUNT)}
    source = tmp_path / "plain/project"

    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", source, *arguments], check=True, capture_output=True)

    git("worktree", "add", "--quiet", "--detach", str(tmp_path / "tree/project"))
    git("clone", "--quiet", "--shared", ".", str(tmp_path / "shared/project"))
    git("clone", "--quiet", "--shared", str(tmp_path / "shared/project"), str(tmp_path / "twice/project"))
    separate = f"--separate-git-dir={tmp_path / 'separate.git'}"
    git("clone", "--quiet", separate, ".", str(tmp_path / "separate/project"))
    (tmp_path / "outer").mkdir()
    subprocess.run(["git", "init", "--quiet", str(tmp_path / "outer")], check=True)
    module = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(source), "project"]
    subprocess.run(["git", "-C", tmp_path / "outer", *module], check=True, capture_output=True)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/project").symlink_to(source)
    for place in ("tree", "shared", "twice", "separate", "outer", "linked"):
        assert mine([tmp_path / place / "project"]).by_kind == plain.by_kind, place
    git("pack-refs", "--all")
    git("commit-graph", "write", "--reachable", "--changed-paths")
    (source / ".git/objects/info/commit-graph").chmod(0o644)
    (source / ".git/objects/info/commit-graph").write_bytes(b"CGPH damaged")
    assert mine([source]).by_kind == plain.by_kind
    git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare/project.git"))
    assert mine([tmp_path / "bare/project.git"]).by_kind == plain.by_kind
    (tmp_path / "new\nline" / 'quo"te').mkdir(parents=True)
    git("clone", "--quiet", ".", str(tmp_path / "new\nline" / 'quo"te' / "project"))
    assert mine([tmp_path / "new\nline" / 'quo"te' / "project"]).by_kind == plain.by_kind


def test_a_repository_of_sha256_is_mined_like_one_of_sha1(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path / "cache"))
    found = []
    for form in ("sha1", "sha256"):
        monkeypatch.setenv("GIT_DEFAULT_HASH", form)
        repository = Repository(tmp_path / form / "project")
        for number in range(5):
            repository.commit(text(number), {f"part_{number}.py": FUNCTION.format(number)})
        repository.git("config", "uploadpack.allowAnySHA1InWant", "true")
        head = repository.git("rev-parse", "HEAD")
        assert len(head) == (40 if form == "sha1" else 64)
        found.append(mine([repository.folder], split="time").by_kind)
        for history in (True, False):
            opened = open_repository(repository.folder.as_uri(), commit=head, history=history)
            assert opened.resolve() == head
            assert len(opened.list_files(head)) == 5
        with open_tree(repository.folder, commit=head) as tree:
            assert len(list(tree.folder.iterdir())) == 5
    assert found[0] == found[1]


def test_a_benchmark_leaves_out_files_that_a_partial_clone_lacks(project, tmp_path) -> None:
    folder = clone(project, tmp_path / "project", "--filter=blob:limit=100", "--no-checkout")
    made = commit_set(open_repository(str(folder)), "c", holdout=1, progress=False)
    whole = commit_set(open_repository(str(project.folder)), "c", holdout=1, progress=False)
    assert set(made.found.queries) == set(whole.found.queries)
    assert made.absent > 0 == whole.absent
    without = clone(project, tmp_path / "without", "--filter=blob:none")
    with pytest.raises(UserError, match=r"files that are not in the clone \(\d"):
        commit_set(open_repository(str(without)), "c", holdout=1, progress=False)
    treeless = clone(project, tmp_path / "treeless", "--filter=tree:0")
    with pytest.raises(GitError, match="partial clone"):
        commit_set(open_repository(str(treeless)), "c", holdout=1, progress=False)


def test_revisions_are_found_as_git_finds_them(project) -> None:
    project.git("tag", "--annotate", "v1", "-m", "One", "HEAD~2")
    project.git("branch", "side/branch", "HEAD~3")
    project.git("update-ref", "refs/remotes/origin/main", "HEAD~4")
    for packed in (False, True):
        if packed:
            project.git("pack-refs", "--all")
        opened = open_repository(str(project.folder))
        head = project.git("rev-parse", "HEAD")
        names = (
            "HEAD",
            "main",
            "v1",
            "side/branch",
            "heads/main",
            "refs/tags/v1",
            "origin/main",
            head[:9],
            head,
        )
        for name in (*names, "HEAD~3", "v1^", "main~2^", f"{head}~1"):
            assert opened.resolve(name) == project.git("rev-parse", f"{name}^{{commit}}")
        for name in (
            "v9",
            "HEAD~99",
            "0" * 40,
            "--all",
            "HEAD:src",
            "a b",
            "main@{1}",
            ":/Add",
            "",
            "../HEAD",
        ):
            with pytest.raises(ValueError, match="has no commit"):
                opened.resolve(name)


def test_files_changed_before_the_end_of_a_shallow_clone_have_its_time(project, tmp_path) -> None:
    folder = clone(project, tmp_path / "project", "--depth=2")
    opened = open_repository(str(folder))
    times = last_changes(opened, opened.resolve())
    assert times["src/part_0.py"] == int(project.git("log", "-1", "--format=%ct", "HEAD~1"))
