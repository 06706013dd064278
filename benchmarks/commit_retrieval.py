"""The agentic row: commit messages and the files they changed, over four repositories kept for it.

    codequarry benchmark MODEL --agentic [--mirrors DIR]

What SWE-bench asks of an agent first, with the commit's text in place of the issue's. The repositories are
never mined for training (`data/catalog/held_out.toml`), and pinned, so that scores can be compared for years.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from tqdm import tqdm

from codequarry.common.errors import UserError
from codequarry.data.eval_set import EvalSet
from codequarry.data.git import Commit, GitRepository, commits, open_repository, printable
from codequarry.data.mining.commits import MESSAGE_FILTERS, is_bot, query_of_message
from codequarry.data.mining.schema import first_reason
from codequarry.data.parsing.definitions import unix_lines
from codequarry.data.parsing.languages import language_of
from codequarry.data.parsing.parse import SourceFile, parse_source
from codequarry.data.parsing.source_files import reason_against_path
from codequarry.search.code_chunks import code_chunks


@dataclass(frozen=True)
class AgenticSource:
    """One repository of the agentic row.

    commit: 40 hex digits; the newest commits before it are asked about.
    queries: how many at the default size, when the row was written.
    """

    repository: str
    commit: str
    language: str
    queries: int

    @property
    def name(self) -> str:
        """The set's: `commits_click`."""
        return f"commits_{self.repository.partition('/')[2]}"


AGENTIC: tuple[AgenticSource, ...] = (
    AgenticSource("pallets/click", "2c8cd3ac958a7eb316d67f2d316c27086c4c0369", "python", 100),
    AgenticSource("psf/requests", "1f6589ec3a1ee910f9a65cc3ceac60b26677bc0e", "python", 100),
    AgenticSource("expressjs/express", "a3714473feb3d2908add734d340e7755fd85e0a3", "javascript", 100),
    AgenticSource("spf13/cobra", "adbc8813901bba65827259daa8e22ff94ec1f30e", "go", 100),
)


def agentic_sets(
    *, queries: int, passages: int, mirrors: Path | None = None, progress: bool = True
) -> "Iterator[CommitSet]":
    """The set of each repository, one after the other; arguments as in `commit_set`.

    Raises UserError for a repository that is neither in `mirrors` nor to be had from the network.
    """
    for source in AGENTIC:
        repository = open_repository(
            source.repository, commit=source.commit, mirrors=mirrors, history=True, is_typed=False
        )
        yield commit_set(
            repository,
            source.name,
            newest=source.commit,
            queries=queries,
            passages=passages,
            holdout=1,  # nothing of them is ever trained on
            progress=progress,
        )


TASK = "nl2code"

MOST_FILES = 5  # source files that a commit of one intention modifies

MOST_BYTES = 200_000  # of a file; a larger one is generated, or put together from others

LOOKED_AT = 5_000  # newest commits, so that a history of a million does not take minutes

HOLDOUT = 0.2  # newest share of the commits that could be asked about: `codequarry mine --split time` as well

_SETTINGS = frozenset(
    {"yaml", "toml", "ini", "jsonc", "xml", "tex", "template", "make", "cmake", "autoconf", "meson", "just",
     "docker", "procfile", "jupyter", "other"}
)  # fmt: skip

_PATHS_AT_ONCE = 100


@dataclass(frozen=True)
class CommitSet:
    """The set, and what its scores should be read with.

    found: queries by commit, documents by `path@blob`, and for each query the files of its parent.
    passages: what each document is cut into for searching, its path in the first line of each.
    looked_at, left_out: commits, and why so many of them are no query.
    oldest, newest: dates of the first and last commit asked about.
    naming: share of the queries that name a file they changed, which are easy for any search by words.
    files_kept, files: different paths that are searched, and how many there were.
    absent: versions of files that a partial clone lacks, and that are not searched.
    """

    found: EvalSet
    passages: Mapping[str, Sequence[str]]
    looked_at: int
    left_out: Mapping[str, int]
    oldest: str
    newest: str
    naming: float
    files_kept: int
    files: int
    absent: int = 0


@dataclass(frozen=True, slots=True)
class _Asked:
    """A commit as a query: its text, and the source files it modified."""

    commit: Commit
    query: str
    paths: list[str]


Tree = Mapping[str, str]  # blob by path


