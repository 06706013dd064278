"""Token ids of many texts, one window of them after another, tokenised while the one before is computed."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

WINDOW = 4096  # texts that are tokenised and sorted together: what is in memory does not grow with the input

Ids = list[list[int]]


def ahead(
    tokenize: Callable[[list[str]], Ids], texts: Sequence[str], prompt: str = ""
) -> Iterator[tuple[slice, Ids]]:
    """Where each window of `texts` is, and the ids of its texts behind `prompt`.

    A thread makes those of the next window while the caller is at work on one.

    >>> list(ahead(tokenize, ["x"]))
    [(slice(0, 4096, None), [[101, 1060, 102]])]
    """
    starts = range(0, len(texts), WINDOW)

    def ids(start: int) -> Ids:
        return tokenize([prompt + text for text in texts[start : start + WINDOW]])

    if len(starts) == 1:
        yield slice(0, WINDOW), ids(0)
        return
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenizer") as pool:
        coming = pool.submit(ids, 0)
        for start in starts:
            window = coming.result()
            if start + WINDOW < len(texts):
                coming = pool.submit(ids, start + WINDOW)
            yield slice(start, start + WINDOW), window


def common_start(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    """The ids that both begin with.

    >>> common_start([5, 6, 7], [5, 6, 9, 7])
    (5, 6)
    """
    same = 0
    while same < min(len(one), len(other)) and one[same] == other[same]:
        same += 1
    return tuple(one[:same])
