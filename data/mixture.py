"""Which pairs train, and how often: licences, caps, and the share of the batches each source gets.

A part of the mixture is one source and task, called `source:task`; a batch never holds two of them.
"""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from codequarry.common.errors import UserError, did_you_mean
from codequarry.data.catalog.schema import Licence
from codequarry.data.pair import Pair
from codequarry.modules.tasks import SIDES, prompt_name

if TYPE_CHECKING:
    from datasets import Dataset


def part_of(pair: Pair) -> str:
    """The part of the mixture that a pair belongs to.

    >>> part_of(Pair("nl2code", "add", "a + b", "tldr", "bash"))
    'tldr:nl2code'
    """
    return f"{pair.source}:{pair.task}"


def task_of(part: str) -> str:
    """The task in a part's name."""
    return part.rpartition(":")[2]


def source_of(part: str) -> str:
    """The source in a part's name."""
    return part.rpartition(":")[0]


def column_prompts(prompts: Mapping[str, str | None], part: str, columns: Sequence[str]) -> dict[str, str]:
    """The prefix of each column of a part: negatives are documents."""
    query, document = (prompts[prompt_name(task_of(part), side)] or "" for side in SIDES)
    return {column: query if column == "query" else document for column in columns}


def select(
    pairs: Sequence[Pair],
    *,
    licences: Mapping[str, Licence],
    allowed: str = "commercial",
    max_pairs: int | None = None,
    seed: int = 0,
) -> tuple[list[Pair], dict[str, str]]:
    """The pairs that may train, and by source or part in a sentence what was left out.

    Arguments:
        licences: by name of a source (`known_licences`). A source without one, such as your own
            repository, is kept.
        allowed: "commercial" leaves out what may not be used commercially; "permissive" share-alike text
            too.
        max_pairs: of one source and task, drawn with `seed`; None for all.

    The same arguments give the same pairs in the same order.
    """
    refused = {
        source: licence.spdx
        for source, licence in licences.items()
        if not licence.commercial or (allowed == "permissive" and licence.share_alike)
    }
    left_out: dict[str, str] = {}
    for source, count in sorted(Counter(pair.source for pair in pairs if pair.source in refused).items()):
        left_out[source] = f"{count:,} pairs under {refused[source]}, with licences = {allowed!r}"
    parts: dict[str, list[int]] = defaultdict(list)
    for position, pair in enumerate(pairs):
        if pair.source not in refused:
            parts[part_of(pair)].append(position)
    kept: list[int] = []
    for part, positions in sorted(parts.items()):
        if max_pairs is not None and len(positions) > max_pairs:
            left_out[part] = f"{len(positions) - max_pairs:,} pairs over the cap of {max_pairs:,}"
            positions = random.Random(f"{seed} {part}").sample(positions, max_pairs)
        kept += positions
    return [pairs[position] for position in sorted(kept)], left_out


def even_cap(sizes: Iterable[int], total: int) -> int:
    """The largest cap under which these sizes sum to `total` at most; the largest size where all fit."""
    ordered = sorted(sizes)
    for done, size in enumerate(ordered):
        if size * (len(ordered) - done) > total:
            return total // (len(ordered) - done)
        total -= size
    return ordered[-1] if ordered else 0


def parts_of(pairs: Iterable[Pair]) -> dict[str, list[Pair]]:
    """The pairs of each part, by its name."""
    parts: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        parts[part_of(pair)].append(pair)
    return dict(sorted(parts.items()))


def datasets_of(
    pairs: Sequence[Pair], batch_size: int, *, seed: int = 0
) -> tuple[dict[str, "Dataset"], dict[str, int]]:
    """One dataset for each part that has a batch of pairs, by its name; and the sizes of the others.

    The columns are `query`, `document` and as many `negative_N` as the pair with most of them has. A pair
    with fewer gets documents of other queries of its part instead: easy ones, but a column needs a text in
    every row.
    """
    from datasets import Dataset

    parts = parts_of(pairs)
    full = {part: group for part, group in parts.items() if len(group) >= batch_size}
    small = {part: len(group) for part, group in parts.items() if part not in full}
    return {part: Dataset.from_dict(_columns(group, seed)) for part, group in full.items()}, small


def batch_shares(
    sizes: Mapping[str, int], exponent: float = 0.5, weights: Mapping[str, float] | None = None
) -> dict[str, float]:
    """The share of the batches that each part gets: its weight times its size to the exponent, of the sum.

    Arguments:
        sizes: pairs by part.
        exponent: 1 draws in proportion to the pairs, 0 from every part alike, 0.5 in between (the
            temperature sampling of multilingual models, with 1 / exponent as the temperature).
        weights: factors by source or by `source:task`, `*` for any letters: `"*/*"` are all mined
            repositories, `"*:qa"` is a task. All that fit a part are multiplied; 0 leaves it out.

    Raises UserError for a weight of something that is not there, unless it has a `*`, and when nothing is
    left.
    """
    weights = dict(weights or {})
    fitting = {
        name: {part for part in sizes if fnmatchcase(part, name) or fnmatchcase(source_of(part), name)}
        for name in weights
    }
    for name, parts in fitting.items():
        if not parts and "*" not in name:
            known = sorted({*sizes, *map(source_of, sizes)})
            hint = did_you_mean(name, known) or f" The sources are {', '.join(sorted(sizes))}."
            raise UserError(f"source_weights names {name!r}, which no pair comes from.{hint}")
    raw = {
        part: size**exponent * math.prod(weights[name] for name, parts in fitting.items() if part in parts)
        for part, size in sizes.items()
    }
    total = sum(raw.values())
    if not total > 0:
        raise UserError("source_weights leaves every source out: give one of them a number above 0.")
    return {part: share / total for part, share in raw.items() if share > 0}


def _columns(pairs: Sequence[Pair], seed: int) -> dict[str, list[str]]:
    columns = {"query": [pair.query for pair in pairs], "document": [pair.document for pair in pairs]}
    width = max(len(pair.negatives) for pair in pairs)
    if width:
        chance = random.Random(seed)
        answers: dict[str, set[str]] = defaultdict(set)
        for pair in pairs:
            answers[pair.query].add(pair.document)
        rows = [_filled(pair, width, columns["document"], answers[pair.query], chance) for pair in pairs]
        columns |= {f"negative_{n + 1}": [row[n] for row in rows] for n in range(width)}
    return columns


def _filled(
    pair: Pair, width: int, documents: Sequence[str], answers: set[str], chance: random.Random
) -> list[str]:
    row = list(pair.negatives)
    for _ in range(100):  # enough, unless the part holds little else than answers to this query
        if len(row) == width:
            break
        other = chance.choice(documents)
        if other not in answers and other not in row:
            row.append(other)
    return row + [row[-1] if row else chance.choice(documents)] * (width - len(row))
