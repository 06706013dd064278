"""Some pairs train, the others measure: a split by file that stays put, or one by time."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Literal, get_args

from codequarry.common.errors import UserError
from codequarry.common.files import text_sha256
from codequarry.data.deduplication import first_alike
from codequarry.data.mining.schema import MinedPair, Reason

SplitBy = Literal["file", "time"]
SPLITS: tuple[SplitBy, ...] = get_args(SplitBy)


def split_pairs(
    found: Sequence[MinedPair], holdout: float = 0.2, by: SplitBy = "file"
) -> tuple[list[MinedPair], list[MinedPair]]:
    """Pairs that train and pairs that are held out.

    Arguments:
        holdout: share of the files, or of the commits, 0 to below 1.
        by: `file`: a sha256 of the path alone decides, so that a file keeps its side whatever happens to
            the others; a commit goes with the file it changes most. `time`: of each source's files and
            commits the share that was changed last is held out.

    Where one side would be empty, one file goes there: the one with the lowest or highest hash, the newest
    or the oldest.

    Raises UserError for a share outside its range and for another way to split.
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
    """Raise UserError for a share outside its range, or a way to split that is none."""
    if not 0 <= holdout < 1:
        raise UserError(f"holdout is {holdout}: pass a share of the files from 0 to below 1, such as 0.2.")
    if by not in SPLITS:
        raise UserError(f"{by!r} is no way to split: pass one of {', '.join(SPLITS)}.")


def held_out_files(paths: Iterable[str], holdout: float) -> set[str]:
    """The paths that are held out, about `holdout` of them."""
    ranked = sorted(set(paths), key=_rank)
    outside = {path for path in ranked if _rank(path) < holdout}
    if holdout and len(ranked) > 1:
        outside = (outside or {ranked[0]}) - ({ranked[-1]} if len(outside) == len(ranked) else set())
    return outside


def _rank(path: str) -> float:
    """A number from 0 to 1, always the same for a path."""
    return int.from_bytes(text_sha256(path)[:8]) / 2**64


_Unit = tuple[str, bool, int, str]


def _unit(one: MinedPair) -> _Unit:
    """What is held out as a whole: a source's file, or a commit of it."""
    return one.pair.source, one.kind == "commit", one.time or 0, one.place


def _newest(found: Sequence[MinedPair], holdout: float) -> set[_Unit]:
    newest: set[_Unit] = set()
    for _, group in groupby(sorted(set(map(_unit, found))), key=lambda unit: unit[:2]):
        units = list(group)
        count = round(holdout * len(units))
        if holdout and len(units) > 1:
            count = min(max(count, 1), len(units) - 1)
        newest.update(units[len(units) - count :])
    return newest


MAX_REPEATS = 3  # different functions under one comment; more say that the comment describes none of them
ALIKE = 0.8  # share of three-token runs in common, from which on two texts are one
DUPLICATE = Reason("pair: duplicate", "the same query and document, spaces and case aside")
COMMON = Reason(
    f"pair: query of more than {MAX_REPEATS} documents", "what describes so many describes none of them"
)
NEAR = Reason("pair: near-duplicate", "cut from a function, test or diff that nearly repeats an earlier one")
LEAK = Reason("train: also held out", "its query or document occurs on the held-out side, spaces aside")
NEAR_LEAK = Reason("train: nearly held out", "cut from a text that nearly repeats a held-out one")
REPEAT_REASONS = (DUPLICATE, COMMON, NEAR, LEAK, NEAR_LEAK)


def without_repeats(found: Sequence[MinedPair], filtered: Counter[str]) -> list[MinedPair]:
    """The first of each set of equal pairs, unless many functions have its comment."""
    first: dict[tuple[str, str, str], MinedPair] = {}
    for one in found:
        key = one.kind, normalised(one.pair.query), normalised(one.pair.document)
        first.setdefault(key, one)
    filtered[DUPLICATE.name] += len(found) - len(first)
    counterparts: defaultdict[tuple[str, str], int] = defaultdict(int)
    for kind, query, document in first:
        counterparts[kind, document if kind == "comment" else query] += 1
    kept = [
        one
        for (kind, query, document), one in first.items()
        if counterparts[kind, document if kind == "comment" else query] <= MAX_REPEATS
    ]
    filtered[COMMON.name] += len(first) - len(kept)
    return kept


def without_leaks(
    train: Sequence[MinedPair], heldout: Sequence[MinedPair], filtered: Counter[str], progress: bool = True
) -> tuple[list[MinedPair], list[MinedPair]]:
    """Both sides without near-duplicates, and training without anything that repeats the held-out side.

    Held-out texts come before those of training, so that of two that are alike training loses its own.
    """
    known = {normalised(text) for one in heldout for text in (one.pair.query, one.pair.document)}
    apart = [
        one for one in train if known.isdisjoint((normalised(one.pair.query), normalised(one.pair.document)))
    ]
    filtered[LEAK.name] += len(train) - len(apart)

    outside = {text for one in heldout for text in one.origins}
    texts = list(dict.fromkeys(text for one in (*heldout, *apart) for text in one.origins))
    first = dict(zip(texts, first_alike(texts, threshold=ALIKE, progress=progress), strict=True))

    def leaks(text: str) -> bool:
        earlier = first[text]
        return text in outside or (earlier is not None and texts[earlier] in outside)

    clean = [one for one in apart if not any(map(leaks, one.origins))]
    filtered[NEAR_LEAK.name] += len(apart) - len(clean)
    sides = []
    for side in (clean, heldout):
        kept = [one for one in side if first[one.origins[0]] is None]
        filtered[NEAR.name] += len(side) - len(kept)
        sides.append(kept)
    return sides[0], sides[1]


def normalised(text: str) -> str:
    """The text without spaces, line ends and case: what two copies of it have in common."""
    return "".join(text.split()).casefold()