def commit_set(
    repository: GitRepository,
    name: str,
    *,
    newest: str = "HEAD",
    queries: int = 100,
    passages: int = 8_000,
    holdout: float = HOLDOUT,
    progress: bool = True,
) -> CommitSet:
    """The newest commits of a repository as queries for the files they changed.

    Arguments:
        newest: the commit, branch or tag to look back from.
        queries: how many commits at most.
        passages: how many different passages about. Beyond that, files that no commit changed are left out,
            chosen by a hash of their path.
        holdout: newest share of the commits that could be asked about; 1 for a repository never trained on.

    A commit is asked about when it modifies 1 to 5 source files and its message says what about. New files
    are not answers: they were not there to be found.

    Raises UserError where the repository has no history, or no commit that can be a query.
    """
    history = sorted(commits(repository, newest, limit=LOOKED_AT), key=lambda one: -one.time)
    if not history:
        raise UserError(
            f"The repository {repository.name} has no history: no commit with a parent is reachable from "
            f"{newest}. A shallow clone is completed by `git fetch --unshallow`."
        )
    possible, left_out = _possible(history)
    asked = possible[: min(queries, max(1, round(holdout * len(possible))))]
    right = {path for one in asked for path in one.paths}
    trees = {one.commit.parent: _tree(repository, one.commit.parent) for one in asked}
    files = {path for tree in trees.values() for path in tree}
    cut: dict[str, tuple[str, ...]] = {}
    kept: set[str] = set()
    absent = 0
    different: set[str] = set()
    order = sorted(files, key=lambda path: (path not in right, hashlib.sha256(path.encode()).digest()))
    with tqdm(
        total=len(order), desc="reading", unit=" files", delay=2, disable=not progress, leave=False
    ) as bar:
        for start in range(0, len(order), _PATHS_AT_ONCE):
            some = order[start : start + _PATHS_AT_ONCE]
            if len(different) >= passages and right.isdisjoint(some):
                break
            for document, pieces in _documents(repository, trees, set(some)):
                absent += pieces is None
                if pieces:
                    cut[document] = pieces
                    different.update(pieces)
            kept.update(some)
            bar.update(len(some))
    found = _eval_set(name, asked, trees, cut)
    if found is None:
        if absent:
            left_out["files that are not in the clone"] = absent
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in left_out.most_common())
        raise UserError(
            f"No commit of {repository.name} can be a query; {len(history):,} were looked at: {reasons}."
        )
    answered = [one for one in asked if one.commit.hash in found.queries]
    return CommitSet(
        found,
        {document: cut[document] for document in found.documents},
        looked_at=len(history),
        left_out=left_out,
        oldest=_day(answered[-1].commit.time),
        newest=_day(answered[0].commit.time),
        naming=sum(names_one_of(one.query, one.paths) for one in answered) / len(answered),
        files_kept=len(kept),
        files=len(files),
        absent=absent,
    )


@lru_cache(maxsize=100_000)  # the same paths come back with every commit
def is_source(path: str) -> bool:
    """Whether a path is code that people of the repository write: no prose, settings or vendored file."""
    language = language_of(path)
    return (
        language is not None
        and not language.prose
        and language.name not in _SETTINGS
        and reason_against_path(path) is None
        and printable(path) == path  # a name that is not UTF-8 cannot be written to a results file
    )


def _possible(history: Sequence[Commit]) -> tuple[list[_Asked], Counter[str]]:
    """The commits that can be queries, the newest first, and why others cannot."""
    asked: dict[str, _Asked] = {}
    left_out: Counter[str] = Counter()
    for commit in history:
        paths = [path for kind, path in commit.changes if kind == "M" and is_source(path)]
        query, reason = query_or_reason(commit)
        if not paths:
            reason = "commit: modifies no source file"
        elif len(paths) > MOST_FILES:
            reason = f"commit: modifies over {MOST_FILES} source files"
        elif reason is None and query in asked:
            reason = "commit: message of a newer one"
        if reason:
            left_out[reason] += 1
        else:
            asked[query] = _Asked(commit, query, paths)
    return list(asked.values()), left_out


def _tree(repository: GitRepository, commit: str) -> Tree:
    """The source files of a commit: the blob of each by its path."""
    return {
        path: blob
        for path, (mode, blob) in repository.tree(commit).items()
        if mode.startswith("100") and is_source(path)
    }


