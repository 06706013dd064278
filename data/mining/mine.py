"""Training pairs from source trees and their histories.

>>> mined = mine(["my-checkout", "pallets/click"])
>>> write_mined(Path("mined"), mined)
>>> print(summary_table(mined))
"""

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from codequarry.data.git import last_changes
from codequarry.data.mining.checkout import Tree, open_tree, tree_name
from codequarry.data.mining.commits import (
    COMMIT_FILTERS,
    COMMIT_REASONS,
    MESSAGE_FILTERS,
    MINED_LANGUAGES,
    pairs_of_commits,
)
from codequarry.data.mining.filters import CODE_FILTERS, COMMENT_FILTERS, is_vendored
from codequarry.data.mining.functions import FUNCTION_REASONS
from codequarry.data.mining.schema import KINDS, MinedPair, Reason, checked_kinds
from codequarry.data.mining.split import (
    REPEAT_REASONS,
    SplitBy,
    check_split,
    split_pairs,
    without_leaks,
    without_repeats,
)
from codequarry.data.mining.unit_tests import TEST_REASONS, pairs_of_tests
from codequarry.data.mining.workers import read_files
from codequarry.data.pair import Pair
from codequarry.data.parsing.source_files import SourceReport

NO_HISTORY = Reason("commit: no history", "a folder that is no git repository; counted once a folder")
OVER_LIMIT = Reason("pair: over the limit", "more pairs of one source and kind than `max_pairs`")
REASONS: Mapping[str, Reason] = {
    reason.name: reason
    for reason in chain[Reason](
        CODE_FILTERS,
        COMMENT_FILTERS,
        FUNCTION_REASONS,
        TEST_REASONS,
        COMMIT_REASONS,
        COMMIT_FILTERS,
        MESSAGE_FILTERS,
        (NO_HISTORY,),
        REPEAT_REASONS,
        (OVER_LIMIT,),
    )
}
_UNCOMMITTED = 2**62  # newer than any commit


@dataclass(frozen=True, slots=True)
class MinedPairs:
    """What mining found.

    by_kind: for `train` and `heldout` the pairs of each kind, in the order of the trees.
    filtered: what was left out, by name of `REASONS`: of functions for `comment`, `code`, `completion`
        and `signature`, of tests for `test`, of commits for `commit`, else of pairs.
    files: read and passed over.
    sources: name of each tree, and the commit that was read; None for a folder read as it lay.
    seconds: the whole run took.
    """

    by_kind: Mapping[str, Mapping[str, list[Pair]]]
    filtered: Counter[str]
    files: SourceReport
    sources: Mapping[str, str | None]
    seconds: float = field(compare=False)

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
) -> MinedPairs:
    """Pairs from the functions, tests and commits of source trees; the same trees give the same pairs.

    Arguments:
        where: folders, bare clones, `owner/name` on GitHub, or URLs. A checkout is read as it lies.
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

    Raises ValueError when a tree is not there or holds nothing to mine, when two have the same name, and
    when history is needed that a folder does not have.
    """
    started = time.perf_counter()
    wanted = checked_kinds(tuple(KINDS) if kinds is None else kinds)
    check_split(holdout, split)
    _check_sources(where, commit, workers, max_pairs)
    report = SourceReport()
    filtered: Counter[str] = Counter()
    found: list[MinedPair] = []
    sources: dict[str, str | None] = {}
    with_history = "commit" in wanted or split == "time"
    for one in where:
        with open_tree(one, commit=commit, mirrors=mirrors, history=with_history) as tree:
            if tree.history is None and split == "time":
                raise ValueError(f"{tree.name} has no commits: split by file, or pass a git repository.")
            if tree.history is None and kinds is not None and "commit" in wanted:
                raise ValueError(
                    f"{tree.name} has no commits to make pairs of: leave the kind commit out, or pass a git "
                    f"repository."
                )
            of_tree = _pairs_of_tree(tree, wanted, workers, own_licence, report, filtered, progress)
            if split == "time":
                of_tree = _with_dates(of_tree, tree)
            found += of_tree
            sources[tree.name] = tree.commit
    train, heldout = split_pairs(without_repeats(found, filtered), holdout, split)
    train, heldout = without_leaks(train, heldout, filtered, progress)
    kept = _within_limit([*train, *heldout], max_pairs, filtered)
    by_kind = {
        side: {kind: [one.pair for one in pairs if one.kind == kind and id(one) in kept] for kind in wanted}
        for side, pairs in (("train", train), ("heldout", heldout))
    }
    return MinedPairs(by_kind, +filtered, report, sources, time.perf_counter() - started)


