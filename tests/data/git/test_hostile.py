"""Repositories whose settings name programs: each would write a mark if one of them ran."""

import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from codequarry.benchmarks.repository import own_sets
from codequarry.common.errors import UserError
from codequarry.data.git import checkout_files, commits, last_changes, open_repository
from codequarry.data.mining.checkout import open_tree
from codequarry.data.mining.mine import mine
from codequarry.data.parsing.parse import read_tree
from codequarry.data.parsing.source_files import SourceReport
from tests.conftest import Repository

FUNCTION = '''def add_{0}(numbers):
    """Add the numbers that stand in list {0} of the settings."""
    total = {0}
    for number in numbers:
        total += number
    return total
'''


class Trap:
    """A repository with a history, and a program that must never run."""

    def __init__(self, tmp_path: Path) -> None:
        self.repository = Repository(tmp_path / "hostile")
        self.folder, self.git = self.repository.folder, self.repository.git
        self.mark = tmp_path / "ran"
        self.program = tmp_path / "evil"
        self.program.write_text(f'#!/bin/sh\necho "$0 $@" >> {self.mark}\nexit 1\n')
        self.program.chmod(0o755)
        for number in range(1, 7):
            files = {f"part_{number}.py": FUNCTION.format(number), "log.txt": f"{number}\n"}
            self.repository.commit(f"Add the sum of list {number} because the settings need it", files)

    def lose(self, revision: str) -> None:
        """Take one object away, as a partial clone lacks it."""
        lost = self.git("rev-parse", revision)
        (self.folder / ".git/objects" / lost[:2] / lost[2:]).unlink()

    def promise(self, *settings: tuple[str, str]) -> None:
        """What the clone lacks is fetched by these settings."""
        self.lose("HEAD~2:part_4.py")
        self.git("config", "core.repositoryFormatVersion", "1")
        self.git("config", "extensions.partialClone", "origin")
        for name, value in (("remote.origin.promisor", "true"), *settings):
            self.git("config", name, value)


def signature(trap: Trap) -> None:
    about = "\n".join(
        [
            f"tree {trap.git('rev-parse', 'HEAD^{tree}')}\nparent {trap.git('rev-parse', 'HEAD')}",
            "author A <a@example.org> 1700000000 +0000\ncommitter A <a@example.org> 1700000000 +0000",
            "gpgsig -----BEGIN PGP SIGNATURE-----\n \n iQ==\n -----END PGP SIGNATURE-----",
            "\nSign this commit as all the others",
        ]
    )
    trap.git("update-ref", "HEAD", commit_object(trap.folder, about.encode()))
    trap.git("config", "log.showSignature", "true")
    for name in ("gpg.program", "gpg.openpgp.program", "gpg.ssh.program", "gpg.x509.program"):
        trap.git("config", name, str(trap.program))


def commit_object(folder: Path, about: bytes) -> str:
    command = ["git", "-C", str(folder), "hash-object", "-t", "commit", "-w", "--stdin", "--literally"]
    return subprocess.run(command, input=about, capture_output=True, check=True).stdout.decode().strip()


def upload_pack(trap: Trap) -> None:
    trap.promise(("remote.origin.url", str(trap.folder)), ("remote.origin.uploadpack", str(trap.program)))


def ssh(trap: Trap) -> None:
    trap.promise(("remote.origin.url", "ssh://host.invalid/x"), ("core.sshCommand", str(trap.program)))


def any_command(trap: Trap) -> None:
    trap.promise(("remote.origin.url", f"ext::{trap.program}"), ("protocol.ext.allow", "always"))


def git_proxy(trap: Trap) -> None:
    trap.promise(("remote.origin.url", "git://host.invalid/x"), ("core.gitProxy", str(trap.program)))


def credential_helper(trap: Trap) -> None:
    helper = f"!{trap.program}"
    trap.promise(("remote.origin.url", "http://127.0.0.1:1/x"), ("credential.helper", helper))


def settings(trap: Trap) -> None:
    program, git = str(trap.program), trap.folder / ".git"
    for name in (
        *("core.fsmonitor", "core.pager", "pager.log", "core.askPass", "core.editor", "diff.external"),
        *("diff.x.textconv", "diff.x.command", "filter.x.smudge", "filter.x.clean", "filter.x.process"),
        *("core.alternateRefsCommand", "interactive.diffFilter", "uploadpack.packObjectsHook"),
    ):
        trap.git("config", name, program)
    for verb in ("log", "ls-files", "ls-tree", "rev-parse", "cat-file", "diff-tree", "rev-list"):
        trap.git("config", f"alias.{verb}", f"!{program}")
    trap.git("config", "core.hooksPath", str(git / "evil-hooks"))
    for folder in ("hooks", "evil-hooks"):
        (git / folder).mkdir(exist_ok=True)
        for hook in ("post-index-change", "post-checkout", "reference-transaction", "fsmonitor-watchman"):
            shutil.copy(trap.program, git / folder / hook)
    for place in (git / "info/attributes", trap.folder / ".gitattributes"):
        place.write_text("*.py diff=x filter=x -text\n* diff=x filter=x\n")


