"""Hold pairs out of the training sources, to choose by: when to stop, which checkpoint, which rate.

The evaluation sets are for the report. What is chosen is chosen on these pairs, and so that they say
something, nothing of them may be trained on.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from tqdm import tqdm

from codequarry.data.mixture import even_cap
from codequarry.data.pair import Pair

REPOSITORIES = "*/*"  # all mined repositories together, as `source_weights` calls them
_RUN, _LONGEST_RUN = 8, 32  # neighbouring pairs that are held out together: on average, at most
_OPENING = 100  # characters by which two halves of one function are known to belong together
_COMMON = 30  # pairs; a text that more of them share trains, or it would take them all out of training


@dataclass(frozen=True)
class ValidationSplit:
    """Pairs that train, pairs that validate, both in their old order, and how many do neither.

    validation_counts: held-out pairs by source and task, mined repositories together as `*/*:task`.
    set_aside: pairs that are not held out but share a text with one that is.
    """

    train: list[Pair]
    validation: list[Pair]
    validation_counts: Mapping[str, int]
    set_aside: int

    @property
    def by_task(self) -> dict[str, list[tuple[str, ...]]]:
        """Query, document and negatives of the held-out pairs, by task."""
        tasks: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        for pair in self.validation:
            tasks[pair.task].append((pair.query, pair.document, *pair.negatives))
        return dict(sorted(tasks.items()))


def split(
    pairs: Sequence[Pair],
    *,
    per_source_and_task: int = 200,
    max_pairs: int = 1000,
    share: float = 0.02,
    seed: int = 0,
    progress: bool = True,
) -> ValidationSplit:
    """Hold some pairs of each source and task out, the same ones every time.

    A pair has no field for the file that it was mined from, but pairs of one file are neighbours. So runs
    of neighbours are held out, about eight pairs long; a hash decides which, and where runs begin, so that
    a pair stays on its side when others are added or removed, as does a function found under two tasks.
    Mined repositories count as one source together: there are many, and each is small.

    No query and no document of a validation pair is left in training, exactly or as two texts of one source
    that begin with the same hundred characters, as the halves of a function and the whole of it do. Pairs
    with such a text are set aside; a negative that is one is taken off its pair.

    Arguments:
        per_source_and_task: pairs held out of one source and task, at most.
        max_pairs: pairs held out in all, at most: shared evenly by the tasks, and in each by its sources;
            what a small one cannot give, the others do.
        share: of a source and task, at most; one with less than `1 / share` pairs gives none.
        seed: another one holds other pairs out.
        progress: show a bar for what takes over two seconds.

    >>> held_out = split(pairs, share=0.05)  # doctest: +SKIP
    """
    runs = _runs(_watched(pairs, progress), seed)
    quotas = {
        part: min(per_source_and_task, int(share * sum(map(len, found.values()))))
        for part, found in runs.items()
    }
    quotas = _within(quotas, max_pairs)
    chosen = [
        position for part, found in sorted(runs.items()) for position in _whole_runs(found, quotas[part])
    ]
    wanted = {key for position in chosen for key in _keys(pairs[position])}
    sharing = _sharing(_watched(pairs, progress), wanted)
    held = _without_common(sharing, chosen)
    known = {key for position in held for key in sharing[position]}
    aside = {position for position, keys in sharing.items() if not known.isdisjoint(keys)} - held
    texts = {text for position in held for text in (pairs[position].query, pairs[position].document)}
    train = [
        pair
        if texts.isdisjoint(pair.negatives)
        else replace(pair, negatives=tuple(text for text in pair.negatives if text not in texts))
        for position, pair in enumerate(pairs)
        if position not in held and position not in aside
    ]
    validation = [pairs[position] for position in sorted(held)]
    counts = Counter(_part(pair) for pair in validation)
    return ValidationSplit(train, validation, dict(sorted(counts.items())), len(aside))


def _part(pair: Pair) -> str:
    return f"{REPOSITORIES if '/' in pair.source else pair.source}:{pair.task}"


def _watched(pairs: Sequence[Pair], progress: bool) -> Iterable[Pair]:
    return tqdm(pairs, "holding out validation pairs", leave=False, delay=2, disable=not progress)


def _runs(pairs: Iterable[Pair], seed: int) -> dict[str, dict[tuple[int, int], list[int]]]:
    """Positions of neighbours, by part, under the hash of the first of them (and its position, for ties)."""
    runs: dict[str, dict[tuple[int, int], list[int]]] = defaultdict(dict)
    open_runs: dict[tuple[str, str], list[int]] = {}
    for position, pair in enumerate(pairs):
        # In either order, so that docstring → function and function → docstring share a side.
        first, second = sorted((pair.query, pair.document))
        digest = blake2b(f"{seed}\0{first}\0{second}".encode(), digest_size=8).digest()
        rank = int.from_bytes(digest)
        run = open_runs.get((pair.source, pair.task))
        if run is None or rank % _RUN == 0 or len(run) == _LONGEST_RUN:
            run = open_runs[pair.source, pair.task] = []
            runs[_part(pair)][rank // _RUN, position] = run
        run.append(position)
    return runs


def _within(quotas: Mapping[str, int], total: int) -> dict[str, int]:
    """The quotas of all parts, cut evenly by task and then by source so that they sum to `total` at most."""
    tasks: dict[str, dict[str, int]] = defaultdict(dict)
    for part, quota in quotas.items():
        tasks[part.rpartition(":")[2]][part] = quota
    of_tasks = _cut({task: sum(parts.values()) for task, parts in tasks.items()}, total)
    return {
        part: quota for task, parts in tasks.items() for part, quota in _cut(parts, of_tasks[task]).items()
    }


def _cut(quotas: Mapping[str, int], total: int) -> dict[str, int]:
    """The quotas, each cut to the same level, the highest at which they sum to `total` at most."""
    level = even_cap(quotas.values(), total)
    return {name: min(quota, level) for name, quota in quotas.items()}


def _whole_runs(runs: Mapping[tuple[int, int], list[int]], quota: int) -> Iterator[int]:
    for _, run in sorted(runs.items()):
        if len(run) <= quota:
            quota -= len(run)
            yield from run


def _keys(pair: Pair) -> tuple[str, ...]:
    """What two pairs may have in common that must not be on both sides."""
    query, document = pair.query, pair.document
    return query, document, _opening(pair.source, query), _opening(pair.source, document)


def _opening(source: str, text: str) -> str:
    if len(text) < _OPENING:
        return text
    start = " ".join(text[: 4 * _OPENING].split())[:_OPENING]
    return f"{source}\0{start}" if len(start) == _OPENING else text


def _sharing(pairs: Iterable[Pair], wanted: set[str]) -> dict[int, set[str]]:
    """Which of the wanted keys each pair has, by position, where it has one."""
    found = ((position, wanted.intersection(_keys(pair))) for position, pair in enumerate(pairs))
    return {position: keys for position, keys in found if keys}


def _without_common(sharing: Mapping[int, set[str]], chosen: Sequence[int]) -> set[int]:
    seen = Counter(key for keys in sharing.values() for key in keys)
    return {position for position in chosen if max(seen[key] for key in sharing[position]) <= _COMMON}
