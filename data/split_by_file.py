"""Some files train, the others measure: a split that stays put and that lets nothing across."""

import hashlib
from collections.abc import Iterable, Sequence

from codequarry.data.pair import Pair


def split_by_file(
    found: Sequence[tuple[str, Pair]], holdout: float = 0.2
) -> tuple[list[Pair], list[Pair], int]:
    """Train pairs, held-out pairs, and how many were taken out of training.

    found: relative path of the file, and a pair from it.
    holdout: share of the files, 0 to below 1. A sha256 of the path alone decides, so that a file keeps its
        side whatever happens to the others. In a tree so small that one side would be empty, the file with
        the lowest (or highest) hash goes there.

    A training pair whose query or document occurs on the held-out side is taken out; spaces, line ends
    and case do not make a difference there.

    Raises ValueError for a share outside its range.
    """
    if not 0 <= holdout < 1:
        raise ValueError(f"holdout is {holdout}: pass a share of the files from 0 to below 1, such as 0.2.")
    outside = held_out_files({path for path, _ in found}, holdout)
    heldout = [pair for path, pair in found if path in outside]
    known = {normalised(text) for pair in heldout for text in (pair.query, pair.document)}
    inside = [pair for path, pair in found if path not in outside]
    train = [pair for pair in inside if known.isdisjoint((normalised(pair.query), normalised(pair.document)))]
    return train, heldout, len(inside) - len(train)


def held_out_files(paths: Iterable[str], holdout: float) -> set[str]:
    """The paths that are held out, about `holdout` of them."""
    ranked = sorted(set(paths), key=_rank)
    outside = {path for path in ranked if _rank(path) < holdout}
    if holdout and len(ranked) > 1:
        outside = (outside or {ranked[0]}) - ({ranked[-1]} if len(outside) == len(ranked) else set())
    return outside


def normalised(text: str) -> str:
    """The text without spaces, line ends and case: what two copies of it have in common."""
    return "".join(text.split()).casefold()


def _rank(path: str) -> float:
    """A number from 0 to 1 that belongs to this path for good."""
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:8]) / 2**64
