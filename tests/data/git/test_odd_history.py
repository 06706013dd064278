"""Histories with bytes that nobody expects: none ends a run, and none passes for another field or commit."""

import os
import subprocess

import pytest

from codequarry.benchmarks.repository import own_sets
from codequarry.data.git import Commit, commits, last_changes, open_repository
from codequarry.data.git.history import seconds
from codequarry.data.mining.checkout import open_tree
from codequarry.data.mining.mine import mine
from codequarry.data.mining.output import write_mined

FUNCTION = '''def add_{0}(numbers):
    """Add the numbers that stand in list {0} of the settings."""
    total = {0}
    for number in numbers:
        total += number
    return total
'''
FORGED = (
    "\n\n\x00\x01" + "0" * 40 + "\x02\n\ndiff --git a/x.py b/x.py\n"
    "--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-a b\n+c d\n"
)


@pytest.fixture
def project(repository):
    for number in range(1, 5):
        text = f"Add the sum of list {number} because the settings need it"
        repository.commit(text, {f"part_{number}.py": FUNCTION.format(number)})
    return repository


def add_commit(project, about: bytes, name: bytes = b"part_1.py") -> str:
    """A commit written by hand that changes one file; `about` begins with its author."""
    project.day += 1
    place = project.folder / os.fsdecode(name)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(FUNCTION.format(project.day * 10))
    project.git("add", "--all", "--force")
    head = f"tree {project.git('write-tree')}\nparent {project.git('rev-parse', 'HEAD')}\n".encode()
    command = ["git", "-C", project.folder, "hash-object", "-t", "commit", "-w", "--stdin", "--literally"]
    made = subprocess.run(command, input=head + about, capture_output=True, check=True).stdout.decode()
    project.git("update-ref", "HEAD", made.strip())
    return made.strip()


WHO = b"author A <a@b.org> 1700000000 +0000\ncommitter A <a@b.org> 1700000000 +0000\n"
MESSAGES = [
    b"Fix the total\n\n\x01deadbeef\x02 hello\n",
    b"Fix the \x02 total \x01 of numbers\x03\n\nbody\x03\n",
    b"Fix the total of numbers" + FORGED.encode(),
    b"Fix the total" + FORGED.replace("\x00", "").encode(),
    b"",
    b"\n\n\n",
    b"\xff\xfe\xe9 latin and broken\n",
    b"One line only, without an end",
    b"CR LF\r\n\r\nand a body\r\n",
    b"x" * 100_000,
    b"\x1b[31mred\x1b[0m title of the change\n",
    b"commit " + b"0" * 40 + b"\nAuthor: nobody\n",
]
PEOPLE = [
    b"author A\x02B\x01C <a@b.org> 9 +0000\ncommitter A <a@b.org> 99999999999999999999 +0000\n",
    b"author A <a@b.org> -5 +0000\ncommitter A <a@b.org> notatime\n",
    b"author A <a@b.org> 1e9 +0000\ncommitter A <a@b.org> 18446744073709551615 +0000\n",
    b"author A <a@b.org> 1 +0000\ncommitter A <a@b.org> 253402300800 +9999\n",
    b"author <> 0 +0000\ncommitter <> 0 +0000\n",
    b"author \xe9\xff <\n> 5\ncommitter\n",
    b"author A <a@b.org> 1 +0000\ncommitter A <a@b.org> 1 +0000\nencoding no-such-encoding\n",
    b"author A <a@b.org> 1 +0000\ncommitter A <a@b.org> 1 +0000\nencoding iso-8859-1\n",
    b"author A <a@b.org> 1 +0000\ncommitter A <a@b.org> 1 +0000\nmergetag object 0\n x\n",
]
NAMES = [
    b"new\nline.py", b"d\n/x.py", b"\nfirst.py", b"tab\t.py", b'quo"te.py', b"back\\slash.py",
    b"\x01\x02\x03.py",
    b"\xe9.py", b"\xff\xfe/\xe9.py", b"-x.py", b"--output=x.py", b":(exclude)x.py", b"*.py", b" .py",
    b"x .py", b"M.py", b"0" * 40 + b".py", b"\xf0\x9f\x90\x8d.py", b"e\xcc\x81.py",
    b"diff --git a b.py", b"\x1b[2J.py", b"+++ b/x.py", b"a\n+++ b/x.py", b"x" * 200 + b".py",
]  # fmt: skip


