"""Pairs of a commit's message and its diff."""

from collections import Counter
from collections.abc import Callable, Iterator

from tqdm import tqdm

from codequarry.data.git_repository import GitRepository
from codequarry.data.languages import language_of
from codequarry.data.mining.commit_messages import MESSAGE_FILTERS, is_bot
from codequarry.data.mining.commit_stream import MAX_DIFF, ReadCommit, commits_with_diffs, list_commits
from codequarry.data.mining.found_pair import FoundPair
from codequarry.data.mining.kinds import KINDS
from codequarry.data.mining.reasons import Filter, Reason, first_reason
from codequarry.data.pair import Pair

MAX_FILES = 4  # source files of one commit
MIN_CHANGES = 2  # lines with letters, taken out or put in

NOT_HERE = Reason("commit: not in the clone", "a file of it is absent, as in a partial clone")
NO_SOURCE = Reason("commit: no source file", "none that was written by hand in a mined language")
MANY_FILES = Reason(f"commit: over {MAX_FILES} source files", "it does too many things")
FOREIGN = Reason("commit: of a foreign file", "a file of it is not under the repository's licence")
COMMIT_REASONS = (NOT_HERE, FOREIGN, NO_SOURCE, MANY_FILES)
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
    progress: bool = True,
) -> Iterator[FoundPair]:
    """A pair for each commit of one parent that changes one to four source files; `filtered` counts the rest.

    newest: the commit with which to begin, back from there.
    name: what the pairs' source is called.
    foreign: whether a path is not under the repository's licence; commits that change such are left out.
    """
    every = list_commits(repository, newest)
    listed = [(one, paths) for one, paths in every if foreign is None or not any(map(foreign, paths))]
    filtered[FOREIGN.name] += len(every) - len(listed)
    few = [commit for commit, paths in listed if 0 < len(paths) <= MAX_FILES]
    filtered[NO_SOURCE.name] += sum(not paths for _, paths in listed)
    filtered[MANY_FILES.name] += sum(len(paths) > MAX_FILES for _, paths in listed)
    bar = tqdm(
        total=len(few), desc="reading commits", unit=" commits", delay=2, disable=not progress, leave=False
    )
    with bar:
        for commit in commits_with_diffs(repository, few):
            bar.update()
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
            yield FoundPair("commit", main.path, (commit.diff, commit.query), pair, commit.time)
