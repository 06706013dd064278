"""Some pairs train, the others measure: a split by file that stays put, or one by time."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from codequarry.data.mining.found_pair import FoundPair

SplitBy = Literal["file", "time"]
SPLITS: tuple[SplitBy, ...] = get_args(SplitBy)


def split_pairs(
    found: Sequence[FoundPair], holdout: float = 0.2, by: SplitBy = "file"
) -> tuple[list[FoundPair], list[FoundPair]]:
    """Pairs that train and pairs that are held out.

    Arguments:
        holdout: share of the files, or of the commits, 0 to below 1.
        by: `file`: a sha256 of the path alone decides, so that a file keeps its side whatever happens to
            the others; a commit goes with the file it changes most. `time`: of each source's files and
            commits the share that was changed last is held out.

    Where one side would be empty, one file goes there: the one with the lowest or highest hash, the newest
    or the oldest.

    Raises ValueError for a share outside its range and for another way to split.
    """
    check_split(holdout, by)
    if by == "file":
        outside = held_out_files({one.place for one in found}, holdout)
        sides = [one.place in outside for one in found]
    else:
        newest = _newest(found, holdout)
        sides = [_unit(one) in newest for one in found]
    train = [one for one, is_outside in zip(found, sides, strict=True) if not is_outside]
    heldout = [one for one, is_outside in zip(found, sides, strict=True) if is_outside]
    return train, heldout


def check_split(holdout: float, by: str) -> None:
    """Raise ValueError for a share outside its range, or a way to split that is none."""
    if not 0 <= holdout < 1:
        raise ValueError(f"holdout is {holdout}: pass a share of the files from 0 to below 1, such as 0.2.")
    if by not in SPLITS:
        raise ValueError(f"{by!r} is no way to split: pass one of {', '.join(SPLITS)}.")


def held_out_files(paths: Iterable[str], holdout: float) -> set[str]:
    """The paths that are held out, about `holdout` of them."""
    ranked = sorted(set(paths), key=_rank)
    outside = {path for path in ranked if _rank(path) < holdout}
    if holdout and len(ranked) > 1:
        outside = (outside or {ranked[0]}) - ({ranked[-1]} if len(outside) == len(ranked) else set())
    return outside


def _rank(path: str) -> float:
    """A number from 0 to 1 that belongs to this path for good."""
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:8]) / 2**64


_Unit = tuple[str, bool, int, str]


def _unit(one: FoundPair) -> _Unit:
    """What is held out as a whole: a source's file, or a commit of it."""
    return one.pair.source, one.kind == "commit", one.time or 0, one.place


def _newest(found: Sequence[FoundPair], holdout: float) -> set[_Unit]:
    groups: defaultdict[tuple[str, bool], set[_Unit]] = defaultdict(set)
    for one in found:
        unit = _unit(one)
        groups[unit[:2]].add(unit)
    newest: set[_Unit] = set()
    for units in groups.values():
        count = round(holdout * len(units))
        if holdout and len(units) > 1:
            count = min(max(count, 1), len(units) - 1)
        newest.update(sorted(units)[len(units) - count :])
    return newest