def walk(project, tmp_path) -> list[Commit]:
    """Every reader over the repository; gives its commits, the oldest first."""
    for split in ("file", "time"):
        mined = mine([project.folder], split=split)
        assert not mined.warnings
        write_mined(tmp_path / "out", mined)
        assert not any("c d" in pair.document for pair in mined.train + mined.heldout)
    own_sets(str(project.folder))
    opened = open_repository(str(project.folder))
    head = opened.resolve()
    found = list(commits(opened))
    assert [one.hash for one in found] == project.git("rev-list", "--min-parents=1", "HEAD").split()
    assert last_changes(opened, head).keys() == opened.tree(head).keys()
    assert dict(opened.read_files(head, opened.list_files(head))).keys() == opened.tree(head).keys()
    with open_tree(project.folder, commit=head) as tree:
        written = [path for path in tree.folder.rglob("*") if path.is_file()]
        assert len(written) + tree.unwritable == len(opened.list_files(head))
    return found[::-1]


def test_no_message_ends_a_run_or_passes_for_another_field(project, tmp_path) -> None:
    made = {add_commit(project, WHO + b"\n" + message): message for message in MESSAGES}
    found = [one for one in walk(project, tmp_path) if one.hash in made]
    assert len(found) == len(MESSAGES)
    for one in found:
        assert (one.time, one.author, one.changes) == (1700000000, "A <a@b.org>", (("M", "part_1.py"),))
        command = ["git", "-C", project.folder, "log", "-1", "--format=%s", one.hash]
        by_git = subprocess.run(command, capture_output=True, check=True).stdout
        assert one.subject == by_git.decode("utf-8", "replace").removesuffix("\n")


def test_no_author_and_no_time_ends_a_run(project, tmp_path) -> None:
    made = {add_commit(project, people + b"\nChange the first sum of all lists\n") for people in PEOPLE}
    found = [one for one in walk(project, tmp_path) if one.hash in made]
    assert len(found) == len(PEOPLE)
    for one in found:
        assert 0 <= one.time <= 253_402_300_799
        assert one.changes == (("M", "part_1.py"),)


def test_no_file_name_ends_a_run_or_passes_for_another_commit(project, tmp_path) -> None:
    for name in NAMES:
        for text in ("Add one more file", "Take another sum"):
            add_commit(project, WHO + f"\n{text} as number {NAMES.index(name)} of them\n".encode(), name)
    found = [one for one in walk(project, tmp_path) if "of them" in one.subject]
    expected = [((kind, os.fsdecode(name)),) for name in NAMES for kind in "AM"]
    assert [one.changes for one in found] == expected
    mined = mine([project.folder], kinds=["commit"])
    queries = {pair.query for pair in mined.train + mined.heldout}
    for number, name in enumerate(NAMES):
        is_text = name.decode("utf-8", "replace") == os.fsdecode(name)
        assert (f"Take another sum as number {number} of them" in queries) == is_text


def test_a_time_is_a_number_of_seconds_or_zero() -> None:
    for text in ("", "-5", "x", "1e9", "٣", "99999999999999999999", "253402300800", "9" * 5000):
        assert seconds(text) == 0
    assert seconds("253402300799") == 253_402_300_799


def test_a_replaced_and_a_grafted_commit_are_read_as_they_are(project, tmp_path) -> None:
    before = [one.subject for one in walk(project, tmp_path)]
    grafted = " ".join(project.git("rev-parse", "HEAD", "HEAD~3").split())
    project.git("replace", "HEAD~1", "HEAD~2")
    (project.folder / ".git/info/grafts").write_text(f"{grafted}\n")
    opened = open_repository(str(project.folder))
    assert [one.subject for one in commits(opened)] == before[::-1]
