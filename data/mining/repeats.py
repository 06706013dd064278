"""Pairs that say again what another says: repeats, near-repeats, and repeats of what is held out."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from codequarry.data.mining.found_pair import FoundPair
from codequarry.data.mining.reasons import Reason
from codequarry.data.near_duplicates import first_alike

MAX_REPEATS = 3  # different functions under one comment; more say that the comment describes none of them
ALIKE = 0.8  # share of three-token runs in common, from which on two texts are one

DUPLICATE = Reason("pair: duplicate", "the same query and document, blind to spaces and case")
COMMON = Reason(
    f"pair: query of more than {MAX_REPEATS} documents", "what describes so many describes none of them"
)
NEAR = Reason("pair: near-duplicate", "cut from a function, test or diff that nearly repeats an earlier one")
LEAK = Reason("train: also held out", "its query or document occurs on the held-out side, blind to spaces")
NEAR_LEAK = Reason("train: nearly held out", "cut from a text that nearly repeats a held-out one")
REPEAT_REASONS = (DUPLICATE, COMMON, NEAR, LEAK, NEAR_LEAK)


def without_repeats(found: Sequence[FoundPair], filtered: Counter[str]) -> list[FoundPair]:
    """The first of each set of pairs that say the same, if its comment does not stand on many functions."""
    first: dict[tuple[str, str, str], FoundPair] = {}
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
    train: Sequence[FoundPair], heldout: Sequence[FoundPair], filtered: Counter[str], progress: bool = True
) -> tuple[list[FoundPair], list[FoundPair]]:
    """Both sides without near-duplicates, and training without anything that repeats the held-out side.

    A held-out text stands before all of training, so that of two that are alike training loses its own.
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
