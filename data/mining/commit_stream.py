"""The commits of a repository with their diffs of source files, read from one stream of git's."""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from codequarry.data.git_repository import GitRepository
from codequarry.data.languages import LANGUAGES
from codequarry.data.mining.commit_messages import query_of_message
from codequarry.data.source_files import reason_against_path

MAX_COMMITS = 5_000  # the newest ones with a source file; git compares that many in seconds
MAX_DIFF = 6_000  # characters, about 2,000 tokens; of a longer diff only the length is known
_CONTEXT = 2  # unchanged lines around a change
_GIVE_UP = 20  # commits in a row that git cannot read

MINED_LANGUAGES = tuple(one for one in LANGUAGES if one.grammar is not None or one.name == "python")
_ENDINGS = frozenset(ending for language in MINED_LANGUAGES for ending in language.extensions)
_FORMAT = "%x01%H%x02%ct%x02%an <%ae>%x02%s%x02%b%x03"
_HUNK = re.compile(r"^@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@")


@dataclass
class ChangedFile:
    """One file of a commit.

    path: its name after the commit, or before where it was deleted.
    lines: its part of the diff, without numbers of lines and hashes.
    changes: lines with letters that were taken out or put in.
    """

    path: str
    lines: list[str] = field(default_factory=list)
    changes: int = 0
    size: int = 0


@dataclass
class ReadCommit:
    """A commit as the stream gives it; `files` holds those of a mined language that were written by hand."""

    hash: str
    time: int
    author: str
    query: str
    files: list[ChangedFile] = field(default_factory=list)

    @property
    def diff(self) -> str:
        """The files' parts, one below the other."""
        return "\n".join(line for file in self.files for line in file.lines)


def list_commits(repository: GitRepository, newest: str) -> list[tuple[str, list[str]]]:
    """Hash and source files of the newest `MAX_COMMITS` commits of one parent, back from `newest`.

    Only names are read, which is quick; commits that change no file of a mined language are not among them.
    """
    patterns = [f"*{ending}" for ending in sorted(_ENDINGS)]
    limits = ("--no-merges", "--min-parents=1", f"--max-count={MAX_COMMITS}")
    shown = ("--no-renames", "--name-only", "-z", "--format=%x01%H%x02", "--no-show-signature")
    listed: list[tuple[str, list[str]]] = []
    for record in repository.git("log", *limits, *shown, f"-O{os.devnull}", newest, "--", *patterns).split(
        "\x01"
    )[1:]:
        commit, names = record.split("\x02", 1)
        paths = [path for path in names.replace("\n", "\0").split("\0") if _is_wanted(path)]
        listed.append((commit, paths))
    return listed


def commits_with_diffs(repository: GitRepository, hashes: Sequence[str]) -> Iterator[ReadCommit | None]:
    """The commits with their diffs, in the order of their hashes.

    None stands for a commit whose files are not all there, as happens in a partial clone.

    Raises ValueError when git can read none of twenty in a row.
    """
    waiting = list(hashes)
    failures = 0
    while waiting:
        stream = _Stream(repository, waiting)
        last: ReadCommit | None = None
        for commit in read_commits(stream.lines()):
            if last is not None:
                failures = 0
                yield last
            last = commit
        if not stream.failed:
            if last is not None:
                yield last
            return
        # git stopped in the middle of the last one, or before it wrote a word of the next.
        failures += 1
        if failures == _GIVE_UP:
            raise ValueError(f"git could not read the history of {repository.name}: {stream.failed}")
        yield None
        waiting = waiting[waiting.index(last.hash) + 1 if last is not None else 1 :]


def read_commits(lines: Iterable[bytes]) -> Iterator[ReadCommit]:
    """The commits of a stream that git wrote in our format, with those of their files worth reading."""
    commit: ReadCommit | None = None
    head: list[str] = []
    file: ChangedFile | None = None
    in_hunk = False
    old = ""
    for raw in lines:
        if in_hunk and raw[0] in b" +-" and (file is None or file.size > MAX_DIFF):
            continue  # most of what a history holds is of no use; the less is done with it, the better
        line = raw.decode("utf-8", "replace").rstrip("\n").rstrip("\r")
        if raw.startswith(b"\x01"):
            if commit is not None:
                yield commit
            commit, file, head, in_hunk = None, None, [], False
        if commit is None:
            head.append(line)
            if "\x03" in line:
                commit = _commit("\n".join(head))
        elif line.startswith("diff --git "):
            file, in_hunk = None, False
        elif not in_hunk and line.startswith("--- "):
            old = line[4:].rstrip("\t")
        elif not in_hunk and line.startswith("+++ "):
            new = line[4:].rstrip("\t")
            path = (old if new == "/dev/null" else new).partition("/")[2]
            if _is_wanted(path):
                file = ChangedFile(path)
                commit.files.append(file)
                _add(file, f"--- {old}")
                _add(file, f"+++ {new}")
        elif line.startswith("@@ "):
            in_hunk = True
            if file is not None:
                _add(file, "@@" + _HUNK.sub("", line))
        elif in_hunk and file is not None and line[:1] in (" ", "+", "-", ""):
            file.changes += line[:1] in ("+", "-") and any(letter.isalpha() for letter in line)
            _add(file, line)
    if commit is not None:
        yield commit


def _add(file: ChangedFile, line: str) -> None:
    file.size += len(line) + 1
    if file.size <= MAX_DIFF:  # what is longer is left out as a whole; it need not fill the memory first
        file.lines.append(line)


def _commit(head: str) -> ReadCommit:
    hash_, time, author, subject, body = head[1:].split("\x03")[0].split("\x02", 4)
    return ReadCommit(hash_, int(time), author, query_of_message(subject, body))


def _is_wanted(path: str) -> bool:
    ending = "." + path.rpartition(".")[2]
    return ending in _ENDINGS and reason_against_path(path) is None


class _Stream:
    """What `git diff-tree` says of some commits; the user's own settings of `git diff` change nothing.

    failed: git's last words where it stopped early, else "".
    """

    def __init__(self, repository: GitRepository, hashes: Sequence[str]) -> None:
        self.git_dir, self.hashes = repository.git_dir, hashes
        self.failed = ""

    def lines(self) -> Iterator[bytes]:
        command = [
            *("git", f"--git-dir={self.git_dir}", "-c", "core.quotePath=false"),
            *("-c", "diff.suppressBlankEmpty=false", "diff-tree", "--stdin", "-r", f"--format={_FORMAT}"),
            *("--patch", f"--unified={_CONTEXT}", "--inter-hunk-context=0", "--diff-algorithm=myers"),
            *("--no-renames", "--no-color", "--no-ext-diff", "--no-textconv", "--no-indent-heuristic"),
            *("--src-prefix=a/", "--dst-prefix=b/", "--ignore-submodules", f"-O{os.devnull}", "--"),
            *(f"*{ending}" for ending in sorted(_ENDINGS)),
        ]
        # Files, because a pipe on both ends may fill up on both.
        with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as complaints:
            asked.write("".join(f"{one}\n" for one in self.hashes).encode())
            asked.seek(0)
            environment = os.environ | {"LC_ALL": "C", "GIT_NO_REPLACE_OBJECTS": "1"}
            process = subprocess.Popen(
                command, stdin=asked, stdout=subprocess.PIPE, stderr=complaints, env=environment
            )
            assert process.stdout is not None
            with process, process.stdout as stdout:
                yield from stdout
            if process.returncode:
                complaints.seek(0)
                words = complaints.read().decode("utf-8", "replace").strip().splitlines()
                self.failed = words[-1] if words else "it gave no reason"
