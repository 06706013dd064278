"""BM25 over the tokens of the first stage's tokenizer: identifiers are split, so `maxLen` finds `max_len`.

BM25 (Robertson and Zaragoza, 2009) in Lucene's form, k1 1.5 and b 0.75. The index on disk is a bag of tokens
for each text, next to its vector: it can never disagree with the text. Lists by token are made in memory when
they are needed, by one sort. SQLite's own FTS5 was measured against it (`benchmarks/LOG.md`): half as fast to
write, and some 40 to 90 times slower to ask, since it reads the lists of every common token from disk.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

K1 = 1.5  # how soon more occurrences stop to count
B = 0.75  # how much a long text is held against it

Ids = NDArray[np.uint32]
Scores = NDArray[np.float32]


def bag(ids: "NDArray[np.integer]") -> bytes:
    """The different tokens of a text, rising, and behind them how often each occurs, as bytes.

    >>> np.frombuffer(bag(np.array([7, 3, 7])), np.uint32)
    array([3, 7, 1, 2], dtype=uint32)
    """
    tokens, counts = np.unique(ids, return_counts=True)
    return np.concatenate([tokens, counts]).astype("<u4").tobytes()


class LexicalIndex:
    """BM25 over texts that are given as bags of tokens; see `bag`.

    Shapes: T different tokens, P postings (a token in a text), C texts.
    """

    def __init__(self, bags: Sequence[bytes]) -> None:
        sizes = np.fromiter((len(one) // 8 for one in bags), np.int64, len(bags))
        both = np.frombuffer(b"".join(bags), "<u4")
        ends = 2 * np.cumsum(sizes)
        is_token = np.zeros(both.size + 1, np.int8)  # 1 from the start of a bag, 0 from its counts on
        np.add.at(is_token, ends - 2 * sizes, 1)
        np.add.at(is_token, ends - sizes, -1)
        first = np.cumsum(is_token[:-1]).astype(bool)
        tokens_P, counts_P = both[first], both[~first]
        texts_P = np.repeat(np.arange(len(bags), dtype=np.int32), sizes)
        lengths_C = np.bincount(texts_P, weights=counts_P, minlength=len(bags))
        mean = lengths_C.mean() if len(bags) and lengths_C.any() else 1.0
        self._damping_C = (K1 * (1 - B + B * lengths_C / mean)).astype(np.float32)
        order = np.argsort(tokens_P, kind="stable")
        self._tokens_T, self._starts_T = np.unique(tokens_P[order], return_index=True)
        self._ends_T = np.append(self._starts_T[1:], len(order))
        self._texts_P, self._counts_P = texts_P[order], counts_P[order].astype(np.float32)

    def scores(self, ids: "NDArray[np.integer]") -> Scores:
        """The score of each text `(texts,)` for a query's tokens, each counted once; 0 without any."""
        count = len(self._damping_C)
        scores_C = np.zeros(count, np.float32)
        wanted = np.intersect1d(ids, self._tokens_T)
        for place in np.searchsorted(self._tokens_T, wanted):
            postings = slice(self._starts_T[place], self._ends_T[place])
            texts, occurrences = self._texts_P[postings], self._counts_P[postings]
            rarity = np.log1p((count - len(texts) + 0.5) / (len(texts) + 0.5))
            scores_C[texts] += np.float32(rarity) * occurrences / (occurrences + self._damping_C[texts])
        return scores_C
