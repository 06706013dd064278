"""A commit's message as a query: what was done, without numbers of issues, trailers and signatures."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tqdm import tqdm

from codequarry.data.git import GitRepository, Log, seconds
from codequarry.data.git.history import one_by_one
from codequarry.data.mining.filters import is_english
from codequarry.data.mining.schema import KINDS, Filter, MinedPair, Reason, first_reason
from codequarry.data.pair import Pair
from codequarry.data.parsing.languages import LANGUAGES, SCRIPT_HOLDERS, language_of
from codequarry.data.parsing.source_files import reason_against_path

MIN_WORDS = 4
MAX_MESSAGE = 600  # characters
_ISSUE = re.compile(
    r"\s*[(\[]?(?:\b(?:fix(?:e[sd])?|close[sd]?|resolve[sd]?|refs?|see|issue|pr|bug|ticket|part of)\b[\s:]*)*"
    r"(?:(?:\b[\w.-]+/[\w.-]+)?#|\bGH-|\bissue |\bbug )\d+\b(?:\s*(?:,|and|&)\s*#\d+)*[)\]]?",
    re.IGNORECASE,
)
_TRACKER = re.compile(r"^(?!UTF|SHA|ISO|RFC|CVE|MD)\[?[A-Z][A-Z0-9]+-\d+\]?(?:[:,\s-]+|$)")  # as in Jira
_TRAILER = re.compile(
    r"^\s*([A-Z][\w-]+-(by|off|on|from|to|url|id)|co-authored-by|signed-off-by|reviewed-by|change-id|fixes"
    r"|closes|refs?|see|issue|bug|pr|cc|git-svn-id|differential revision|summary|test plan|https?)\s*:",
    re.IGNORECASE,
)
_LINK = re.compile(r"\s*\(?<?https?://\S+>?\)?")
_MERGE = re.compile(r"(merge[ds]?\b|revert(s|ed)?\b|back out\b|\"?revert \"|cherry[- ]pick)", re.IGNORECASE)

_RELEASE = re.compile(
    r"(chore(\([^)]*\))?: )?((build|deps|chore|ci)(\([^)]*\))?: ?)?"
    r"((bump|upgrade|update|pin|prepare|set|increase|increment|change|start|begin|post)\b.*"
    r"(\bversions?\b|\bdependenc|\bdeps\b|\bfrom v?\d|\bto v?\d+\.|\brelease\b|\bdevelopment\b|v?\d+\.\d+)"
    r"|(releas|version|preparing|prepare|tag)\w*\b.{0,20}\d|v?\d+(\.\d+)+\b|changelog\b|update copyright"
    r"|\[maven-release-plugin\])",
    re.IGNORECASE,
)

_EMPTY = re.compile(
    r"(wip\b|fix(ed|es)? (typos?|lint|tests?|build|ci|style|formatting|warnings?)\W*$|typos?\b|oops|minor\b"
    r"|(apply |address |from )?(code )?review\b|apply suggestions|lint\w*\W*$|clean ?up\W*$|format\w*\W*$"
    r"|fixup!|squash!|temp\b|initial commit|first commit|updates?\W*$|changes?\W*$)",
    re.IGNORECASE,
)
_BOT = re.compile(r"\[bot\]|\bbot\b|dependabot|renovate|greenkeeper|pre-commit-ci|github-actions|snyk", re.I)


def query_of_message(subject: str, body: str) -> str:
    """The subject and the body's first paragraph in one line, without what only the project understands.

    >>> query_of_message("Read empty files too (#123)", "Fixes #99\\n\\nSigned-off-by: A <a@example.org>")
    'Read empty files too'
    """
    title = _clean(subject)
    paragraph = _first_paragraph(body)
    if not paragraph:
        return title
    return f"{title}{'' if title.endswith(('.', '!', '?', ':')) else '.'} {paragraph}" if title else paragraph


def _first_paragraph(body: str) -> str:
    """The first paragraph of a body if it is made of sentences, and not a list or trailers."""
    first = re.split(r"\n\s*\n", body.strip(), maxsplit=1)[0]
    lines = [line.strip() for line in first.split("\n") if not _TRAILER.match(line)]
    if any(line.startswith(("*", "-", "+", "#", "```", ">", "(cherry")) for line in lines):
        return ""
    text = _clean(" ".join(lines))
    return text if len(text) >= MIN_WORDS and " " in text and len(text) <= MAX_MESSAGE // 2 else ""


def _clean(text: str) -> str:
    text = _ISSUE.sub("", _LINK.sub("", _TRACKER.sub("", text.strip())))
    return " ".join(text.split()).strip(" -:,;")


MESSAGE_FILTERS: tuple[Filter[str], ...] = (
    Filter("commit: merge or revert", "by its subject", _MERGE.match),
    Filter("commit: release or version", "it moves a version", _RELEASE.match),
    Filter("commit: says nothing", "wip, typo, review and the like", _EMPTY.match),
    Filter(
        f"commit: under {MIN_WORDS} words",
        "too short a message",
        lambda text: len(re.findall(r"[^\W\d_]\w*", text)) < MIN_WORDS,
    ),
    Filter(
        f"commit: over {MAX_MESSAGE} characters", "too long a message", lambda text: len(text) > MAX_MESSAGE
    ),
    Filter("commit: not English", "a message in another language", lambda text: not is_english(text)),
)


def is_bot(author: str) -> bool:
    """Whether a name or an address belongs to a program that commits."""
    return _BOT.search(author) is not None


MAX_FILES = 4  # source files of one commit
MIN_CHANGES = 2  # lines with letters, taken out or put in
NOT_HERE = Reason("commit: not in the clone", "a file of it is absent, as in a partial clone")
NO_SOURCE = Reason("commit: no source file", "none that was written by hand in a mined language")
MANY_FILES = Reason(f"commit: over {MAX_FILES} source files", "it does too many things")
FOREIGN = Reason("commit: of a foreign file", "a file of it is not under the repository's licence")
COMMIT_REASONS = (NOT_HERE, FOREIGN, NO_SOURCE, MANY_FILES)
MAX_DIFF = 6_000  # characters, about 2,000 tokens; of a longer diff only the length is known


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

    def add(self, *lines: str) -> None:
        """Append lines up to `MAX_DIFF`: a longer diff is left out, and need not fill the memory first."""
        for line in lines:
            self.size += len(line) + 1
            if self.size <= MAX_DIFF:
                self.lines.append(line)


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


COMMIT_FILTERS: tuple[Filter[ReadCommit], ...] = (
    Filter("commit: by a bot", "its author is a program", lambda commit: is_bot(commit.author)),
    Filter(
        f"commit: over {MAX_DIFF} characters of diff",
        "too long for what a model reads",
        lambda commit: sum(file.size for file in commit.files) > MAX_DIFF,
    ),
    Filter(
        f"commit: under {MIN_CHANGES} changed lines",
        "too short: nothing to tell it by",
        lambda commit: sum(file.changes for file in commit.files) < MIN_CHANGES,
    ),
    Filter(
        "commit: not UTF-8",
        "its diff holds bytes that are no text",
        lambda commit: "\N{REPLACEMENT CHARACTER}" in commit.diff,
    ),
)


def pairs_of_commits(
    repository: GitRepository,
    newest: str,
    name: str,
    filtered: Counter[str],
    *,
    foreign: Callable[[str], bool] | None = None,
    warn: Callable[[str], None] | None = None,
    progress: bool = True,
) -> Iterator[MinedPair]:
    """A pair for each commit of one parent that changes one to four source files; `filtered` counts the rest.

    newest: the commit with which to begin, back from there.
    name: what the pairs' source is called.
    foreign: whether a path is not under the repository's licence; commits that change such are left out.
    warn: is called with a sentence where some commits could not be read that a clone should hold.

    Raises GitError at the end where git could read nothing beyond a commit.
    """
    # Only names are read here, which is quick; the diffs of what remains come after.
    log = Log(repository, newest, (), limit=MAX_COMMITS, patterns=_PATTERNS)
    every = [(commit, [path for path in paths if _is_wanted(path)]) for commit, _, paths in log]
    listed = [(one, paths) for one, paths in every if foreign is None or not any(map(foreign, paths))]
    filtered[FOREIGN.name] += len(every) - len(listed)
    few = [commit for commit, paths in listed if 0 < len(paths) <= MAX_FILES]
    filtered[NO_SOURCE.name] += sum(not paths for _, paths in listed)
    filtered[MANY_FILES.name] += sum(len(paths) > MAX_FILES for _, paths in listed)
    filtered[NOT_HERE.name] += log.absent + len(repository.shallow)
    read = CommitsWithDiffs(repository, few)
    for commit in tqdm(
        read, "reading commits", len(few), unit=" commits", delay=2, disable=not progress, leave=False
    ):
        if commit is None:
            filtered[NOT_HERE.name] += 1
            continue
        reason = first_reason(COMMIT_FILTERS, commit) or first_reason(MESSAGE_FILTERS, commit.query)
        if reason:
            filtered[reason] += 1
            continue
        main = max(commit.files, key=lambda file: file.changes)
        language = language_of(main.path)
        assert language is not None  # only files of a known one are read
        pair = Pair(KINDS["commit"].task, commit.query, commit.diff, name, language.name)
        yield MinedPair("commit", main.path, (commit.diff, commit.query), pair, commit.time)
    if not repository.is_partial and (words := log.failed or read.failed):
        error = repository.unreadable(words, "the history of ")
        if log.failed or read.gave_up:
            raise error
        if warn is not None:
            warn(str(error))


MAX_COMMITS = 5_000  # the newest ones with a source file; git compares that many in seconds
_CONTEXT = 2  # unchanged lines around a change
_GIVE_UP = 20  # commits in a row that git cannot read
MINED_LANGUAGES = tuple(one for one in LANGUAGES if one.grammar is not None or one.name in SCRIPT_HOLDERS)
# A change of a notebook is one of its JSON, one of a component seldom one of its script.
_ENDINGS = frozenset(
    ending for one in MINED_LANGUAGES if one.grammar is not None for ending in one.extensions
)
_PATTERNS = tuple(f"*{ending}" for ending in sorted(_ENDINGS))

# NUL ends each field, because no message can hold one; a line that begins with it is a commit's first.
_DIFF = (
    *("diff-tree", "--stdin", "-r", "--format=%x00%H%x00%ct%x00%an <%ae>%x00%s%x00%b%x00"),
    *("--patch", f"--unified={_CONTEXT}"),
    *("--inter-hunk-context=0", "--diff-algorithm=myers", "--no-renames", "--no-color", "--no-ext-diff"),
    *("--no-textconv", "--no-indent-heuristic", "--src-prefix=a/", "--dst-prefix=b/", "--ignore-submodules"),
    *("--", *_PATTERNS),
)
_FIELDS = 6  # of `_DIFF`, the empty one before the first NUL included
_RAW = (
    *("--format=%x00%H%x00", "-z", "--raw", "--no-abbrev", "--no-renames", "--ignore-submodules"),
    *("--", *_PATTERNS),
)

_HUNK = re.compile(r"^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")


class CommitsWithDiffs:
    """The commits with their diffs, in the order of their hashes.

    None stands for a commit whose files are not all there, as happens in a partial clone. After twenty in a
    row that git cannot read, None stands for the rest.

    Known when all are read:
        failed: git's words where it could not read one, else "".
        gave_up: whether the rest was left, or nothing of it could be read.
    """

    def __init__(self, repository: GitRepository, hashes: Sequence[str]) -> None:
        self.repository, self.hashes = repository, hashes
        self.failed, self.gave_up = "", False

    def __iter__(self) -> Iterator[ReadCommit | None]:
        waiting = list(self.hashes)
        failures = 0
        while waiting:
            stream = self.repository.stream(_DIFF, waiting)
            last: ReadCommit | None = None
            for commit in read_commits(stream):
                if last is not None:
                    failures = 0
                    yield last
                last = commit
            if not stream.failed:
                if last is not None:
                    yield last
                return
            # git stopped in the middle of the last one, or before it began the next.
            waiting = waiting[waiting.index(last.hash) if last is not None else 0 :]
            if not self.failed:  # what else is not here is found in one go
                self.failed, every = stream.failed, waiting
                waiting = self._whole(every)
                lost = len(every) - len(waiting)
                self.gave_up = not waiting and lost >= _GIVE_UP
                yield from [None] * lost
                continue
            failures += 1
            waiting = waiting[1:]
            yield None
            if failures == _GIVE_UP:
                self.gave_up = True
                yield from [None] * len(waiting)
                return

    def _whole(self, commits: Sequence[str]) -> list[str]:
        """Those of the commits whose files are here, before and after the change."""
        files: dict[str, set[str]] = {}
        for found in one_by_one(self.repository, _RAW, commits, 0):
            if found is not None:
                commit, _, cells = found
                about = [cell.split() for cell in cells[::2]]
                files[commit] = {blob for words in about for blob in words[2:4] if blob.strip("0")}
        absent = self.repository.absent(sorted(set().union(*files.values())))
        return [commit for commit in commits if commit in files and absent.isdisjoint(files[commit])]


def read_commits(lines: Iterable[bytes]) -> Iterator[ReadCommit]:
    """The commits of a stream that git wrote in our format, with those of their files worth reading.

    The lines of a hunk are counted as its head says, so that nothing in a file looks like a head.
    """
    commit: ReadCommit | None = None
    head: list[bytes] = []
    file: ChangedFile | None = None
    old_left = new_left = 0
    old = ""
    for raw in lines:
        if old_left > 0 or new_left > 0:
            kind = raw[:1]
            old_left -= kind in b" -"
            new_left -= kind in b" +"
            # most of what a history holds is of no use; the less is done with it, the better
            if file is not None and file.size <= MAX_DIFF and kind != b"\\":
                line = _line(raw)
                file.changes += kind in b"+-" and any(letter.isalpha() for letter in line)
                file.add(line)
            continue
        if commit is not None and raw.startswith(b"\0"):
            yield commit
            commit, file, head = None, None, []
        if commit is None:
            head.append(raw)
            if sum(one.count(b"\0") for one in head) == _FIELDS:
                _, hash_, time, author, subject, body, _ = "\n".join(map(_line, head)).split("\0")
                commit = ReadCommit(hash_, seconds(time), author, query_of_message(subject, body))
        elif raw.startswith(b"diff --git "):
            file = None
        elif raw.startswith(b"--- "):
            old = _line(raw)[4:].rstrip("\t")
        elif raw.startswith(b"+++ "):
            new = _line(raw)[4:].rstrip("\t")
            path = _unquoted(old if new == "/dev/null" else new).partition("/")[2]
            if _is_wanted(path):
                file = ChangedFile(path)
                commit.files.append(file)
                file.add(f"--- {old}", f"+++ {new}")
        elif (hunk := _HUNK.match(line := _line(raw))) is not None:
            old_left, new_left = (int(number or 1) for number in hunk.groups())
            if file is not None:
                file.add("@@" + line[hunk.end() :])
    if commit is not None:
        yield commit


def _line(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").rstrip("\n").rstrip("\r")


_ESCAPE = re.compile(r"\\([0-7]{3}|.)")
_LETTERS = {"a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r"}


def _unquoted(name: str) -> str:
    """A name as it is; git writes one with control characters, quotes or backslashes as C does."""
    if not (name.startswith('"') and name.endswith('"') and len(name) > 1):
        return name

    def letter(found: re.Match[str]) -> str:
        escaped = found[1]
        return chr(int(escaped, 8)) if len(escaped) == 3 else _LETTERS.get(escaped, escaped)

    return _ESCAPE.sub(letter, name[1:-1])


def _is_wanted(path: str) -> bool:
    ending = "." + path.rpartition(".")[2]
    return ending in _ENDINGS and reason_against_path(path) is None