def _check_sources(
    where: Sequence[str | Path], commit: str | None, workers: int, max_pairs: int | None
) -> None:
    names = Counter(tree_name(one) for one in where)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ValueError(f"Two sources are called {twice[0]!r}, and a pair says its source: rename a folder.")
    if commit is not None and len(where) != 1:
        raise ValueError(f"A commit belongs to one repository, and {len(where)} were passed: pass one.")
    if workers < 1:
        raise ValueError(f"workers is {workers}: pass the number of processes, 1 or more.")
    if max_pairs is not None and max_pairs < 1:
        raise ValueError(f"max_pairs is {max_pairs}: pass a number of pairs from 1, or None for no limit.")


def _pairs_of_tree(
    tree: Tree,
    kinds: Sequence[str],
    workers: int,
    own_licence: bool,
    report: SourceReport,
    filtered: Counter[str],
    progress: bool,
) -> list[MinedPair]:
    found: list[MinedPair] = []
    foreign: set[str] = set()
    if set(kinds) != {"commit"}:
        findings = read_files(
            tree.folder, tree.name, kinds, workers=workers, own_licence=own_licence, progress=progress
        )
        foreign = findings.foreign
        if tree.absent:
            findings.report.skipped["not in the clone"] += tree.absent
        if not findings.report.read:
            passed = ", ".join(f"{count:,} {why}" for why, count in sorted(findings.report.skipped.items()))
            raise ValueError(
                f"{tree.name} holds no source file to mine ({passed or 'it is empty'}): expected files in "
                f"one of {', '.join(language.name for language in MINED_LANGUAGES)}."
            )
        report.read += findings.report.read
        report.skipped += findings.report.skipped
        filtered += findings.filtered
        found += findings.found
        if "test" in kinds:
            found += pairs_of_tests(findings.tests, findings.functions, tree.name, filtered)
    if "commit" in kinds and tree.history is not None:
        repository, newest = tree.history
        found += pairs_of_commits(
            repository,
            newest,
            tree.name,
            filtered,
            foreign=(lambda path: path in foreign or is_vendored(path)) if own_licence else None,
            progress=progress,
        )
    elif "commit" in kinds:
        filtered[NO_HISTORY.name] += 1
    return found


def _with_dates(found: Sequence[MinedPair], tree: Tree) -> list[MinedPair]:
    """Each pair of a file with the time of the file's last change."""
    assert tree.history is not None
    times = last_changes(*tree.history)
    return [
        one if one.time is not None else replace(one, time=times.get(one.place, _UNCOMMITTED))
        for one in found
    ]


def _within_limit(found: Sequence[MinedPair], max_pairs: int | None, filtered: Counter[str]) -> set[int]:
    """Ids of the pairs that stay: of each source and kind the `max_pairs` with the lowest hash."""
    groups: defaultdict[tuple[str, str], list[MinedPair]] = defaultdict(list)
    for one in found:
        groups[one.pair.source, one.kind].append(one)
    kept = [one for group in groups.values() for one in sorted(group, key=_hash)[:max_pairs]]
    filtered[OVER_LIMIT.name] += len(found) - len(kept)
    return {id(one) for one in kept}


def _hash(one: MinedPair) -> bytes:
    return hashlib.sha256(f"{one.place}\0{one.pair.query}\0{one.pair.document}".encode()).digest()