def _documents(
    repository: GitRepository, trees: Mapping[str, Tree], paths: set[str]
) -> Iterator[tuple[str, tuple[str, ...] | None]]:
    """Each version of these files with its passages; () where it is no text, None where it is not here."""
    places: dict[str, tuple[str, str]] = {}  # path and blob, by document
    for tree in trees.values():
        for path in sorted(paths & tree.keys()):
            places.setdefault(_document(path, tree), (path, tree[path]))
    contents = repository.read_blobs(blob for _, blob in places.values())
    for (document, (path, _)), content in zip(places.items(), contents, strict=True):
        if content is None:
            yield document, None
        else:
            is_text = len(content) <= MOST_BYTES and b"\0" not in content
            yield document, _passages(path, content) if is_text else ()


def _passages(path: str, content: bytes) -> tuple[str, ...]:
    """What `codequarry search` would find of the file; () where it is no text."""
    try:
        text = unix_lines(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return ()
    language = language_of(path)
    assert language is not None  # `is_source` asked for one
    source = SourceFile(path, language.name, text, parse_source(path, text))
    return tuple(dict.fromkeys(f"{path}\n{chunk.text}" for chunk in code_chunks(source)))


def _eval_set(
    name: str, asked: Sequence[_Asked], trees: Mapping[str, Tree], cut: Mapping[str, Sequence[str]]
) -> EvalSet | None:
    queries, relevant, languages, candidates = {}, {}, {}, {}
    for one in asked:
        tree, query = trees[one.commit.parent], one.commit.hash
        right = [_document(path, tree) for path in one.paths if path in tree and _document(path, tree) in cut]
        language = language_of(one.paths[0])
        if right and language is not None:
            queries[query], relevant[query] = one.query, dict.fromkeys(right, 1)
            languages[query] = language.name
            candidates[query] = [document for path in tree if (document := _document(path, tree)) in cut]
    if not queries:
        return None
    competing = sorted({document for documents in candidates.values() for document in documents})
    # The passages overlap little, so that they stand for the file's text: only its imports are missing.
    texts = {document: "\n\n".join(cut[document]) for document in competing}
    return EvalSet(name, TASK, queries, texts, relevant, languages, candidates)


def _document(path: str, tree: Tree) -> str:
    return f"{path}@{tree[path][:12]}"


def _day(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).date().isoformat()


MIN_TELLING_WORDS = 3  # different words that tell this change from others

# Words that a message of any change may hold. "Fix typo in the docs" is made of nothing else.
_COMMON = """
    a add added adding additional address all also an and any apply as at be better bug bugs build by
    can change changed changelog changes check ci clean cleanup code comment comments commit correct do
    doc docs docstring docstrings document documentation error errors example examples feedback few file
    files first fix fixed fixes fixing for format formatting from further if implement improve improved
    improvements in initial into is issue issues it javadoc last lint linter linting little make merge
    minor misc more move moved my new not note of on one or other our pr pre refactor refactored
    refactoring release remove removed removing rename renamed review rewrite run simplify slightly
    small some source spelling stuff style suggestion suggestions test tested tests text that the their
    them this tidy to tweak tweaks typo typos unit up update updated updates use used using various
    version warning warnings was we when whitespace wip with wording work
"""

_WEB_EDIT = re.compile(r"(update|create|delete|rename) [\w./-]+\.\w+", re.IGNORECASE)  # a web form's default

_WORD = re.compile(r"[^\W\d_]{2,}")


def query_or_reason(commit: Commit) -> tuple[str, str | None]:
    """The message as a query, and why it cannot be one; None when it can."""
    query = query_of_message(commit.subject, commit.body)
    signed = (line for line in commit.body.split("\n") if line.lower().startswith("signed-off-by:"))
    if any(map(is_bot, (commit.author, *signed))):
        return query, "commit: by a bot"
    if reason := first_reason(MESSAGE_FILTERS, query):
        return query, reason
    telling = {word.lower() for word in _WORD.findall(query)} - set(_COMMON.split())
    if len(telling) < MIN_TELLING_WORDS or _WEB_EDIT.fullmatch(query):
        return query, "commit: does not say what about"
    return query, None


def names_one_of(query: str, paths: Iterable[str]) -> bool:
    """Whether a query names one of the files, by its name with or without the ending, as a whole word.

    >>> names_one_of("Let JsonReader skip comments", ["src/JsonReader.java"])
    True
    """
    names = {name for path in paths for name in (path.split("/")[-1], path.split("/")[-1].split(".")[0])}
    return any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", query) for name in names if name)
