"""Token ids of many texts, one window of them after another, tokenised while the one before is computed."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

WINDOW = 4096  # texts that are tokenised and sorted together: what is in memory does not grow with the input

Ids = list[list[int]]


def ahead(tokenize: Callable[[list[str]], Ids], texts: Sequence[str]) -> Iterator[Ids]:
    """The ids of each window of `texts`; a thread makes those of the next one.

    >>> list(ahead(tokenize, ["x"]))
    [[[101, 1060, 102]]]
    """
    starts = range(0, len(texts), WINDOW)

    def ids(start: int) -> Ids:
        return tokenize(list(texts[start : start + WINDOW]))

    if len(starts) == 1:
        yield ids(0)
        return
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenizer") as pool:
        coming = pool.submit(ids, 0)
        for start in starts[1:]:
            window, coming = coming, pool.submit(ids, start)
            yield window.result()
        yield coming.result()


def common_start(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    """The ids that both begin with.

    >>> common_start([5, 6, 7], [5, 6, 9, 7])
    (5, 6)
    """
    same = 0
    while same < min(len(one), len(other)) and one[same] == other[same]:
        same += 1
    return tuple(one[:same])
