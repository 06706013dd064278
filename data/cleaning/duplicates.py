"""Pairs that say what an earlier one says: word for word, nearly so, or the same text once too often."""

from collections import Counter
from collections.abc import Sequence

from codequarry.data.cleaning.normal_form import normal_form
from codequarry.data.near_duplicates import first_alike
from codequarry.data.pair import Pair

EXACT, REPEATED, NEAR = "duplicate", "repeated text", "near-duplicate"


def repeated_pairs(
    pairs: Sequence[Pair], *, max_repeats: int, threshold: float, progress: bool = True
) -> list[tuple[str, int] | None]:
    """For each pair why it repeats earlier ones, with the position of one of them; None to keep it.

    duplicate: query, document and task are those of an earlier pair, spaces and case aside.
    repeated text: its query, or document, stands in `max_repeats` kept pairs of this source and
        task already; a heading or a `main` that everything is called says nothing.
    near-duplicate: its query and its document nearly repeat the same two texts as those of an earlier pair
        of this task. A document under different queries, and the other way round, is no repetition.

    Arguments: `threshold` as in `first_alike`.
    """
    found: list[tuple[str, int] | None] = [None] * len(pairs)
    first: dict[tuple[str, bytes, bytes], int] = {}
    counts: Counter[tuple[str, str, str, bytes]] = Counter()
    earlier: dict[tuple[str, str, str, bytes], int] = {}
    for position, pair in enumerate(pairs):
        query, document = normal_form(pair.query), normal_form(pair.document)
        same = first.setdefault((pair.task, query, document), position)
        if same != position:
            found[position] = EXACT, same
            continue
        sides = (pair.source, pair.task, "query", query), (pair.source, pair.task, "document", document)
        full = [side for side in sides if counts[side] >= max_repeats]
        if full:
            found[position] = REPEATED, earlier[full[0]]
            continue
        counts.update(sides)
        for side in sides:
            earlier.setdefault(side, position)
    left = [position for position, reason in enumerate(found) if reason is None]
    roots: list[list[int]] = []
    for texts in ([pairs[p].query for p in left], [pairs[p].document for p in left]):
        near = first_alike(texts, threshold=threshold, progress=progress)
        roots.append([number if other is None else other for number, other in enumerate(near)])
    kept: dict[tuple[str, int, int], int] = {}
    for position, query_root, document_root in zip(left, *roots, strict=True):
        same = kept.setdefault((pairs[position].task, query_root, document_root), position)
        if same != position:
            found[position] = NEAR, same
    return found