def settings_elsewhere(trap: Trap) -> None:
    git = trap.folder / ".git"
    (git / "more").write_text(f"[core]\n\tfsmonitor = {trap.program}\n[diff]\n\texternal = {trap.program}\n")
    trap.git("config", "include.path", "more")
    trap.git("config", "core.repositoryFormatVersion", "1")
    trap.git("config", "extensions.worktreeConfig", "true")
    shutil.copy(git / "more", git / "config.worktree")


def bare_inside(trap: Trap) -> None:
    """What a plain `git clone` gives of a project that has a bare repository's files at its top."""
    ssh(trap)
    inner = trap.folder.with_name("inner")
    trap.folder.rename(inner)
    trap.folder.mkdir()
    for name in ("HEAD", "config", "objects", "refs"):
        place = inner / ".git" / name
        (shutil.copytree if place.is_dir() else shutil.copy)(place, trap.folder / name)
    (trap.folder / "refs/keep").write_text("")
    shutil.copy(inner / "part_1.py", trap.folder / "part_1.py")
    trap.git("init", "--quiet")
    trap.git("add", "--force", "--all")
    trap.git("commit", "--quiet", "-m", "Publish all of it")


def linked(trap: Trap) -> None:
    """A `.git` file that leads to settings inside of the project."""
    settings(trap)
    (trap.folder / ".git").rename(trap.folder / "evil-git")
    (trap.folder / ".git").write_text("gitdir: evil-git\n")


def submodule(trap: Trap) -> None:
    inner = Repository(trap.folder / "inner")
    inner.commit("Begin the inner project", {"inner.py": FUNCTION.format(9)})
    trap.git("add", "inner")
    trap.git("commit", "--quiet", "-m", "Add the inner project as a module")
    for name in ("core.fsmonitor", "diff.external", "core.pager", "core.sshCommand"):
        inner.git("config", name, str(trap.program))
    url = f"--upload-pack={trap.program}"
    (trap.folder / ".gitmodules").write_text(f'[submodule "inner"]\n\tpath = inner\n\turl = {url}\n')


TRAPS: list[Callable[[Trap], None]] = [
    signature, upload_pack, ssh, any_command, git_proxy, credential_helper, settings, settings_elsewhere,
    bare_inside, linked, submodule,
]  # fmt: skip


@pytest.mark.parametrize("make", TRAPS, ids=lambda make: make.__name__)
def test_no_reader_runs_a_program_of_the_repository(tmp_path, monkeypatch, make) -> None:
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path / "cache"))
    trap = Trap(tmp_path)
    make(trap)
    folder = trap.folder
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f".{os.pathsep}{os.environ['PATH']}")  # a `git` of the project is not found
    shutil.copy(trap.program, folder / "git")
    trap.mark.unlink(missing_ok=True)
    found = {pair.source for split in ("file", "time") for pair in mine([folder], split=split).train}
    assert found == {"hostile"}
    own_sets(str(folder))
    assert list(read_tree(folder, SourceReport(), False))
    assert checkout_files(folder) is not None
    repository = open_repository(str(folder))
    head = repository.resolve()
    assert list(commits(repository)) or make is bare_inside
    assert last_changes(repository, head)
    present = [path for path in repository.list_files(head) if path != "part_4.py"]
    assert dict(repository.read_files(head, present))["part_1.py"] == FUNCTION.format(1).encode()
    with open_tree(folder, commit=head) as tree:
        assert list(read_tree(tree.folder, SourceReport(), False))
    with suppress(UserError), open_tree(folder.as_uri()):  # git's own server reads an address of this machine
        pass
    assert not trap.mark.exists(), trap.mark.read_text()


def test_the_programs_do_run_for_a_plain_git(tmp_path) -> None:
    trap = Trap(tmp_path)
    settings(trap)
    trap.mark.unlink(missing_ok=True)
    subprocess.run(["git", "-C", trap.folder, "status"], capture_output=True)
    assert trap.mark.exists()


def test_git_wins_over_a_bare_repository_next_to_it(tmp_path) -> None:
    trap = Trap(tmp_path)
    bare_inside(trap)
    assert [commit.subject for commit in commits(open_repository(str(trap.folder)))] == []
    with open_tree(trap.folder) as tree:
        assert tree.folder == trap.folder
        assert tree.history is not None
        assert tree.history[1] == trap.git("rev-parse", "HEAD")


def test_inside_a_hook_the_repository_that_was_asked_for_is_mined(tmp_path, repository, monkeypatch) -> None:
    trap = Trap(tmp_path)
    alone = mine([trap.folder], kinds=["commit"]).train
    repository.commit("Begin another project", {"x.py": "x = 1\n"})
    repository.commit("Change another project altogether", {"x.py": "x = 2\ny = 3\n"})
    other = repository.folder
    for name, value in {
        "GIT_DIR": other / ".git",
        "GIT_INDEX_FILE": other / ".git/index",
        "GIT_WORK_TREE": other,
        "GIT_OBJECT_DIRECTORY": other / ".git/objects",
        "GIT_EXTERNAL_DIFF": trap.program,
        "GIT_CONFIG_PARAMETERS": "'diff.noprefix'='true'",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.abbrev",
        "GIT_CONFIG_VALUE_0": "broken",
        "GIT_PREFIX": "sub/",
        "GIT_LITERAL_PATHSPECS": "1",
    }.items():
        monkeypatch.setenv(name, str(value))
    assert mine([trap.folder], kinds=["commit"]).train == alone
    assert not trap.mark.exists()
