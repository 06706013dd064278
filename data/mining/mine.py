"""Training pairs from source trees and their histories.

>>> mined = mine(["my-checkout", "pallets/click"])
>>> write_mined(Path("mined"), mined)
>>> print(summary_table(mined))
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from codequarry.common.errors import UserError
from codequarry.common.files import text_sha256
from codequarry.data.git import GitError, last_changes
from codequarry.data.mining.checkout import Tree, may_be_mined, open_tree, tree_name
from codequarry.data.mining.commits import (
    COMMIT_FILTERS,
    COMMIT_REASONS,
    MESSAGE_FILTERS,
    MINED_LANGUAGES,
    pairs_of_commits,
)
from codequarry.data.mining.filters import CODE_FILTERS, COMMENT_FILTERS, is_vendored, names_copyleft
from codequarry.data.mining.functions import FUNCTION_REASONS, pairs_of_file
from codequarry.data.mining.schema import KINDS, MinedPair, Reason, checked_kinds
from codequarry.data.mining.split import (
    REPEAT_REASONS,
    SplitBy,
    check_split,
    split_pairs,
    without_leaks,
    without_repeats,
)
from codequarry.data.mining.unit_tests import TEST_REASONS, Function, find_tests, pairs_of_tests
from codequarry.data.pair import Pair
from codequarry.data.parsing.parse import read_source
from codequarry.data.parsing.source_files import list_sources
from codequarry.data.parsing.source_report import EVERYTHING, Choice, SourceReport, passing_over

NO_HISTORY = Reason("commit: no history", "a folder without a repository or a commit; counted once a folder")
UNREADABLE = Reason("commit: history not readable", "git failed on it; a warning says why; once a folder")
OVER_LIMIT = Reason("pair: over the limit", "more pairs of one source and kind than `max_pairs`")
_REASONS: tuple[Reason, ...] = (
    *CODE_FILTERS, *COMMENT_FILTERS, *FUNCTION_REASONS, *TEST_REASONS, *COMMIT_REASONS, *COMMIT_FILTERS,
    *MESSAGE_FILTERS, NO_HISTORY, UNREADABLE, *REPEAT_REASONS, OVER_LIMIT,
)  # fmt: skip
REASONS: Mapping[str, Reason] = {reason.name: reason for reason in _REASONS}
_UNCOMMITTED = 2**62  # newer than any commit
_BATCH = 40  # files; large enough that handing them over costs nothing, small enough for an even end
_WORTH_A_PROCESS = 200  # files; fewer are read before a second process has started


@dataclass(frozen=True, slots=True)
class MinedPairs:
    """What mining found.

    by_kind: for `train` and `heldout` the pairs of each kind, in the order of the trees.
    filtered: what was left out, by name of `REASONS`: of functions for `comment`, `code`, `completion`
        and `signature`, of tests for `test`, of commits for `commit`, else of pairs.
    files: read and passed over.
    sources: name of each tree, and the commit that was read; None for a folder read as it was.
    seconds: the whole run took.
    warnings: sentences on what could not be read, such as the history of a damaged repository.
    """

    by_kind: Mapping[str, Mapping[str, list[Pair]]]
    filtered: Counter[str]
    files: SourceReport
    sources: Mapping[str, str | None]
    seconds: float = field(compare=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @property
    def train(self) -> list[Pair]:
        """All pairs to train on, kind by kind."""
        return list(chain.from_iterable(self.by_kind["train"].values()))

    @property
    def heldout(self) -> list[Pair]:
        """All pairs to measure with, kind by kind."""
        return list(chain.from_iterable(self.by_kind["heldout"].values()))


def mine(
    where: Sequence[str | Path],
    *,
    kinds: Sequence[str] | None = None,
    holdout: float = 0.2,
    split: SplitBy = "file",
    mirrors: Path | None = None,
    commit: str | None = None,
    workers: int = 2,
    max_pairs: int | None = None,
    own_licence: bool = False,
    progress: bool = True,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> MinedPairs:
    """Pairs from the functions, tests and commits of source trees; the same trees give the same pairs.

    Arguments:
        where: folders, bare clones, `owner/name` on GitHub, or URLs. A checkout is read as it is.
        kinds: names of `KINDS`; None for all, without commits where there is no history.
        holdout: share of the files, and of the commits, whose pairs are kept for measuring.
        split: `file` by a hash of its path, `time` by the newest changes; see `split_pairs`. Nothing that
            remains to train on repeats what is held out, exactly or nearly.
        mirrors: folder of clones to look into before the network, see `open_repository`.
        commit: 40 hex digits; reads the files of that commit, and the commits before it.
        workers: processes that read files; any number gives the same pairs.
        max_pairs: of one source and kind; which, a hash of the pair decides. None for no limit.
        own_licence: leave out what is not under the repository's own licence: vendored folders, and files
            that name a copyleft licence in their first lines.
        progress: show bars for what takes over two seconds.
        include: patterns, as in a `.gitignore`, of files and folders that are read although they would be
            left out.
        exclude: patterns of those that are not read.

    A history that git cannot read, or a part of it, is left out with a warning, unless it is needed: for the
    split by time, and where `kinds` names commits.

    Raises UserError when a tree is not there or holds nothing to mine, when two have the same name, and
    when history is needed that a folder does not have, or that git cannot read.
    """
    started = time.perf_counter()
    wanted = checked_kinds(tuple(KINDS) if kinds is None else kinds)
    check_split(holdout, split)
    _check_sources(where, commit, workers, max_pairs)
    choice = Choice(tuple(include), tuple(exclude))
    whole = Findings()
    sources: dict[str, str | None] = {}
    with_history = "commit" in wanted or split == "time"
    warnings: list[str] = []

    def broken(error: UserError) -> None:
        if split == "time" or kinds is not None:
            raise error
        warnings.append(f"{error} Mined without it.")
        whole.filtered[UNREADABLE.name] += 1

    for one in where:
        with open_tree(one, commit=commit, mirrors=mirrors, history=with_history) as tree:
            if tree.trouble is not None:
                broken(tree.trouble)
            elif tree.history is None and split == "time":
                raise UserError(f"{tree.name} has no commits: split by file, or pass a git repository.")
            elif tree.history is None and kinds is not None and "commit" in wanted:
                raise UserError(
                    f"{tree.name} has no commits to make pairs of: leave the kind commit out, or pass a git "
                    f"repository."
                )
            of_tree = _read_tree(
                tree, wanted, workers, own_licence, choice, progress, broken, warnings.append
            )
            if len(where) > 1:
                of_tree.report.left_out = [
                    one._replace(path=f"{tree.name}/{one.path}") for one in of_tree.report.left_out
                ]
            if tree.history is not None and split == "time":
                times = last_changes(*tree.history)
                of_tree.found = [
                    replace(one, time=times.get(one.place, _UNCOMMITTED)) if one.time is None else one
                    for one in of_tree.found
                ]
            whole.add(of_tree)
            sources[tree.name] = tree.commit
    train, heldout = split_pairs(without_repeats(whole.found, whole.filtered), holdout, split)
    train, heldout = without_leaks(train, heldout, whole.filtered, progress)
    kept = _within_limit([*train, *heldout], max_pairs, whole.filtered)
    by_kind = {
        side: {kind: [one.pair for one in pairs if one.kind == kind and id(one) in kept] for kind in wanted}
        for side, pairs in (("train", train), ("heldout", heldout))
    }
    taken = time.perf_counter() - started
    return MinedPairs(by_kind, +whole.filtered, whole.report, sources, taken, tuple(warnings))


def _check_sources(
    where: Sequence[str | Path], commit: str | None, workers: int, max_pairs: int | None
) -> None:
    names = Counter(tree_name(one) for one in where)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise UserError(f"Two sources are called {twice[0]!r}, and a pair says its source: rename a folder.")
    if commit is not None and len(where) != 1:
        raise UserError(f"A commit belongs to one repository, and {len(where)} were passed: pass one.")
    if workers < 1:
        raise UserError(f"workers is {workers}: pass the number of processes, 1 or more.")
    if max_pairs is not None and max_pairs < 1:
        raise UserError(f"max_pairs is {max_pairs}: pass a number of pairs from 1, or None for no limit.")


def _read_tree(
    tree: Tree,
    kinds: Sequence[str],
    workers: int,
    own_licence: bool,
    choice: Choice,
    progress: bool,
    broken: Callable[[GitError], None],
    warn: Callable[[str], None],
) -> "Findings":
    """What one tree gives, its pairs of tests made."""
    whole = Findings()
    if set(kinds) != {"commit"}:
        whole = read_files(
            tree.folder,
            tree.name,
            kinds,
            workers=workers,
            own_licence=own_licence,
            choice=choice,
            tracked=tree.commit is not None,
            progress=progress,
        )
        whole.report.skipped["not in the clone"] += tree.absent
        whole.report.skipped["name that cannot be written"] += tree.unwritable
        whole.report.skipped = +whole.report.skipped
        if not whole.report.read:
            passed = ", ".join(f"{count:,} {why}" for why, count in sorted(whole.report.skipped.items()))
            raise UserError(
                f"{tree.name} holds no source file to mine ({passed or 'it is empty'}): expected files in "
                f"one of {', '.join(language.name for language in MINED_LANGUAGES)}."
            )
        if "test" in kinds:
            whole.found += pairs_of_tests(whole.tests, whole.functions, tree.name, whole.filtered)
            whole.tests, whole.functions = [], []
    if "commit" in kinds and tree.history is not None:
        try:
            for one in pairs_of_commits(
                *tree.history,
                tree.name,
                whole.filtered,
                foreign=(lambda path: path in whole.foreign or is_vendored(path)) if own_licence else None,
                warn=warn,
                progress=progress,
            ):
                whole.found.append(one)
        except GitError as error:
            broken(error)
    elif "commit" in kinds and tree.trouble is None:
        whole.filtered[NO_HISTORY.name] += 1
    return whole


def _within_limit(found: Sequence[MinedPair], max_pairs: int | None, filtered: Counter[str]) -> set[int]:
    """Ids of the pairs that stay: of each source and kind the `max_pairs` with the lowest hash."""

    def digest(one: MinedPair) -> bytes:
        return text_sha256(f"{one.place}\0{one.pair.query}\0{one.pair.document}")

    groups: defaultdict[tuple[str, str], list[MinedPair]] = defaultdict(list)
    for one in found:
        groups[one.pair.source, one.kind].append(one)
    kept = [one for group in groups.values() for one in sorted(group, key=digest)[:max_pairs]]
    filtered[OVER_LIMIT.name] += len(found) - len(kept)
    return {id(one) for one in kept}


@dataclass
class Findings:
    """What some files of a tree gave.

    found: their pairs, but for those of tests.
    tests, functions: what pairs of tests are made of, once all files are read.
    filtered: what was left out, by reason.
    foreign: paths of files that are not under the repository's licence.
    report: files read and passed over.
    """

    found: list[MinedPair] = field(default_factory=list)
    tests: list[Function] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    filtered: Counter[str] = field(default_factory=Counter)
    foreign: set[str] = field(default_factory=set)
    report: SourceReport = field(default_factory=SourceReport)

    def add(self, other: "Findings") -> None:
        """Append what other files gave."""
        self.found += other.found
        self.tests += other.tests
        self.functions += other.functions
        self.filtered += other.filtered
        self.foreign |= other.foreign
        self.report.add(other.report)


def read_files(
    folder: Path,
    name: str,
    kinds: Sequence[str],
    *,
    workers: int,
    own_licence: bool = False,
    choice: Choice = EVERYTHING,
    tracked: bool = False,
    progress: bool = True,
) -> Findings:
    """Everything that the files below a folder give, the same for any number of workers.

    Arguments:
        name: what the pairs' source is called.
        kinds: names of `KINDS` that are wanted.
        workers: processes; 1 stays in this one.
        own_licence: pass over files that are not under the repository's own licence.
        choice, tracked: as in `list_sources`.
        progress: show a bar after two seconds.

    Raises UserError when `folder` is none, and when the processes cannot start.
    """
    whole = Findings()
    paths = []
    for path in list_sources(folder, whole.report, choice, tracked=tracked):
        if may_be_mined(path):
            paths.append(path)
        else:
            whole.report.skip(path, _NOT_MINED)
    batches = [
        (folder, name, kinds, own_licence, choice, paths[at : at + _BATCH])
        for at in range(0, len(paths), _BATCH)
    ]
    options: dict[str, Any] = {"unit": " files", "delay": 2, "leave": False, "disable": not progress}
    with tqdm(total=len(paths), desc=f"reading {name}", **options) as bar:
        alone = workers == 1 or len(paths) < _WORTH_A_PROCESS
        answers = map(_read_batch, batches) if alone else _in_processes(batches, workers)
        for batch, findings in zip(batches, answers, strict=True):
            whole.add(findings)
            bar.update(len(batch[-1]))
    whole.report.skipped = +whole.report.skipped
    return whole


_NOT_MINED = "not a language that is mined"
_MINED_NAMES = frozenset(language.name for language in MINED_LANGUAGES)
_Batch = tuple[Path, str, Sequence[str], bool, Choice, list[str]]


def _in_processes(batches: Sequence[_Batch], workers: int) -> Iterator[Findings]:
    # `spawn` everywhere: a fork of a process that has loaded torch may hang.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        yield from pool.map(_read_batch, batches)
    except BrokenProcessPool as broken:
        raise UserError(
            "A process that reads files ended early. In a script of your own, call mine() below "
            '`if __name__ == "__main__":`, or pass workers=1.'
        ) from broken
    finally:
        pool.shutdown(cancel_futures=True)


def _read_batch(batch: _Batch) -> Findings:
    folder, name, kinds, own_licence, choice, paths = batch
    findings = Findings()
    for path in paths:
        of_file = Findings()
        with passing_over(path, findings.report):
            _read_file(of_file, folder, path, name, kinds, own_licence, choice)
            findings.add(of_file)
    return findings


def _read_file(
    findings: Findings,
    folder: Path,
    path: str,
    name: str,
    kinds: Sequence[str],
    own_licence: bool,
    choice: Choice,
) -> None:
    source = read_source(folder, path, findings.report, choice)
    if source is None:
        return
    reason = ""
    if source.language not in _MINED_NAMES and not source.definitions:
        reason = _NOT_MINED
    elif own_licence and (is_vendored(path) or names_copyleft(source.text)):
        findings.foreign.add(path)
        reason = "not under the repository's licence"
    if reason:
        findings.report.read -= 1
        findings.report.skip(path, reason)
        return
    of_one_file = [kind for kind in kinds if kind not in ("test", "commit")]
    if of_one_file:
        findings.found += pairs_of_file(source, name, of_one_file, findings.filtered)
    if "test" in kinds:
        tests, functions = find_tests(source)
        findings.tests += tests
        findings.functions += functions
