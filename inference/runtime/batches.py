"""Which texts go through a model together: sorted by tokens, within a budget of tokens and of scores."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

# A batch of 1,024 tokens has the speed of larger ones (docs/benchmarks.md) and smaller activations.
TOKENS = 1024

# In 8-bit integers passes over activations weigh more, and those of 512 tokens stay in the cache.
TOKENS_INT8 = 512

# Texts · longest², at most, where a batch has several: 64 texts of 128 tokens, 4 of 512.
SQUARES = 1 << 20


def batches(
    lengths: Sequence[int], *, tokens: int = TOKENS, squares: int = SQUARES
) -> Iterator[NDArray[np.intp]]:
    """The positions of the texts of each batch, shortest first, each batch within both bounds.

    Arguments:
        lengths: tokens of each text.
        tokens: of a batch; a longer text is a batch of its own.
        squares: `texts · longest²` of a batch, which the memory of attention grows with.

    >>> [batch.tolist() for batch in batches([3, 1, 2], tokens=3)]
    [[1, 2], [0]]
    """
    order = np.argsort(np.asarray(lengths), kind="stable")
    start, total = 0, 0
    for place, text in enumerate(order):
        length = lengths[text]
        count = place - start
        if count and (total + length > tokens or (count + 1) * length**2 > squares):
            yield order[start:place]
            start, total = place, 0
        total += length
    if len(order):
        yield order[start:]
