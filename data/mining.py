"""Training pairs from source trees: a comment and its code, a function and its other half.

>>> mined = mine([Path("my-checkout")])
>>> write_mined(Path("mined"), mined)
>>> print(summary_table(mined))
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from codequarry.data.mining_filters import query_of, reason_against_code, reason_against_comment
from codequarry.data.pair import Pair
from codequarry.data.split_by_file import normalised, split_by_file
from codequarry.data.statements import cut_in_two
from codequarry.data.syntax import Definition, SourceFile, SourceReport, read_tree

KINDS = ("nl2code", "code2nl", "code2completion")
MIN_LINES_TO_CUT = 12  # of a function without its docstring, blank lines left out
MAX_REPEATS = 3  # different functions under one comment; more say that the comment describes none of them


@dataclass(frozen=True, slots=True)
class MinedPairs:
    """What mining found.

    train, heldout: pairs by the side their file is on, in the order of the trees.
    filtered: what was left out, by reason: definitions for `comment` and `code`, else pairs.
    sources: files read and passed over.
    roots: names of the folders that were mined.
    """

    train: list[Pair]
    heldout: list[Pair]
    filtered: Counter[str]
    sources: SourceReport
    roots: tuple[str, ...]


def mine(roots: Sequence[Path], *, holdout: float = 0.2, progress: bool = True) -> MinedPairs:
    """Pairs of three kinds from the functions of source trees; the same trees give the same pairs.

    nl2code: first paragraph of the docstring or leading comment, and the function without it.
    code2nl: the same two, the other way round.
    code2completion: the first half of a function of at least 12 lines, and its second half.

    holdout: share of the files whose pairs are kept for measuring, see `split_by_file`.
    progress: show a bar while reading.

    Raises ValueError when a root is not a folder or two have the same name.
    """
    names = tuple(root.resolve().name for root in roots)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(
            f"Two folders are called {twice[0]!r}: a pair's source is its folder's name, rename one."
        )
    report = SourceReport()
    filtered: Counter[str] = Counter()
    found = [
        (source.path, pair)
        for root, name in zip(roots, names, strict=True)
        for source in read_tree(root, report, progress)
        for pair in _pairs_of_file(source, name, filtered)
    ]
    kept = _without_repeated_comments(_without_duplicates(found, filtered), filtered)
    train, heldout, removed = split_by_file(kept, holdout)
    filtered["train: also held out"] += removed
    return MinedPairs(train, heldout, +filtered, report, names)


def _pairs_of_file(source: SourceFile, root: str, filtered: Counter[str]) -> Iterator[Pair]:
    for definition in source.definitions:
        if definition.kind != "class":
            for task, query, document in _texts(definition, source.language, filtered):
                yield Pair(task, query, document, root, source.language)


def _texts(definition: Definition, language: str, filtered: Counter[str]) -> Iterator[tuple[str, str, str]]:
    code = definition.bare_code
    reason = reason_against_code(definition)
    if reason:
        filtered[reason] += 1
        return
    query = query_of(definition.comment)
    reason = reason_against_comment(query)
    if reason:
        filtered[reason] += 1
    else:
        yield "nl2code", query, code
        yield "code2nl", code, query
    if sum(bool(line.strip()) for line in code.split("\n")) < MIN_LINES_TO_CUT:
        filtered[f"completion: under {MIN_LINES_TO_CUT} lines"] += 1
        return
    halves = cut_in_two(code, language)
    if halves is None:
        filtered["completion: no statement begins near the middle"] += 1
    else:
        yield "code2completion", *halves


def _without_duplicates(found: Sequence[tuple[str, Pair]], filtered: Counter[str]) -> list[tuple[str, Pair]]:
    """The first of each set of pairs that say the same."""
    first: dict[tuple[str, str, str], tuple[str, Pair]] = {}
    for path, pair in found:
        first.setdefault((pair.task, normalised(pair.query), normalised(pair.document)), (path, pair))
    filtered["pair: duplicate"] += len(found) - len(first)
    return list(first.values())


def _without_repeated_comments(
    found: Sequence[tuple[str, Pair]], filtered: Counter[str]
) -> list[tuple[str, Pair]]:
    """The pairs whose comment, or first half, stands with at most `MAX_REPEATS` different counterparts."""
    counterparts: defaultdict[tuple[str, str], int] = defaultdict(int)
    for _, pair in found:
        counterparts[_comment_key(pair)] += 1
    kept = [(path, pair) for path, pair in found if counterparts[_comment_key(pair)] <= MAX_REPEATS]
    filtered[f"pair: comment of more than {MAX_REPEATS} functions"] += len(found) - len(kept)
    return kept


def _comment_key(pair: Pair) -> tuple[str, str]:
    return pair.task, normalised(pair.document if pair.task == "code2nl" else pair.query)
